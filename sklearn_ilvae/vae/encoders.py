"""Encoders from rows to the parameters of a diagonal Gaussian over codes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .completion import LinearCompletion
from .design import Design
from .networks import MultilayerPerceptron, tanh
from .observed import any_missing

LARGEST_LOG_CHANGE = 10.0
"""How far, in nats, a log-variance may move from where it started.

Bounded smoothly, so that a row far from the training data cannot overflow.
"""


@dataclass(frozen=True)
class EncoderInputs:
    """What an encoder reads of rows, which does not change while it is trained.

    Attributes
    ----------
    values : Tensor of shape (…, width)
        Coordinates without gaps, and what was missing.
    increase : Tensor of shape (…, n_components) or None
        By how much gaps raise log-variances, at least 0; None for rows without gaps.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae import vae
    >>> shape = vae.Architecture("anchored", 2, ("gaussian",) * 3, (8,), "elu", 0.1, 0)
    >>> encoder = vae.VariationalAutoencoder(shape, torch.eye(3)[:, :2]).encoder
    >>> inputs = encoder.inputs(torch.tensor([[1.0, 2.0, torch.nan]]))
    >>> inputs.values
    tensor([[1., 2., 0.]])
    >>> mean, log_variance = encoder.from_inputs(inputs)
    """

    values: Tensor
    increase: Tensor | None


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
        return self.from_inputs(self.inputs(rows))

    def mean(self, rows: Tensor) -> Tensor:
        """Return the mean alone, which is cheaper: shape (…, n_components)."""
        mean, _ = self._mean_and_change(self.inputs(rows).values)
        return mean

    def inputs(self, rows: Tensor) -> EncoderInputs:
        """Return what the encoder reads of rows."""
        coordinates, increase = self.completed(rows)
        return EncoderInputs(self.design.with_gaps(rows, coordinates), increase)

    def from_inputs(self, inputs: EncoderInputs) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance, both (…, n_components), by what it reads."""
        mean, change = self._mean_and_change(inputs.values)
        bounded = LARGEST_LOG_CHANGE * tanh(change / LARGEST_LOG_CHANGE)
        log_variance = self.log_variance + bounded
        if inputs.increase is not None:
            log_variance = log_variance + inputs.increase
        return mean, log_variance

    def completed(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return coordinates without gaps, and by how much gaps raise log-variances.

        The latter (…, n_components), at least 0; None for rows without gaps.
        """
        coordinates = self.design.coordinates(rows)
        if not any_missing(rows):
            return coordinates, None
        return self.completion(coordinates)

    def _mean_and_change(self, values: Tensor) -> tuple[Tensor, Tensor]:
        mean, change = self.network(values).chunk(2, dim=-1)
        return values @ self.linear.T + mean, change

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
        self.linear[:, : linear.shape[1]] = linear
        self.log_variance.copy_(log_variance)
