"""Values that a likelihood gives no probability."""

from collections.abc import Sequence

from torch import Tensor

from ..vae.likelihoods import COUNTS
from .kinds import column_name


def check_support(
    table: Tensor, likelihood: Sequence[str], names: Sequence[str] | None
) -> None:
    """Raise an error that names the first column with impossible values.

    Parameters
    ----------
    table : Tensor of shape (n_rows, n_features)
        Values in the units of the table.
    likelihood : sequence of str
        Family of every column.
    names : sequence of str or None
        Names of the columns, for the error.

    Raises
    ------
    ValueError
        When a Bernoulli column holds anything but 0 and 1, or a column of counts
        anything but whole numbers of at least 0.
    """
    check_binary(table, likelihood, names)
    check_counts(table, likelihood, names)


def check_counts(
    table: Tensor, likelihood: Sequence[str], names: Sequence[str] | None
) -> None:
    """Raise an error that names the first column of counts with other values.

    The parameters are those of `check_support`.
    """
    for column, kind in enumerate(likelihood):
        if kind in COUNTS:
            values = table[:, column]
            others = values[(values < 0) | (values.frac() != 0) & ~values.isnan()]
            if len(others):
                raise ValueError(
                    f"{column_name(column, names)} has likelihood {kind!r} but holds "
                    f"{float(others[0])}; only whole numbers from 0 on are possible. "
                    "Correct such values, make them missing, or refit with likelihood "
                    "'gaussian' for it."
                )


def check_binary(
    table: Tensor, likelihood: Sequence[str], names: Sequence[str] | None
) -> None:
    """Raise an error that names the first Bernoulli column with other values.

    The parameters are those of `check_support`.
    """
    for column, kind in enumerate(likelihood):
        if kind != "bernoulli":
            continue
        values = table[:, column]
        others = values[(values != 0) & (values != 1) & ~values.isnan()]
        if len(others):
            raise ValueError(
                f"{column_name(column, names)} has a Bernoulli likelihood but holds "
                f"{float(others[0])}; only 0 and 1 are possible. Correct such values, "
                "make them missing, or refit with likelihood 'gaussian' for it."
            )
