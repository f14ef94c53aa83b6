"""Encoders from rows to the parameters of a diagonal Gaussian over codes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .networks import MultilayerPerceptron

LARGEST_LOG_CHANGE = 10.0
"""How far, in nats, a log-variance may move from where it started.

Bounded smoothly, so that a row far from the training data cannot overflow.
"""


class GaussianEncoder(nn.Module):
    """``q(z|x) = N(Ax + m(x), diag exp(v + s(x)))`` with one network for m and s.

    Parameters
    ----------
    n_features, n_components : int
        Dimensions of a row and of its code.
    hidden_layer_sizes : sequence of int
        Widths of the hidden layers.
    activation : str
        Name of the activation function.
    """

    def __init__(
        self,
        n_features: int,
        n_components: int,
        hidden_layer_sizes: Sequence[int],
        activation: str,
    ) -> None:
        super().__init__()
        self.linear = nn.Parameter(torch.zeros(n_components, n_features))
        self.log_variance = nn.Parameter(torch.zeros(n_components))
        self.network = MultilayerPerceptron(
            n_features, hidden_layer_sizes, 2 * n_components, activation
        )

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance, both (…, n_components), of rows."""
        mean, change = self.network(rows).chunk(2, dim=-1)
        bounded = LARGEST_LOG_CHANGE * torch.tanh(change / LARGEST_LOG_CHANGE)
        return rows @ self.linear.T + mean, self.log_variance + bounded

    def mean(self, rows: Tensor) -> Tensor:
        """Return the mean alone, which is cheaper: shape (…, n_components)."""
        mean, _ = self.network(rows).chunk(2, dim=-1)
        return rows @ self.linear.T + mean

    @torch.no_grad()
    def start_at(self, linear: Tensor, log_variance: Tensor) -> None:
        """Start at the posterior ``N(linear @ x, diag exp(log_variance))``."""
        self.linear.copy_(linear)
        self.log_variance.copy_(log_variance)
