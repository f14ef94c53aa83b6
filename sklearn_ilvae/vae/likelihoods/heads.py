"""What the families of likelihoods have in common."""

import torch
from torch import Tensor, nn


class Head(nn.Module):
    """Columns of one family, independent given their natural parameters.

    Values have shape (…, n_columns), natural parameters (…, n_columns · width) and
    statistics (…, n_columns · n_statistics), a column after the other.

    Parameters
    ----------
    n_columns : int
        Number of columns.
    width : int, default=1
        Natural parameters of a column.
    n_statistics : int, default=1
        Expected statistics of a column: a mean, or the probabilities of its levels.
    """

    def __init__(self, n_columns: int, width: int = 1, n_statistics: int = 1) -> None:
        super().__init__()
        self.n_columns = n_columns
        self.width = width
        self.n_statistics = n_statistics

    def log_prob(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return log p(x | f) in nats of every column."""
        raise NotImplementedError

    def total_log_prob(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return log p(x | f) in nats, summed over columns."""
        return self.log_prob(values, natural).sum(-1)

    def score(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return ``∂ log p(x | f) / ∂f``."""
        raise NotImplementedError

    def information(self, values: Tensor, natural: Tensor, slopes: Tensor) -> Tensor:
        """Return the information of the columns about what f depends on.

        ``A Aᵀ`` with A of `scaled_slopes`: shape (…, n_slopes, n_slopes).
        """
        scaled = self.scaled_slopes(values, natural, slopes).movedim(0, -2)
        return scaled @ scaled.mT

    def scaled_slopes(self, values: Tensor, natural: Tensor, slopes: Tensor) -> Tensor:
        """Return ``A = S I^½`` for slopes S of f, shape (n_slopes, …, n_values).

        I is the negative curvature of the log-likelihood in f, or a positive substitute
        where that may be negative, or far from what it is where f explains the values.
        """
        return slopes * self.curvature(values, natural).sqrt()

    def curvature(self, values: Tensor, natural: Tensor) -> Tensor:
        """Return I of every column, where a column has one natural parameter."""
        raise NotImplementedError

    def statistics(self, natural: Tensor) -> Tensor:
        """Return the means, or the probabilities of all levels."""
        raise NotImplementedError

    def decide(self, statistics: Tensor) -> Tensor:
        """Return one value a column: the mean, or the most probable level."""
        return statistics

    def sample(self, natural: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one value a column."""
        raise NotImplementedError

    def start_at(self, noise: Tensor, values: Tensor, shares: Tensor) -> None:
        """Set the parameters that fit the columns by themselves, where f = 0.

        Parameters
        ----------
        noise : Tensor of shape (n_columns · width,)
            Variance of the columns around a linear model.
        values : Tensor of shape (n_rows, n_columns)
            The columns, NaN where missing.
        shares : Tensor of shape (n_rows,)
            Weights of the rows.
        """
        raise NotImplementedError
