"""Decoders from latent codes to natural parameters, each with a certified constant.

Every family starts near the same linear map ``z ↦ V diag(slopes) z``, with V the
leading principal directions of the standardised table, as far as its constant allows.
What differs is what the family may become while it trains, and what it guarantees.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from .maps import (
    LATER_CONSTANT,
    ComposedMap,
    ConvexNetworkGradientMap,
    RidgeGradientMap,
    compose_ridge_maps,
)
from .networks import MultilayerPerceptron, OrthonormalColumns


class Decoder(Protocol):
    """What every decoder offers."""

    def __call__(self, codes: Tensor) -> Tensor:
        """Map codes (…, n_components) to natural parameters (…, n_parameters)."""

    def inverse_lipschitz(self) -> float:
        """Return L such that ``‖f(a) − f(b)‖ ≥ L‖a − b‖`` for all a, b."""

    def start_at(self, slopes: Tensor) -> None:
        """Set the parameters so that ``f(z) ≈ V diag(slopes) z`` around zero."""


class MultilayerPerceptronDecoder(nn.Module):
    """Unconstrained decoder ``f(z) = Az + h(z)``: no guarantee.

    Parameters
    ----------
    directions : Tensor of shape (n_parameters, n_components)
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
        n_parameters, n_components = directions.shape
        self.linear = nn.Parameter(directions.clone())
        self.network = MultilayerPerceptron(
            n_components, hidden_layer_sizes, n_parameters, activation
        )

    def forward(self, codes: Tensor) -> Tensor:
        """Map codes (…, n_components) to natural parameters (…, n_parameters)."""
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

    g is a composition of gradient maps with constant L, h any decoder and V any learned
    matrix with orthonormal columns. The two parts are orthogonal, so
    ``‖f(a) − f(b)‖ ≥ ‖g(a) − g(b)‖ ≥ L‖a − b‖``.

    Parameters
    ----------
    directions : Tensor of shape (n_parameters, n_components)
        Orthonormal columns at which V starts.
    hidden_layer_sizes : sequence of int
        Widths of the hidden layers of g and h.
    activation : str
        Name of the activation function of g and h.
    inverse_lipschitz : float
        The constant L ≥ 0.
    """

    def __init__(
        self,
        directions: Tensor,
        hidden_layer_sizes: Sequence[int],
        activation: str,
        inverse_lipschitz: float,
    ) -> None:
        super().__init__()
        n_parameters, n_components = directions.shape
        self.directions = OrthonormalColumns(directions)
        self.along = compose_ridge_maps(
            n_components, hidden_layer_sizes, inverse_lipschitz, activation
        )
        self.along.point_along(directions)
        self.across = (
            MultilayerPerceptronDecoder(directions, hidden_layer_sizes, activation)
            if n_components < n_parameters
            else None
        )

    def forward(self, codes: Tensor) -> Tensor:
        """Map codes (…, n_components) to natural parameters (…, n_parameters)."""
        directions = self.directions()
        along = self.along(codes)
        if self.across is None:
            return along @ directions.T
        across = self.across(codes)
        return across + (along - across @ directions) @ directions.T

    def inverse_lipschitz(self) -> float:
        """Return the constant certified by the present parameters, at least L."""
        return self.along.inverse_lipschitz()

    def start_at(self, slopes: Tensor) -> None:
        """Start at ``f(z) ≈ V diag(slopes) z``."""
        self.along.start_at(slopes)


class EmbeddedMap(nn.Module):
    """``z ↦ V g(z)``: a map of codes, embedded in the space of natural parameters.

    Parameters
    ----------
    latent_map : ComposedMap
        The map g.
    directions : Tensor of shape (n_parameters, n_components)
        Orthonormal columns at which V starts.
    """

    def __init__(self, latent_map: ComposedMap, directions: Tensor) -> None:
        super().__init__()
        self.latent_map = latent_map
        self.directions = OrthonormalColumns(directions)

    def forward(self, codes: Tensor) -> Tensor:
        """Map codes (…, n_components) to natural parameters (…, n_parameters)."""
        return self.latent_map(codes) @ self.directions().T

    def inverse_lipschitz(self) -> float:
        """Return the constant of g, which V keeps."""
        return self.latent_map.inverse_lipschitz()

    def start_at(self, slopes: Tensor) -> None:
        """Start at ``V diag(slopes) z``."""
        self.latent_map.start_at(slopes)


class WarpedDecoder(nn.Module):
    """``f(z) = warp(inner(z))`` with a gradient map of the natural parameters.

    Parameters
    ----------
    inner : AnchoredDecoder or EmbeddedMap
        From codes to natural parameters.
    warp : ComposedMap
        From natural parameters to others, starting at the identity.
    n_parameters : int
        Number of natural parameters.
    """

    def __init__(
        self,
        inner: AnchoredDecoder | EmbeddedMap,
        warp: ComposedMap,
        n_parameters: int,
    ) -> None:
        super().__init__()
        self.inner = inner
        self.warp = warp
        self.n_parameters = n_parameters

    def forward(self, codes: Tensor) -> Tensor:
        """Map codes (…, n_components) to natural parameters (…, n_parameters)."""
        return self.warp(self.inner(codes))

    def inverse_lipschitz(self) -> float:
        """Return the product of the constants certified for the two parts."""
        return self.inner.inverse_lipschitz() * self.warp.inverse_lipschitz()

    def start_at(self, slopes: Tensor) -> None:
        """Start at ``f(z) ≈ V diag(slopes) z``."""
        self.inner.start_at(slopes)
        self.warp.start_at(slopes.new_ones(self.n_parameters))


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
        gradient map of the parameters; ``"gradient_network"`` and ``"brenier"`` are
        ``g₂(V g₁(z))`` (arXiv 2304.12770, Eq. 8) with ridge gradient maps and with
        gradients of input-convex networks; ``"mlp"`` is unconstrained.
    directions : Tensor of shape (n_parameters, n_components)
        Orthonormal columns at which V starts. The decoder has their dtype.
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

    Raises
    ------
    ValueError
        For an unknown family, a negative constant, and for what cannot guarantee one.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae.vae import make_decoder
    >>> decoder = make_decoder("anchored", torch.eye(3)[:, :2], [8], "elu", 0.5)
    >>> rows = decoder(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    >>> bool((rows[1] - rows[0]).norm() >= 0.5 * 5)
    True
    """
    n_parameters, n_components = directions.shape
    if family not in DECODERS:
        raise ValueError(f"decoder must be one of {DECODERS}, got {family!r}.")
    if not inverse_lipschitz >= 0:
        raise ValueError(
            f"inverse_lipschitz={inverse_lipschitz} must be a number of at least 0."
        )
    if family == "mlp":
        free = MultilayerPerceptronDecoder(directions, hidden_layer_sizes, activation)
        return free.to(directions.dtype)
    if not hidden_layer_sizes:
        raise ValueError(
            f"hidden_layer_sizes={hidden_layer_sizes!r} must hold at least one width "
            f"for decoder={family!r}, for example (64,)."
        )
    if n_components > n_parameters:
        raise ValueError(
            f"n_components={n_components} must not exceed the number of natural "
            f"parameters, {n_parameters}: more codes than that cannot be kept apart. "
            "Use fewer, or decoder='mlp', which guarantees nothing."
        )
    settings = (directions, hidden_layer_sizes, activation, inverse_lipschitz)
    return _certified_decoder(family, *settings).to(directions.dtype)


