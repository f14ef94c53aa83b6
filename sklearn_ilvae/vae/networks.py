"""Feed-forward building blocks shared by encoders, decoders and maps."""

import itertools
from collections.abc import Callable, Sequence
from copy import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

Network = TypeVar("Network", bound=nn.Module)

JACOBIAN_STEP = 1e-2
"""Distance from zero of the points whose differences make a Jacobian."""


def converted(network: Network, device: torch.device, dtype: torch.dtype) -> Network:
    """Return a copy of a network on a device and in a floating dtype, for inference.

    It computes as ``deepcopy(network).to(device, dtype)`` does, but takes a tenth of
    the time, which for one row is longer than to compute: it shares with the network
    all that is not converted.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae.vae.networks import converted
    >>> network = torch.nn.Linear(2, 1)
    >>> converted(network, torch.device("cpu"), torch.float64).weight.dtype
    torch.float64
    >>> network.weight.dtype
    torch.float32
    """
    twin = copy(network)
    twin._parameters = {
        name: None if each is None else nn.Parameter(each.detach().to(device, dtype))
        for name, each in network._parameters.items()
    }
    twin._buffers = {
        name: None
        if each is None
        else each.to(device, dtype if each.is_floating_point() else None)
        for name, each in network._buffers.items()
    }
    twin._modules = {
        name: None if each is None else converted(each, device, dtype)
        for name, each in network._modules.items()
    }
    return twin


def softplus(inputs: Tensor) -> Tensor:
    """Return ``log(1 + exp(x))``, exact in float64.

    torch's own default turns linear at 20, which is a step down of 2e-9.
    """
    return functional.softplus(inputs, threshold=40.0)


def elu(inputs: Tensor) -> Tensor:
    """Return x where positive and ``exp(x) − 1`` elsewhere.

    torch's own costs two to three times as much, which pays in training alone: its
    gradient is one kernel. The two agree within a rounding of 1.
    """
    if torch.is_grad_enabled():
        return functional.elu(inputs)
    values = inputs.clamp(max=0).exp_().sub_(1)
    return torch.maximum(inputs, values, out=values)


def tanh(inputs: Tensor) -> Tensor:
    """Return tanh(x).

    In float64 torch's own costs three times as much as by its logistic function, which
    pays in training alone. The two agree within two roundings of 1, too little to show
    there but not in float32.
    """
    if torch.is_grad_enabled() or inputs.dtype != torch.float64:
        return torch.tanh(inputs)
    return torch.sigmoid(2 * inputs).mul_(2).sub_(1)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": tanh,
    "relu": torch.relu,
    "elu": elu,
    "softplus": softplus,
    "logistic": torch.sigmoid,
}
"""Non-decreasing functions only: the gradient maps derive their guarantee from it."""


def activation_function(name: str) -> Callable[[Tensor], Tensor]:
    """Return the function of a name in `ACTIVATIONS`, or an error that lists them."""
    if name not in ACTIVATIONS:
        raise ValueError(
            f"activation={name!r} is unknown. Use one of "
            f"{', '.join(map(repr, ACTIVATIONS))}: a guarantee needs functions that "
            "do not decrease."
        )
    return ACTIVATIONS[name]


@torch.no_grad()
def jacobian_at_zero(function: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
    """Return the Jacobian of a function at zero, by central differences.

    Good to about four digits in float32, which is enough to start training with; at a
    kink it is the mean of the slopes on both sides.

    Parameters
    ----------
    function : callable
        Maps (n_points, n_inputs) to (n_points, n_outputs).
    like : Tensor of shape (n_inputs,)
        Gives size, dtype and device of the input.

    Returns
    -------
    Tensor of shape (n_outputs, n_inputs)
    """
    points = JACOBIAN_STEP * torch.eye(len(like), dtype=like.dtype, device=like.device)
    return ((function(points) - function(-points)) / (2 * JACOBIAN_STEP)).T


class MultilayerPerceptron(nn.Module):
    """Fully connected network whose output layer starts at zero.

    A zero output layer lets a caller add the network to a closed-form solution and
    start exactly there.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Widths of the input and of the linear output layer.
    hidden_layer_sizes : sequence of int
        Widths of the hidden layers; empty for a linear map.
    activation : str
        A key of `ACTIVATIONS`.
    """

    def __init__(
        self,
        n_inputs: int,
        hidden_layer_sizes: Sequence[int],
        n_outputs: int,
        activation: str,
    ) -> None:
        super().__init__()
        widths = [n_inputs, *hidden_layer_sizes]
        self.hidden = nn.ModuleList(
            nn.Linear(before, after) for before, after in itertools.pairwise(widths)
        )
        self.output = nn.Linear(widths[-1], n_outputs)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        self.activation = activation_function(activation)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (…, n_inputs) to (…, n_outputs)."""
        for layer in self.hidden:
            inputs = self.activation(layer(inputs))
        return self.output(inputs)


class OrthonormalColumns(nn.Module):
    """Learned matrix with orthonormal columns: the Q of a QR decomposition.

    Parameters
    ----------
    start : Tensor of shape (n_rows, n_columns)
        Orthonormal columns to start from.
    """

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(start.clone())

    def forward(self) -> Tensor:
        """Return the columns, of shape (n_rows, n_columns)."""
        columns, triangle = torch.linalg.qr(self.weight)
        # QR fixes the columns up to their signs: keep those of the parameter.
        return torch.where(triangle.diagonal() < 0, -columns, columns)
