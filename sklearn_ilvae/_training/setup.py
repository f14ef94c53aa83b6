"""From an estimator's parameters and a scaled table to a network ready to train."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil
from numbers import Integral
from typing import Any

import numpy as np
from torch import Tensor

from .._columns import column_name
from .._random import seeded
from ..vae import (
    Architecture,
    Design,
    VariationalAutoencoder,
    choose_inverse_lipschitz,
    choose_n_components,
    linear_model,
    principal_axes,
    start_at_linear_model,
)
from ..vae.axes import PrincipalAxes, draw_rows
from ..vae.likelihoods import CONTINUOUS
from ..vae.start import LinearModel
from .batches import WeightedRows, count_batches
from .callbacks import EpochHooks, NonFiniteLossError

PATIENCE_STEPS = 500

STEEP_PARAMETERS = {
    "learning_rate_init": (1e-2, "try a tenth of it"),
    "inverse_lipschitz": (100.0, "useful values lie between 0 and 1"),
    "kl_weight": (100.0, "useful values are close to 1"),
}
"""Parameters that make a loss infinite: how large they may be, and what to do."""

AXES_NUMBERS = 1 << 26
"""Most coordinates at once from which principal axes are found."""


def choose_batch_size(batch_size: int | str, n_rows: int) -> int:
    """Return the most rows in a batch, by default a hundredth, from 256 to 1024.

    Fewer than 1024 rows make four batches, or less where they would be under 32 rows.
    """
    if batch_size != "auto":
        return int(batch_size)
    few = ceil(n_rows / min(max(n_rows // 32, 1), 4))
    return min(max(n_rows // 100, 256), 1024, few)


def choose_patience(n_iter_no_change: int | str, n_rows: int, batch_size: int) -> int:
    """Return the epochs without improvement after which to stop.

    By default as many as make `PATIENCE_STEPS` steps of the optimiser, at least 10.
    """
    if n_iter_no_change == "auto":
        return max(10, ceil(PATIENCE_STEPS / count_batches(n_rows, batch_size)))
    return int(n_iter_no_change)


def epoch_hooks(estimator: Any, context: Any) -> EpochHooks:
    """Return hooks that tell scikit-learn's callbacks about every epoch."""
    epochs = []

    def begin() -> None:
        epochs.append(context.subcontext(task_name="epoch"))
        epochs[-1].call_on_fit_task_begin(estimator=estimator)

    def end() -> bool:
        return bool(epochs[-1].call_on_fit_task_end(estimator=estimator))

    return EpochHooks(begin, end)


@contextmanager
def divergence_explained(
    rows: Tensor,
    likelihood: Sequence[str],
    parameters: Mapping[str, Any],
    names: Sequence[str] | None,
) -> Iterator[None]:
    """Say what makes a training loss infinite in the block, and what to do.

    Parameters
    ----------
    rows : Tensor of shape (n_rows, n_features)
        Scaled rows, NaN where missing.
    likelihood : sequence of str
        Family of every column: levels and counts are not standardised.
    parameters : mapping of str to object
        Those of the training, by name.
    names : sequence of str or None
        Names of the columns.

    Raises
    ------
    ValueError
        With the parameter, and the column of the most extreme value.
    """
    try:
        yield
    except NonFiniteLossError as error:
        times_usual = {
            name: parameters[name] / usual
            for name, (usual, _) in STEEP_PARAMETERS.items()
            if parameters[name] != "auto"
        }
        steepest = max(times_usual, key=times_usual.__getitem__)
        reason = (
            "The training loss is no longer a finite number. "
            f"{steepest}={parameters[steepest]} is probably too large: "
            f"{STEEP_PARAMETERS[steepest][1]}."
        )
        numbers = [j for j, family in enumerate(likelihood) if family in CONTINUOUS]
        if numbers:
            sizes = rows[:, numbers].nan_to_num().abs().amax(0)
            size, place = sizes.max(0)
            reason += (
                f" {column_name(numbers[int(place)], names)} holds the most extreme "
                f"value, {float(size):.1f} on the standardised scale: if it is an "
                "error, remove it."
            )
        raise ValueError(reason) from error


def layer_widths(hidden_layer_sizes: int | Sequence[int]) -> tuple[int, ...]:
    """Return the widths of the hidden layers, or raise where one is no width."""
    widths = np.ravel(np.asarray(hidden_layer_sizes, dtype=object)).tolist()
    if not widths or not all(
        isinstance(width, Integral) and int(width) >= 1 for width in widths
    ):
        raise ValueError(
            f"hidden_layer_sizes={hidden_layer_sizes!r} must hold at least one width, "
            "and positive integers only. Use for example 64 or (64, 64)."
        )
    return tuple(int(width) for width in widths)


