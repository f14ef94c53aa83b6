"""Scores of rows as sums: one term a column, and one for the code.

A row with gaps scores what it would on average, were they filled in by the model:
``E[log p(x) | x_observed]``. The term of the code is that of a posterior as narrow as
without gaps; that of a missing value is left at 0, see `filled_contributions`.
"""

from math import log

import torch
from torch import Tensor

from ._columns import ColumnScaling
from .vae import LikelihoodTerms, VariationalAutoencoder, laplace_terms


def row_scores(
    module: VariationalAutoencoder, scaling: ColumnScaling, n_seen: int, rows: Tensor
) -> Tensor:
    """Return the approximate log-likelihood of rows: the sums of their terms.

    Parameters
    ----------
    module : VariationalAutoencoder
        The trained model.
    scaling : ColumnScaling
        From the table to the rows of the model.
    n_seen : int
        Rows of the fit.
    rows : Tensor of shape (n_rows, n_features)
        Rows in the units of the table.

    Returns
    -------
    Tensor of shape (n_rows,)
    """
    return row_contributions(module, scaling, n_seen, rows).sum(1)


def row_contributions(
    module: VariationalAutoencoder, scaling: ColumnScaling, n_seen: int, rows: Tensor
) -> Tensor:
    """Return the terms of every score; the parameters are those of `row_scores`.

    Returns
    -------
    Tensor of shape (n_rows, n_features + 1)
        In nats of standardised columns, the term of the code last.
    """
    return _contributions_and_terms(module, scaling, n_seen, rows)[0]


def contributions_and_expected(
    module: VariationalAutoencoder, scaling: ColumnScaling, n_seen: int, rows: Tensor
) -> Tensor:
    """Return the terms of every score and, beside them, the row that was expected.

    The parameters are those of `row_scores`.

    Returns
    -------
    Tensor of shape (n_rows, 2 * n_features + 1)
        Expected values in the units of the table.
    """
    contributions, terms = _contributions_and_terms(module, scaling, n_seen, rows)
    return torch.cat([contributions, scaling.inverse_transform(terms.expected)], dim=1)


def _contributions_and_terms(
    module: VariationalAutoencoder, scaling: ColumnScaling, n_seen: int, rows: Tensor
) -> tuple[Tensor, LikelihoodTerms]:
    possible, impossible = _possible_values(scaling, rows)
    scaled = scaling.transform(possible)
    terms = laplace_terms(module, scaled)
    columns = terms.columns + scaling.log_slopes(possible, scaled)
    # log q at its mean, of a posterior as narrow as if nothing were missing.
    latent = terms.latent - terms.doubt
    if impossible is not None:
        # As likely as the rarer of the two values, and at most as Laplace's rule of
        # succession has it for what n rows never held.
        p = terms.expected.clamp(torch.finfo(rows.dtype).tiny, 1)
        rarer = torch.minimum(p, 1 - p).clamp(min=torch.finfo(rows.dtype).tiny)
        unseen = rarer.log().clamp(max=-log(n_seen + 2))
        columns = torch.where(impossible, unseen, columns)
    return torch.cat([columns, latent[:, None]], dim=1), terms


def _possible_values(
    scaling: ColumnScaling, rows: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Return rows that columns of zeros and ones can hold, and where they do not.

    A fit takes a column for one of zeros and ones by its values; what a new row holds
    may refute it, and such a row is what a detector is for.
    """
    if not any(scaling.binary):
        return rows, None
    binary = torch.tensor(scaling.binary, device=rows.device)
    impossible = binary & (rows != 0) & (rows != 1) & ~rows.isnan()
    if not impossible.any():
        return rows, None
    return rows.masked_fill(impossible, 0), impossible
