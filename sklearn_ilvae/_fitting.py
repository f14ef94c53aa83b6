"""From an estimator's parameters and a scaled table to a network ready to train."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import Tensor

from ._training import WeightedRows
from .vae import (
    Architecture,
    VariationalAutoencoder,
    choose_inverse_lipschitz,
    choose_n_components,
    principal_axes,
    start_at_linear_model,
)


def resolve_device(name: str, *, fallback: bool) -> torch.device:
    """Return the device of a name.

    Parameters
    ----------
    name : str
        ``"auto"`` or the name of a torch device.
    fallback : bool
        Whether a device that this machine lacks becomes the CPU rather than an error.

    Returns
    -------
    torch.device
        CUDA where there is any for ``"auto"``.

    Raises
    ------
    ValueError
        When the name is unknown or the device is missing.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        if fallback:
            return torch.device("cpu")
        raise ValueError(
            f"device={name!r} cannot be used on this machine ({error}). "
            "Use device='auto' or device='cpu'."
        ) from error
    return device


def draw_seed(random_state: int | np.random.RandomState | None) -> int:
    """Draw a seed for torch from scikit-learn's source of randomness."""
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's CPU generator in the block, and restore it afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def start_model(
    rows: Tensor,
    weights: Tensor,
    binary: tuple[bool, ...],
    *,
    decoder: str,
    n_components: int | str,
    inverse_lipschitz: float | str,
    hidden_layer_sizes: Sequence[int],
    activation: str,
    n_clusters: int,
) -> VariationalAutoencoder:
    """Build a network around the principal axes of the rows, at the linear model.

    Parameters
    ----------
    rows : Tensor of shape (n_rows, n_features)
        Standardised rows.
    weights : Tensor of shape (n_rows,)
        Positive weights.
    binary : tuple of bool
        Which columns are Bernoulli.
    decoder, n_components, inverse_lipschitz, hidden_layer_sizes, activation
        As in `ILVAETransformer`.
    n_clusters : int
        Number of Gaussians of the prior; 0 for the standard normal.

    Returns
    -------
    VariationalAutoencoder
        In float32 on the CPU.

    Raises
    ------
    ValueError
        When there are more components than columns, or when a constant is asked of a
        decoder that cannot guarantee it.
    """
    n_features = rows.shape[1]
    if n_components != "auto" and int(n_components) > n_features:
        raise ValueError(
            f"n_components={n_components} must not exceed the number of columns, "
            f"n_features={n_features}: more codes than columns cannot be kept apart. "
            "Use n_components='auto' or a smaller number."
        )
    if decoder == "mlp" and inverse_lipschitz not in ("auto", 0):
        raise ValueError(
            f"inverse_lipschitz={inverse_lipschitz} cannot be guaranteed by "
            "decoder='mlp'. Use inverse_lipschitz='auto' or 0, or another decoder."
        )
    axes = principal_axes(rows, weights)
    chosen = (
        choose_n_components(axes.variances)
        if n_components == "auto"
        else int(n_components)
    )
    constant = (
        choose_inverse_lipschitz(axes.variances, chosen)
        if inverse_lipschitz == "auto"
        else float(inverse_lipschitz)
    )
    architecture = Architecture(
        decoder=decoder,
        n_components=chosen,
        binary=binary,
        hidden_layer_sizes=tuple(hidden_layer_sizes),
        activation=activation,
        inverse_lipschitz=0.0 if decoder == "mlp" else constant,
        n_clusters=n_clusters,
    )
    model = VariationalAutoencoder(architecture, axes.directions[:, :chosen].float())
    shares = (weights / weights.sum()).to(rows)
    start_at_linear_model(model, axes, (shares @ (rows > 0).to(rows)).cpu())
    return model


def split_validation(
    rows: Tensor, weights: Tensor, fraction: float, generator: torch.Generator
) -> tuple[WeightedRows, WeightedRows | None]:
    """Split rows at random into training and validation rows.

    Parameters
    ----------
    rows : Tensor of shape (n_rows, n_features)
        Rows.
    weights : Tensor of shape (n_rows,)
        Their weights.
    fraction : float
        Share of validation rows, rounded up; 0 for none.
    generator : torch.Generator
        Source of the split.

    Returns
    -------
    training : WeightedRows
    validation : WeightedRows or None
    """
    if fraction == 0:
        return WeightedRows(rows, weights / weights.mean()), None
    order = torch.randperm(len(rows), generator=generator, device=generator.device)
    n_validation = min(ceil(fraction * len(rows)), len(rows) - 1)
    parts = []
    for index in (order[n_validation:], order[:n_validation]):
        index = index.to(rows.device)
        parts.append(WeightedRows(rows[index], weights[index] / weights[index].mean()))
    return parts[0], parts[1]