def start_model(
    rows: Tensor,
    weights: Tensor,
    likelihood: tuple[str, ...],
    n_levels: tuple[int, ...] = (),
    *,
    decoder: str,
    n_components: int | str,
    inverse_lipschitz: float | str,
    hidden_layer_sizes: int | Sequence[int],
    activation: str,
    n_mixture_components: int,
    seed: int,
) -> VariationalAutoencoder:
    """Build a network around the principal axes of the rows, at the linear model.

    Parameters
    ----------
    rows : Tensor of shape (n_rows, n_features)
        Scaled rows.
    weights : Tensor of shape (n_rows,)
        Non-negative weights. Rows of weight 0, those to validate on, tell which columns
        have gaps, and nothing else.
    likelihood : tuple of str
        Family of every column.
    n_levels : tuple of int, default=()
        Number of levels of every column, where any has levels.
    decoder, n_components, inverse_lipschitz, hidden_layer_sizes, activation
        As in `ILVAETransformer`.
    n_mixture_components : int
        Number of Gaussians of the prior; 0 for the standard normal.
    seed : int
        Source of the initial weights.

    Returns
    -------
    VariationalAutoencoder
        In float32 on the CPU.

    Raises
    ------
    ValueError
        When there are more components than natural parameters, when a constant is
        asked of a decoder that cannot guarantee it, or when a layer has no units.
    """
    widths = layer_widths(hidden_layer_sizes)
    missing = rows.isnan().any(0)
    gaps = tuple(missing.tolist()) if missing.any() else ()
    design = Design(likelihood, n_levels, gaps).float().to(rows.device)
    _check_n_components(n_components, design.n_parameters, rows.shape[1])
    if decoder == "mlp" and inverse_lipschitz not in ("auto", 0):
        raise ValueError(
            f"inverse_lipschitz={inverse_lipschitz} cannot be guaranteed by "
            "decoder='mlp'. Use inverse_lipschitz='auto' or 0, or another decoder."
        )
    units = design.fit(rows, weights / weights.sum())
    part = draw_rows(len(rows), _most_rows_for_axes(design, len(rows)))
    least = 1 if n_components == "auto" else int(n_components)
    axes = principal_axes(design.coordinates(rows[part]), weights[part], least)
    chosen = (
        choose_n_components(axes.variances, len(rows))
        if n_components == "auto"
        else least
    )
    linear = linear_model(axes, chosen, units)
    constant = (
        _automatic_constant(axes, linear)
        if inverse_lipschitz == "auto"
        else float(inverse_lipschitz)
    )
    architecture = Architecture(
        decoder=decoder,
        n_components=chosen,
        likelihood=likelihood,
        hidden_layer_sizes=widths,
        activation=activation,
        inverse_lipschitz=0.0 if decoder == "mlp" else constant,
        n_mixture_components=n_mixture_components,
        n_levels=n_levels,
        gaps=gaps,
    )
    # Contiguous like the arrays of a pickle: other strides round otherwise.
    directions = linear.directions.float().contiguous()
    with seeded(seed):
        model = VariationalAutoencoder(architecture, directions)
    model.encoder.design.load_state_dict(design.state_dict())
    start_at_linear_model(model, linear, rows, weights)
    return model


def _automatic_constant(axes: PrincipalAxes, linear: LinearModel) -> float:
    constant = choose_inverse_lipschitz(axes.variances, len(linear.slopes))
    if linear.units.trivial:
        return constant
    # Counts and levels may have smaller slopes in their own units.
    return min(constant, choose_inverse_lipschitz(linear.slopes**2, len(linear.slopes)))


def _check_n_components(
    n_components: int | str, n_parameters: int, n_features: int
) -> None:
    if n_parameters == 0:
        raise ValueError(
            "Every column of X is missing altogether or a category of one level, so "
            "there is nothing to learn. Give at least one column of numbers, or one of "
            "two categories."
        )
    if n_components != "auto" and int(n_components) > n_parameters:
        limit = (
            f"the number of columns, n_features={n_features}"
            if n_parameters == n_features
            else f"the number of natural parameters of the columns, {n_parameters}"
        )
        raise ValueError(
            f"n_components={n_components} must not exceed {limit}: more codes than "
            "that cannot be kept apart. Use n_components='auto' or a smaller number."
        )


def _most_rows_for_axes(design: Design, n_rows: int) -> int:
    """Return how many rows give axes, so that their coordinates fit in memory."""
    if design.plain:
        return n_rows
    return max(AXES_NUMBERS // design.n_parameters, 10 * design.n_parameters)


def split_validation(
    rows: Tensor, weights: Tensor, validated: Tensor
) -> tuple[WeightedRows, WeightedRows | None]:
    """Split rows into training and validation rows.

    Parameters
    ----------
    rows : Tensor of shape (n_rows, n_features)
        Rows.
    weights : Tensor of shape (n_rows,)
        Their positive weights, on any device.
    validated : Tensor of shape (n_rows,), bool
        Which rows are to validate on, on the device of the weights.

    Returns
    -------
    training : WeightedRows
    validation : WeightedRows or None
    """
    if not validated.any():
        return _with_mean_one(rows, weights), None
    training, validation = (
        _with_mean_one(rows[part.to(rows.device)], weights[part])
        for part in (~validated, validated)
    )
    return training, validation


def _with_mean_one(rows: Tensor, weights: Tensor) -> WeightedRows:
    # In their own precision first: in that of the rows, all of a part may vanish.
    return WeightedRows(rows, (weights / weights.mean()).to(rows))
