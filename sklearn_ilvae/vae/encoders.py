"""Encoders from rows to the parameters of a diagonal Gaussian over codes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .design import Design
from .networks import MultilayerPerceptron

LARGEST_LOG_CHANGE = 10.0
"""How far, in nats, a log-variance may move from where it started.

Bounded smoothly, so that a row far from the training data cannot overflow.
"""


class GaussianEncoder(nn.Module):
    """``q(z|x) = N(Ax + m(x), diag exp(v + s(x)))`` with one network for m and s.

    Here x are the inputs that `design` makes of a row.

    Parameters
    ----------
    design : Design
        From rows to inputs.
    n_components : int
        Dimension of a code.
    hidden_layer_sizes : sequence of int
        Widths of the hidden layers.
    activation : str
        Name of the activation function.
    """

    def __init__(
        self,
        design: Design,
        n_components: int,
        hidden_layer_sizes: Sequence[int],
        activation: str,
    ) -> None:
        super().__init__()
        self.design = design
        self.linear = nn.Parameter(torch.zeros(n_components, design.width))
        self.log_variance = nn.Parameter(torch.zeros(n_components))
        self.network = MultilayerPerceptron(
            design.width, hidden_layer_sizes, 2 * n_components, activation
        )

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance, both (…, n_components), of rows."""
        inputs = self.design(rows)
        mean, change = self.network(inputs).chunk(2, dim=-1)
        bounded = LARGEST_LOG_CHANGE * torch.tanh(change / LARGEST_LOG_CHANGE)
        return inputs @ self.linear.T + mean, self.log_variance + bounded

    def mean(self, rows: Tensor) -> Tensor:
        """Return the mean alone, which is cheaper: shape (…, n_components)."""
        inputs = self.design(rows)
        mean, _ = self.network(inputs).chunk(2, dim=-1)
        return inputs @ self.linear.T + mean

    @torch.no_grad()
    def start_at(self, linear: Tensor, log_variance: Tensor) -> None:
        """Start at the posterior ``N(linear @ x, diag exp(log_variance))``.

        Inputs beyond the columns of `linear` start without weight.
        """
        self.linear.zero_()
        self.linear[:, : linear.shape[1]] = linear
        self.log_variance.copy_(log_variance)
