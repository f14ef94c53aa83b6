"""The variational autoencoder: encoder, decoder, likelihood and prior together."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .decoders import make_decoder
from .design import Design
from .encoders import GaussianEncoder
from .likelihoods import MixedLikelihood
from .priors import MixturePrior, StandardNormalPrior


@dataclass(frozen=True)
class Architecture:
    """All that is needed to build an untrained autoencoder of the same shape.

    Parameters
    ----------
    decoder : str
        Family of the decoder, see `make_decoder`.
    n_components : int
        Dimension of the codes.
    likelihood : tuple of str, length n_features
        Family of every column, see `MixedLikelihood`.
    hidden_layer_sizes : tuple of int
        Widths of the hidden layers.
    activation : str
        Name of the activation function.
    inverse_lipschitz : float
        The constant L ≥ 0 of the decoder.
    n_mixture_components : int
        Number of Gaussians of the prior; 0 for the standard normal.
    n_levels : tuple of int, default=()
        Number of levels of every column; may be left out where no column has levels.
    gaps : tuple of bool, default=()
        Which columns had missing values in training: the encoder is told where.

    Examples
    --------
    >>> from sklearn_ilvae.vae import Architecture
    >>> architecture = Architecture(
    ...     decoder="anchored",
    ...     n_components=2,
    ...     likelihood=("gaussian", "gaussian", "bernoulli"),
    ...     hidden_layer_sizes=(8,),
    ...     activation="elu",
    ...     inverse_lipschitz=0.5,
    ...     n_mixture_components=4,
    ... )
    >>> architecture.likelihood.count("bernoulli")
    1
    """

    decoder: str
    n_components: int
    likelihood: tuple[str, ...]
    hidden_layer_sizes: tuple[int, ...]
    activation: str
    inverse_lipschitz: float
    n_mixture_components: int
    n_levels: tuple[int, ...] = ()
    gaps: tuple[bool, ...] = ()


class VariationalAutoencoder(nn.Module):
    """Gaussian encoder, decoder of any family, mixed likelihood and prior.

    Parameters
    ----------
    architecture : Architecture
        Shapes and families.
    directions : Tensor of shape (n_parameters, n_components), default=None
        Orthonormal columns around which the decoder is built; the network has their
        dtype. None builds them empty, to be filled by ``load_state_dict``.

    Raises
    ------
    ValueError
        For names or shapes that no network can be built of.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae import vae
    >>> shape = vae.Architecture("anchored", 2, ("gaussian",) * 3, (8,), "elu", 0.5, 0)
    >>> model = vae.VariationalAutoencoder(shape, torch.eye(3)[:, :2])
    >>> model.decoder(torch.zeros(5, 2)).shape
    torch.Size([5, 3])
    >>> model.decoder.inverse_lipschitz() >= 0.5
    True
    """

    def __init__(
        self, architecture: Architecture, directions: Tensor | None = None
    ) -> None:
        super().__init__()
        n_components = architecture.n_components
        columns = (architecture.likelihood, architecture.n_levels)
        design = Design(*columns, architecture.gaps)
        shape = (design.n_parameters, n_components)
        if directions is None:
            directions = torch.zeros(shape)
        if directions.shape != shape:
            raise ValueError(
                f"directions has shape {tuple(directions.shape)}, but must have "
                f"{shape}: a row for each natural parameter of the likelihood, and "
                "n_components columns."
            )
        self.architecture = architecture
        self.encoder = GaussianEncoder(
            design,
            n_components,
            architecture.hidden_layer_sizes,
            architecture.activation,
        )
        self.decoder = make_decoder(
            architecture.decoder,
            directions,
            architecture.hidden_layer_sizes,
            architecture.activation,
            architecture.inverse_lipschitz,
        )
        self.likelihood = MixedLikelihood(*columns)
        self.prior = (
            MixturePrior(n_components, architecture.n_mixture_components)
            if architecture.n_mixture_components
            else StandardNormalPrior(n_components)
        )
        self.to(directions.dtype)

    @property
    def widest_layer(self) -> int:
        """How many numbers the widest layer of the decoder holds for a code."""
        widths = self.architecture.hidden_layer_sizes
        return max(self.likelihood.n_parameters, *widths)
