"""Scores of rows as sums: one term a column, and one for the code.

A score is the approximate log-likelihood of a row minus its mean squared distance to
the nearest rows of a sample of the training table.

The score of a row with gaps is the expected score of the complete row given the
observed values, ``E[log p(x) | x_observed]``. In this file the term of a missing value
is 0, and the term of the code uses the narrower posterior of a complete row.
`GapTerms` then puts expected terms in the place of the missing ones.
"""

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from .._columns import ColumnScaling
from ..vae import (
    LikelihoodTerms,
    VariationalAutoencoder,
    comparable_points,
    laplace_terms,
    neighbour_terms,
)
from ..vae.likelihoods.heads import any_missing


@dataclass(frozen=True)
class RowScorer:
    """What scores rows of a table.

    Parameters
    ----------
    module : VariationalAutoencoder
        The trained model.
    scaling : ColumnScaling
        From the table to the rows of the model.
    n_seen : int
        Rows of the fit.
    sample : Tensor of shape (n_sample, n_numbers)
        What `sample_points` makes of rows of the training table, among which neighbours
        are found.
    n_neighbors : int
        How many neighbours to look for; 0 for none.
    """

    module: VariationalAutoencoder
    scaling: ColumnScaling
    n_seen: int
    sample: Tensor
    n_neighbors: int

    def scores(self, rows: Tensor) -> Tensor:
        """Return the scores of rows, in the units of the table: shape (n_rows,)."""
        return self.contributions(rows).sum(1)

    def contributions(self, rows: Tensor) -> Tensor:
        """Return the terms of every score.

        Parameters
        ----------
        rows : Tensor of shape (n_rows, n_features)
            Rows in the units of the table.

        Returns
        -------
        Tensor of shape (n_rows, n_features + 1)
            In nats of standardised columns, the term of the code last.
        """
        return self._contributions_and_terms(rows)[0]

    def contributions_and_expected(self, rows: Tensor) -> Tensor:
        """Return the terms of every score and, beside them, the row that was expected.

        Parameters
        ----------
        rows : Tensor of shape (n_rows, n_features)
            Rows in the units of the table.

        Returns
        -------
        Tensor of shape (n_rows, 2 * n_features + 1)
            Expected values in the units of the table.
        """
        contributions, terms = self._contributions_and_terms(rows)
        expected = self.scaling.inverse_transform(terms.expected)
        return torch.cat([contributions, expected], dim=1)

    def _contributions_and_terms(self, rows: Tensor) -> tuple[Tensor, LikelihoodTerms]:
        possible, impossible = _possible_values(self.scaling, rows)
        scaled = self.scaling.transform(possible)
        terms = laplace_terms(self.module, scaled)
        columns = terms.columns + self.scaling.log_slopes(possible, scaled)
        if self.n_neighbors:
            columns = columns - self._distances(scaled, terms.coordinates)
        # The posterior variance of a complete row: gaps must not lower the score.
        latent = terms.latent - terms.due_to_gaps
        if impossible is not None:
            # The probability of the rarer of the two values, but at most 1 / (n + 2):
            # Laplace's rule of succession for a value that none of n rows had.
            p = terms.expected.clamp(torch.finfo(rows.dtype).tiny, 1)
            rarer = torch.minimum(p, 1 - p).clamp(min=torch.finfo(rows.dtype).tiny)
            unseen = rarer.log().clamp(max=-log(self.n_seen + 2))
            columns = torch.where(impossible, unseen, columns)
        return torch.cat([columns, latent[:, None]], dim=1), terms

    def _distances(self, scaled: Tensor, coordinates: Tensor) -> Tensor:
        """Return what each column adds to the distance to the nearest rows."""
        points, columns = comparable_points(self.module.encoder.design, coordinates)
        observed = ~scaled.isnan()[:, columns] if any_missing(scaled) else None
        terms = neighbour_terms(points, self.sample, self.n_neighbors, observed)
        return torch.zeros_like(scaled).index_add_(1, columns, terms)


def sample_points(
    module: VariationalAutoencoder, scaling: ColumnScaling, rows: Tensor
) -> Tensor:
    """Return the points among which a scorer of the same model finds neighbours.

    Parameters
    ----------
    module, scaling
        As in `RowScorer`.
    rows : Tensor of shape (n_rows, n_features)
        Rows in the units of the table.

    Returns
    -------
    Tensor of shape (n_rows, n_numbers)
    """
    coordinates, _ = module.encoder.completed(scaling.transform(rows))
    return comparable_points(module.encoder.design, coordinates)[0]


def _possible_values(
    scaling: ColumnScaling, rows: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Return rows with 0 for impossible values of binary columns, and where they are.

    A fit takes a column as binary because of the values it holds. A new row may hold
    another value. A detector must score such a row, not refuse it.
    """
    binary = [column for column, found in enumerate(scaling.binary) if found]
    values = rows[:, binary]
    others = (values != 0) & (values != 1) & ~values.isnan()
    if not others.any():
        return rows, None
    impossible = torch.zeros_like(rows, dtype=torch.bool)
    impossible[:, binary] = others
    return rows.masked_fill(impossible, 0), impossible
