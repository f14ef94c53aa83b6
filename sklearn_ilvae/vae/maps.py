"""Inverse-Lipschitz maps of a space to itself.

Each map is the gradient of a strongly convex potential: its Jacobian is symmetric
with eigenvalues of at least `L`, so that ``‖g(a) − g(b)‖ ≥ L‖a − b‖`` for all a, b
(Kinoshita et al., ICML 2023, arXiv 2304.12770, Section 3).
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .networks import activation_function, jacobian_at_zero, softplus, tanh

NONLINEAR_SHARE = 0.1
"""Share of a map's slope at zero that its nonlinear part carries when training starts.

Little, so that training sets out from nearly the linear model; not nothing, because a
gain of zero, being a square, would receive no gradient.
"""

SMALLEST_START = 1e-3
"""Least part of a slope that starts free: a square of zero would get no gradient."""

STEEPNESS = 3.0
"""Slope of the argument of a ridge along a column, when training starts.

Columns with few distinct values have steps along the column, not along an oblique
direction. Ridges that start along the columns find such steps; oblique ones rarely turn
far enough.
"""

LATER_CONSTANT = 0.8
"""Product of the constants of the maps after the first, which start at the identity.

Below 1, so that they can shrink as well as stretch; the first map carries the rest.
"""

MAPS_PER_LAYER = 2
"""Ridge gradient maps for each hidden layer.