def _certified_decoder(
    family: str,
    directions: Tensor,
    hidden_layer_sizes: Sequence[int],
    activation: str,
    inverse_lipschitz: float,
) -> AnchoredDecoder | WarpedDecoder:
    """Build a decoder that guarantees a constant, in whatever dtypes it starts with."""
    n_parameters, n_components = directions.shape
    if family == "anchored":
        return AnchoredDecoder(
            directions, hidden_layer_sizes, activation, inverse_lipschitz
        )
    inner: AnchoredDecoder | EmbeddedMap
    inner_constant = inverse_lipschitz / LATER_CONSTANT
    if family == "brenier":
        convex = ConvexNetworkGradientMap
        latent = convex(n_components, hidden_layer_sizes, inner_constant)
        inner = EmbeddedMap(ComposedMap([latent]), directions)
        outer = convex(n_parameters, hidden_layer_sizes, LATER_CONSTANT)
        return WarpedDecoder(inner, ComposedMap([outer]), n_parameters)
    if family == "gradient_network":
        maps = compose_ridge_maps(
            n_components, hidden_layer_sizes, inner_constant, activation
        )
        inner = EmbeddedMap(maps, directions)
    else:
        inner = AnchoredDecoder(
            directions, hidden_layer_sizes, activation, inner_constant
        )
    ridges = RidgeGradientMap(
        n_parameters, hidden_layer_sizes[-1], LATER_CONSTANT, activation
    )
    ridges.point_along(torch.eye(n_parameters))
    return WarpedDecoder(inner, ComposedMap([ridges]), n_parameters)
