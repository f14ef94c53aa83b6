"""Decoders from latent codes to natural parameters, each with a certified constant.

Every family is built around the same directions V, the leading principal directions
of the standardised table, and starts at the same linear map ``z ↦ V diag(slopes) z``.
What differs is what the family may become while it trains, and what it guarantees.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from .maps import ConvexNetworkGradientMap, RidgeGradientMap, StronglyMonotoneMap
from .networks import MultilayerPerceptron


class Decoder(Protocol):
    """What every decoder offers."""

    def __call__(self, codes: Tensor) -> Tensor:
        """Map codes (…, n_components) to natural parameters (…, n_features)."""

    def inverse_lipschitz(self) -> float:
        """Return L such that ``‖f(a) − f(b)‖ ≥ L‖a − b‖`` for all a, b."""

    def start_at(self, slopes: Tensor) -> None:
        """Set the parameters so that ``f(z) ≈ V diag(slopes) z`` around zero."""


def _ridge_maps(
    n_features: int, widths: Sequence[int], inverse_lipschitz: float, activation: str
) -> nn.Sequential:
    # Constants multiply under composition: the first map carries L, the others 1.
    constants = [inverse_lipschitz] + [1.0] * (len(widths) - 1)
    return nn.Sequential(
        *(
            RidgeGradientMap(n_features, width, constant, activation)
            for width, constant in zip(widths, constants, strict=True)
        )
    )


def _certified(maps: nn.Sequential) -> float:
    product = 1.0
    for each in maps:
        assert isinstance(each, StronglyMonotoneMap)
        product *= each.inverse_lipschitz()
    return product


def _start(maps: nn.Sequential, slopes: Tensor) -> None:
    for index, each in enumerate(maps):
        assert isinstance(each, StronglyMonotoneMap)
        each.start_at(slopes if index == 0 else torch.ones_like(slopes))


class MultilayerPerceptronDecoder(nn.Module):
    """Unconstrained decoder ``f(z) = Az + h(z)``: no guarantee.

    Parameters
    ----------
    directions : Tensor of shape (n_features, n_components)
        Orthonormal columns V.
    hidden_layer_sizes : sequence of int
        Widths of the hidden layers of h.
    activation : str
        Name of the activation function of h.
    """

    def __init__(
        self, directions: Tensor, hidden_layer_sizes: Sequence[int], activation: str
    ) -> None:
        super().__init__()
        n_features, n_components = directions.shape
        self.linear = nn.Parameter(directions.clone())
        self.network = MultilayerPerceptron(
            n_components, hidden_layer_sizes, n_features, activation
        )

    def forward(self, codes: Tensor) -> Tensor:
        """Map codes (…, n_components) to natural parameters (…, n_features)."""
        return codes @ self.linear.T + self.network(codes)

    def inverse_lipschitz(self) -> float:
        """Return 0: nothing keeps two codes apart."""
        return 0.0

    @torch.no_grad()
    def start_at(self, slopes: Tensor) -> None:
        """Set ``A = V diag(slopes)``."""
        self.linear.mul_(slopes)


class AnchoredDecoder(nn.Module):
    """``f(z) = V g(z) + (I − VVᵀ) h(z)``: monotone along V, free across it.

    g is a composition of gradient maps with constant L and h any network. The two
    parts are orthogonal, so ``‖f(a) − f(b)‖ ≥ ‖g(a) − g(b)‖ ≥ L‖a − b‖``.

    Parameters
    ----------
    directions : Tensor of shape (n_features, n_components)
        Orthonormal columns V.
    hidden_layer_sizes : sequence of int
        Widths of the hidden layers of h; g has one gradient map for each.
    activation : str
        Name of the activation function of g and h.
    inverse_lipschitz : float
        The constant L ≥ 0.
    """

    directions: Tensor

    def __init__(
        self,
        directions: Tensor,
        hidden_layer_sizes: Sequence[int],
        activation: str,
        inverse_lipschitz: float,
    ) -> None:
        super().__init__()
        n_features, n_components = directions.shape
        self.register_buffer("directions", directions.clone())
        self.along = _ridge_maps(
            n_components, hidden_layer_sizes, inverse_lipschitz, activation
        )
        self.across = (
            MultilayerPerceptron(
                n_components, hidden_layer_sizes, n_features, activation
            )
            if n_components < n_features
            else None
        )

    def forward(self, codes: Tensor) -> Tensor:
        """Map codes (…, n_components) to natural parameters (…, n_features)."""
        along = self.along(codes)
        if self.across is None:
            return along @ self.directions.T
        across = self.across(codes)
        return across + (along - across @ self.directions) @ self.directions.T

    def inverse_lipschitz(self) -> float:
        """Return the constant certified by the present parameters, at least L."""
        return _certified(self.along)

    def start_at(self, slopes: Tensor) -> None:
        """Start at ``f(z) ≈ V diag(slopes) z``."""
        _start(self.along, slopes)


class ComposedDecoder(nn.Module):
    """``f(z) = outer(inner(z))`` with an outer gradient map on the data space.

    Parameters
    ----------
    inner : Module
        Decoder, or gradient maps on the latent space followed by V.
    outer : Module
        Gradient maps on the data space.
    """

    def __init__(self, inner: "AnchoredDecoder | EmbeddedMaps", outer: nn.Sequential):
        super().__init__()
        self.inner = inner
        self.outer = outer

    def forward(self, codes: Tensor) -> Tensor:
        """Map codes (…, n_components) to natural parameters (…, n_features)."""
        return self.outer(self.inner(codes))

    def inverse_lipschitz(self) -> float:
        """Return the product of the constants certified for the two parts."""
        return self.inner.inverse_lipschitz() * _certified(self.outer)

    def start_at(self, slopes: Tensor) -> None:
        """Start at ``f(z) ≈ V diag(slopes) z``."""
        self.inner.start_at(slopes)
        _start(self.outer, slopes.new_ones(self.inner.directions.shape[0]))


class EmbeddedMaps(nn.Module):
    """Gradient maps on the latent space, then its embedding ``V`` in the data space.

    Parameters
    ----------
    maps : Sequential
        Gradient maps on the latent space.
    directions : Tensor of shape (n_features, n_components)
        Orthonormal columns V.
    """

    directions: Tensor

    def __init__(self, maps: nn.Sequential, directions: Tensor) -> None:
        super().__init__()
        self.maps = maps
        self.register_buffer("directions", directions.clone())

    def forward(self, codes: Tensor) -> Tensor:
        """Map codes (…, n_components) to points (…, n_features)."""
        return self.maps(codes) @ self.directions.T

    def inverse_lipschitz(self) -> float:
        """Return the constant of the maps, which V keeps."""
        return _certified(self.maps)

    def start_at(self, slopes: Tensor) -> None:
        """Start at ``V diag(slopes) z``."""
        _start(self.maps, slopes)


OUTER_CONSTANT = 0.5
"""Constant of a map on the data space, which starts at the identity.