A single one has a symmetric Jacobian; a composition can turn as well as stretch.
"""


class StronglyMonotoneMap(nn.Module):
    """Base of ``g(x) = (L + s²) ⊙ x + n(x) + c`` with n a monotone gradient.

    Parameters that must not be negative are squares: unlike exponentials or
    softplus they can grow from small values in few steps of the optimiser.

    Parameters
    ----------
    n_features : int
        Dimension of the space.
    n_gains : int
        Number of terms of n.
    inverse_lipschitz : float
        The constant L ≥ 0 that holds whatever the parameters.
    """

    def __init__(self, n_features: int, n_gains: int, inverse_lipschitz: float) -> None:
        super().__init__()
        self.guaranteed = float(inverse_lipschitz)
        self.root_slope = nn.Parameter(torch.ones(n_features))
        self.root_gain = nn.Parameter(torch.ones(n_gains))
        self.shift = nn.Parameter(torch.zeros(n_features))

    def nonlinear(self, inputs: Tensor) -> Tensor:
        """Return the gradient of the convex, non-quadratic part of the potential."""
        raise NotImplementedError

    def input_weights(self) -> list[Tensor]:
        """Return the matrices that multiply x in the nonlinear part."""
        raise NotImplementedError

    def forward(self, inputs: Tensor) -> Tensor:
        """Map points of shape (…, n_features) to points of the same shape."""
        slope = self.guaranteed + self.root_slope.square()
        return slope * inputs + self.nonlinear(inputs) + self.shift

    @torch.no_grad()
    def inverse_lipschitz(self) -> float:
        """Return the constant certified by the present parameters, at least L."""
        return self.guaranteed + float(self.root_slope.square().min())

    @torch.no_grad()
    def start_at(self, slopes: Tensor) -> None:
        """Set the parameters so that ``g(x) ≈ slopes ⊙ x`` around zero."""
        free = (slopes - self.guaranteed).clamp(min=SMALLEST_START)
        for weight in self.input_weights():
            weight.mul_((free / free.mean()).sqrt())
        zero = torch.zeros_like(self.shift)
        carried = jacobian_at_zero(self.nonlinear, zero).diagonal()
        # A narrow layer of rectified units may be switched off at zero.
        ratio = free.sum() / carried.sum() if carried.any() else carried.new_ones(())
        gain = NONLINEAR_SHARE * ratio
        self.root_gain.mul_(gain.sqrt())
        rest = (free - gain * carried).clamp(min=SMALLEST_START)
        self.root_slope.copy_(rest.sqrt())
        self.shift.copy_(-self.nonlinear(zero))


class RidgeGradientMap(StronglyMonotoneMap):
    """Gradient of a sum of convex ridge functions, in closed form.

    ``g(x) = (L + s²) ⊙ x + Wᵀ diag(a²) σ(Wx + b) + c`` with every σ non-decreasing: the
    Jacobian is ``diag(L + s²) + Wᵀ diag(a² σ') W ⪰ L``. Half of the σ are tanh: the
    slopes of an unbounded activation only ever rise, and could not draw a step, of
    which tables with few distinct values are full.

    Parameters
    ----------
    n_features : int
        Dimension of the space.
    n_ridges : int
        Number of rows of W.
    inverse_lipschitz : float
        The constant L ≥ 0.
    activation : str
        The name of the other half of the σ.
    """

    def __init__(
        self, n_features: int, n_ridges: int, inverse_lipschitz: float, activation: str
    ) -> None:
        super().__init__(n_features, n_ridges, inverse_lipschitz)
        self.activation = activation_function(activation)
        self.weight = nn.Parameter(torch.randn(n_ridges, n_features) / n_features**0.5)
        self.bias = nn.Parameter(torch.randn(n_ridges))

    def nonlinear(self, inputs: Tensor) -> Tensor:
        """Return ``Wᵀ diag(a²) σ(Wx + b)``."""
        # The gains multiply the small matrix rather than the ridges of every row, and
        # the matrix is split rather than the ridges, which would be copied.
        outgoing = self.root_gain.square()[:, None] * self.weight
        n_bounded = len(self.weight) // 2
        sizes = [n_bounded, len(self.weight) - n_bounded]
        parts = zip(
            (tanh, self.activation),
            self.weight.split(sizes),
            self.bias.split(sizes),
            outgoing.split(sizes),
            strict=True,
        )
        bounded, others = (
            activation(functional.linear(inputs, weight, bias)) @ back
            for activation, weight, bias, back in parts
        )
        return bounded + others

    def input_weights(self) -> list[Tensor]:
        """Return W."""
        return [self.weight]

    @torch.no_grad()
    def point_along(self, axes: Tensor) -> None:
        """Point half of the bounded ridges along given axes, each in its turn.

        Parameters
        ----------
        axes : Tensor of shape (n_axes, n_features)
            Unit vectors, or their images under a projection.
        """
        n_pointed = len(self.weight) // 4
        turns = torch.arange(n_pointed) % len(axes)
        self.weight[:n_pointed] = STEEPNESS * axes[torch.randperm(len(axes))[turns]]


class ConvexNetworkGradientMap(StronglyMonotoneMap):
    """Gradient of an input-convex neural network: the Brenier map of the paper.

    The potential is ``(a²)ᵀh_K`` with ``h_1 = s(A_1 x + b_1)`` and
    ``h_k = s(W_k² h_{k−1} + A_k x + b_k)``, s the softplus and squares entry by entry
    (Amos, Xu & Kolter, ICML 2017, Eq. 2). Its gradient is written out by the chain
    rule, which costs one backward sweep and works where autograd is switched off.

    Parameters
    ----------
    n_features : int
        Dimension of the space.
    hidden_layer_sizes : sequence of int
        Widths of h_1, …, h_K.
    inverse_lipschitz : float
        The constant L ≥ 0.
    """

    def __init__(
        self,
        n_features: int,
        hidden_layer_sizes: Sequence[int],
        inverse_lipschitz: float,
    ) -> None:
        super().__init__(n_features, hidden_layer_sizes[-1], inverse_lipschitz)
        self.input_weight = nn.ParameterList(
            torch.randn(width, n_features) / n_features**0.5
            for width in hidden_layer_sizes
        )
        self.input_bias = nn.ParameterList(
            torch.randn(width) for width in hidden_layer_sizes
        )
        self.root_between = nn.ParameterList(
            torch.full((after, before), before**-0.5)
            for before, after in itertools.pairwise(hidden_layer_sizes)
        )

    def nonlinear(self, inputs: Tensor) -> Tensor:
        """Return the gradient of the input-convex network."""
        between = [root.square() for root in self.root_between]
        before = [
            functional.linear(inputs, weight, bias)
            for weight, bias in zip(self.input_weight, self.input_bias, strict=True)
        ]
        for index, weight in enumerate(between):
            hidden = softplus(before[index])
            before[index + 1] = before[index + 1] + functional.linear(hidden, weight)
        sensitivity = self.root_gain.square() * torch.sigmoid(before[-1])
        gradient = sensitivity @ self.input_weight[-1]
        for index in range(len(between) - 1, -1, -1):
            sensitivity = (sensitivity @ between[index]) * torch.sigmoid(before[index])
            gradient = gradient + sensitivity @ self.input_weight[index]
        return gradient

    def input_weights(self) -> list[Tensor]:
        """Return A_1, …, A_K."""
        return list(self.input_weight)


class ComposedMap(nn.Module):
    """Composition of monotone maps, whose constants multiply.

    Parameters
    ----------
    maps : sequence of StronglyMonotoneMap
        The maps, the first to apply first.
    """

    def __init__(self, maps: Sequence[StronglyMonotoneMap]) -> None:
        super().__init__()
        self.maps = nn.ModuleList(maps)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map points of shape (…, n_features) to points of the same shape."""
        for each in self.maps:
            inputs = each(inputs)
        return inputs

    def inverse_lipschitz(self) -> float:
        """Return the product of the certified constants."""
        return prod(each.inverse_lipschitz() for each in self._monotone())

    def start_at(self, slopes: Tensor) -> None:
        """Start at ``g(x) ≈ slopes ⊙ x``: the first map scales, the others do not."""
        for each in self._monotone():
            each.start_at(slopes)
            slopes = torch.ones_like(slopes)

    def point_along(self, axes: Tensor) -> None:
        """Point the last map along the columns of a table, see `RidgeGradientMap`."""
        cast("RidgeGradientMap", self.maps[-1]).point_along(axes)

    def _monotone(self) -> Iterator[StronglyMonotoneMap]:
        return iter(cast("Iterable[StronglyMonotoneMap]", self.maps))


def compose_ridge_maps(
    n_features: int,
    hidden_layer_sizes: Sequence[int],
    inverse_lipschitz: float,
    activation: str,
) -> ComposedMap:
    """Build `MAPS_PER_LAYER` ridge gradient maps for each hidden layer.

    Parameters
    ----------
    n_features : int
        Dimension of the space.
    hidden_layer_sizes : sequence of int
        Numbers of ridges.
    inverse_lipschitz : float
        The constant L ≥ 0 of the composition.
    activation : str
        The name of the activation function.

    Returns
    -------
    ComposedMap
    """
    widths = [width for width in hidden_layer_sizes for _ in range(MAPS_PER_LAYER)]
    n_later = len(widths) - 1
    later = LATER_CONSTANT ** (1 / max(n_later, 1))
    constants = [inverse_lipschitz / later**n_later] + [later] * n_later
    return ComposedMap(
        [
            RidgeGradientMap(n_features, width, constant, activation)
            for width, constant in zip(widths, constants, strict=True)
        ]
    )
