"""Scores of rows as sums: one term a column, and one for the code.

A score pools three opinions of a row (a logarithmic opinion pool: Genest & Zidek,
Statistical Science, 1986): how likely its values are given its code, how likely the
code is, and how far the nearest rows of a sample of the training table are. Without
neighbours it is the approximate log-likelihood of the row.

In the pool the first two count less than in a likelihood. Where a value is more than
n + 2 times less likely than the likeliest one, its term falls by a logarithm only: n
rows do not tell how fast the tail of a column falls beyond that. The term of the code
is multiplied by 1 - k / (d + 1) for k units and d numbers: distances over d directions
are distances of codes in k of them, and what neighbours say of the code need not be
said twice.

The score of a row with gaps is the expected score of the complete row given the
observed values, ``E[log p(x) | x_observed]``. In this file the term of a missing value
is 0, and the term of the code uses the narrower posterior of a complete row.
`GapTerms` then puts expected terms in the place of the missing ones.
"""

from dataclasses import dataclass
from math import inf, log

import torch
from torch import Tensor
from torch.nn import functional

from .._columns import ColumnScaling
from ..vae import (
    LikelihoodTerms,
    VariationalAutoencoder,
    comparable_points,
    laplace_terms,
    neighbour_terms,
)
from ..vae.observed import any_missing


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
        Points of rows of the training table, see `points_and_terms`, among which
        neighbours are found.
    floors : Tensor of shape (n_features,)
        What `column_floors` makes of the same rows.
    n_neighbors : int
        How many neighbours to look for; 0 for none.
    """

    module: VariationalAutoencoder
    scaling: ColumnScaling
    n_seen: int
    sample: Tensor
    floors: Tensor
    n_neighbors: int

    @property
    def weight_of_code(self) -> float:
        """Return what the term of the code counts beside neighbours."""
        return 1 - self.module.architecture.n_components / (self.sample.shape[1] + 1)

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
        terms = laplace_terms(self.module, scaled, self.scaling.largest_shares)
        columns = terms.columns + self.scaling.log_slopes(possible, scaled)
        # The posterior variance of a complete row: gaps must not lower the score.
        latent = terms.latent - terms.due_to_gaps
        if self.n_neighbors:
            distances = self._distances(scaled, terms.coordinates)
            columns = slower_below(self.floors, columns, self.n_seen) - distances
            latent = latent * self.weight_of_code
        if impossible is not None:
            # The probability of the rarer of the two values, but at most that of one
            # that no row had.
            p = terms.expected.clamp(torch.finfo(rows.dtype).tiny, 1)
            rarer = torch.minimum(p, 1 - p).clamp(min=torch.finfo(rows.dtype).tiny)
            unseen = rarer.log().clamp(max=-surprise_of_unseen(self.n_seen))
            columns = torch.where(impossible, unseen, columns)
        return torch.cat([columns, latent[:, None]], dim=1), terms

    def _distances(self, scaled: Tensor, coordinates: Tensor) -> Tensor:
        """Return what each column adds to the distance to the nearest rows."""
        points, columns = comparable_points(self.module.encoder.design, coordinates)
        observed = ~scaled.isnan()[:, columns] if any_missing(scaled) else None
        terms = neighbour_terms(points, self.sample, self.n_neighbors, observed)
        return torch.zeros_like(scaled).index_add_(1, columns, terms)


def points_and_terms(
    module: VariationalAutoencoder, scaling: ColumnScaling, rows: Tensor
) -> Tensor:
    """Return, side by side, where rows lie and how likely their values are.

    Parameters
    ----------
    module, scaling
        As in `RowScorer`.
    rows : Tensor of shape (n_rows, n_features)
        Rows in the units of the table.

    Returns
    -------
    Tensor of shape (n_rows, n_numbers + n_features)
        The points among which a scorer of the same model finds neighbours, then the
        log-likelihood of every value given the code of its row, in nats of standardised
        columns, 0 for missing values.
    """
    scaled = scaling.transform(rows)
    terms = laplace_terms(module, scaled)
    points, _ = comparable_points(module.encoder.design, terms.coordinates)
    values = terms.columns + scaling.log_slopes(rows, scaled)
    return torch.cat([points, values], dim=1)


def surprise_of_unseen(n_seen: int) -> float:
    """Return the nats that a value counts which none of so many rows had.

    ``log(n + 2)``: its probability is 1 / (n + 2), by Laplace's rule of succession.
    """
    return log(n_seen + 2)


def column_floors(terms: Tensor, missing: Tensor, n_seen: int) -> Tensor:
    """Return below which term of a value the rows of the fit tell no more.

    That is `surprise_of_unseen` below the largest term.

    Parameters
    ----------
    terms : Tensor of shape (n_rows, n_features)
        Of the values of rows of the training table, see `points_and_terms`.
    missing : Tensor of shape (n_rows, n_features), bool
        Which of their values are missing.
    n_seen : int
        Rows of the fit.

    Returns
    -------
    Tensor of shape (n_features,)
        Minus infinity for a column without values.
    """
    present = terms.masked_fill(missing, -inf)
    largest = functional.pad(present, (0, 0, 0, 1), value=-inf).amax(0)
    return largest - surprise_of_unseen(n_seen)


def slower_below(floors: Tensor, terms: Tensor, n_seen: int) -> Tensor:
    """Return terms that fall by a logarithm only where they are below a floor.

    With c as `surprise_of_unseen` returns it, a term that is s below the largest one
    becomes ``c (1 + log(s / c))`` below it if s > c: a tail as of a power, not of a
    Gaussian.

    Parameters
    ----------
    floors : Tensor of shape (n_features,)
        What `column_floors` returns.
    terms : Tensor of shape (n_rows, n_features)
        Terms of values.
    n_seen : int
        Rows of the fit.

    Returns
    -------
    Tensor of shape (n_rows, n_features)
    """
    unit = surprise_of_unseen(n_seen)
    # There are few: all others are left as they are.
    where = (terms < floors).nonzero(as_tuple=True)
    least = floors[where[1]]
    below = least - terms[where]
    return terms.index_put(where, least - unit * torch.log1p(below / unit))


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