Below 1, so that it can shrink as well as stretch; the inner part carries the rest.
"""

DECODERS = ("anchored", "anchored_warped", "gradient_network", "brenier", "mlp")


def make_decoder(
    family: str,
    directions: Tensor,
    hidden_layer_sizes: Sequence[int],
    activation: str,
    inverse_lipschitz: float,
) -> Decoder:
    """Build a decoder of one of the families.

    Parameters
    ----------
    family : {"anchored", "anchored_warped", "gradient_network", "brenier", "mlp"}
        ``"anchored"`` is `AnchoredDecoder`; ``"anchored_warped"`` adds a ridge
        gradient map on the data space; ``"gradient_network"`` and ``"brenier"`` are
        ``g₂(V g₁(z))`` (arXiv 2304.12770, Eq. 8) with ridge gradient maps and with
        gradients of input-convex networks; ``"mlp"`` is unconstrained.
    directions : Tensor of shape (n_features, n_components)
        Orthonormal columns V.
    hidden_layer_sizes : sequence of int
        Widths of the hidden layers, at least one.
    activation : str
        Name of the activation function.
    inverse_lipschitz : float
        The constant L ≥ 0.

    Returns
    -------
    Decoder
        A torch module.
    """
    n_features, n_components = directions.shape
    inner_constant = inverse_lipschitz / OUTER_CONSTANT
    if family == "mlp":
        return MultilayerPerceptronDecoder(directions, hidden_layer_sizes, activation)
    if family == "anchored":
        return AnchoredDecoder(
            directions, hidden_layer_sizes, activation, inverse_lipschitz
        )
    if family == "brenier":
        inner = nn.Sequential(
            ConvexNetworkGradientMap(n_components, hidden_layer_sizes, inner_constant)
        )
        outer = nn.Sequential(
            ConvexNetworkGradientMap(n_features, hidden_layer_sizes, OUTER_CONSTANT)
        )
        return ComposedDecoder(EmbeddedMaps(inner, directions), outer)
    outer = nn.Sequential(
        RidgeGradientMap(n_features, hidden_layer_sizes[-1], OUTER_CONSTANT, activation)
    )
    if family == "gradient_network":
        inner = _ridge_maps(
            n_components, hidden_layer_sizes, inner_constant, activation
        )
        return ComposedDecoder(EmbeddedMaps(inner, directions), outer)
    if family == "anchored_warped":
        anchored = AnchoredDecoder(
            directions, hidden_layer_sizes, activation, inner_constant
        )
        return ComposedDecoder(anchored, outer)
    raise ValueError(f"decoder must be one of {DECODERS}, got {family!r}.")
