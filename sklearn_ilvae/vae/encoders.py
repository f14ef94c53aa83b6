"""Encoders from rows to the parameters of a diagonal Gaussian over codes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .completion import LinearCompletion
from .design import Design
from .likelihoods.heads import any_missing
from .networks import MultilayerPerceptron, tanh

LARGEST_LOG_CHANGE = 10.0
"""How far, in nats, a log-variance may move from where it started.

Bounded smoothly, so that a row far from the training data cannot overflow.
"""


class GaussianEncoder(nn.Module):
    """``q(z|x) = N(Ax + m(x), diag exp(v + s(x)))`` with one network for m and s.

    Here x are the inputs that `design` makes of a row. Missing values are completed by
    the linear model that training starts at, and v grows by what it does not know.

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
        self.completion = LinearCompletion(design.n_parameters, n_components)
        self.linear = nn.Parameter(torch.zeros(n_components, design.width))
        self.log_variance = nn.Parameter(torch.zeros(n_components))
        self.network = MultilayerPerceptron(
            design.width, hidden_layer_sizes, 2 * n_components, activation
        )

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance, both (…, n_components), of rows."""
        mean, log_variance, wider = self.with_doubt(rows)
        return mean, log_variance if wider is None else log_variance + wider

    def with_doubt(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return mean, log-variance but for gaps, and by how much gaps raise it.

        Each (…, n_components); the last at least 0, None for rows without gaps.
        """
        inputs, wider = self._inputs(rows)
        mean, change = self.network(inputs).chunk(2, dim=-1)
        bounded = LARGEST_LOG_CHANGE * tanh(change / LARGEST_LOG_CHANGE)
        return inputs @ self.linear.T + mean, self.log_variance + bounded, wider

    def mean(self, rows: Tensor) -> Tensor:
        """Return the mean alone, which is cheaper: shape (…, n_components)."""
        inputs, _ = self._inputs(rows)
        mean, _ = self.network(inputs).chunk(2, dim=-1)
        return inputs @ self.linear.T + mean

    def completed(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return coordinates without gaps, and by how much gaps raise log-variances."""
        coordinates = self.design.coordinates(rows)
        if not any_missing(rows):
            return coordinates, None
        return self.completion(coordinates)

    def _inputs(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        coordinates, wider = self.completed(rows)
        return self.design.with_gaps(rows, coordinates), wider

    @torch.no_grad()
    def start_at(self, loadings: Tensor, noise: Tensor) -> None:
        """Start at the posterior of a linear Gaussian model of the coordinates.

        Parameters
        ----------
        loadings : Tensor of shape (n_parameters, n_components), float64
            What a unit of a code adds to the coordinates.
        noise : Tensor of shape (n_parameters,), float64
            Variances of the noise.
        """
        scaled = loadings.T / noise
        precision = scaled @ loadings + torch.eye(len(scaled), dtype=scaled.dtype)
        linear = torch.linalg.solve(precision, scaled)
        log_variance = -precision.diagonal().log()
        self.completion.start_at(loadings, noise)
        self.linear.zero_()
        self.linear[:, : linear.shape[1]] = linear
        self.log_variance.copy_(log_variance)
