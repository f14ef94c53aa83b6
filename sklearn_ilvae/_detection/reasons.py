"""Reasons for a score, as tables: frames like the input's, and text for one row."""

from collections.abc import Sequence
from importlib import import_module
from numbers import Integral
from typing import Any

import narwhals as nw
import numpy as np
import torch
from sklearn import get_config
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from .._columns import (
    TableSchema,
    as_frame,
    decoded_levels,
    fitted_names,
    from_tensor,
    library_of,
    restored_row,
    to_tensor,
)
from .._columns.readable import readable_cells
from .._columns.summary import shortened
from .._tables import TableMixin


def frame_like(values: Tensor, names: Sequence[Any], X: Any) -> Any:
    """Return values in the container that a user expects.

    Parameters
    ----------
    values : Tensor of shape (n_samples, n_columns)
        What to return.
    names : sequence
        Names of the columns, text or what pandas takes for a name.
    X : DataFrame or array-like
        The input, whose library, index and namespace the result takes, unless
        ``sklearn.set_config(transform_output=...)`` asks for another library.

    Returns
    -------
    DataFrame or array of shape (n_samples, n_columns)
    """
    X, asked = as_frame(X), get_config()["transform_output"]
    library = library_of(X) if asked == "default" else asked
    if library is None:
        return from_tensor(values, X)
    array = values.cpu().numpy()
    frames = import_module(library)
    if library == "pyarrow":
        return frames.table(list(array.T), names=[str(name) for name in names])
    if library == "polars":
        names = [str(name) for name in names]
        return frames.DataFrame(array, schema=names, orient="row")
    index = X.index if hasattr(X, "iloc") else None
    return frames.DataFrame(array, columns=list(names), index=index)


def with_latent(names: Sequence[Any]) -> list[Any]:
    """Return the names of columns and code, all different."""
    latent = "latent"
    while latent in names:
        latent += "_"
    return [*names, latent]


def one_row(row: Any, schema: TableSchema) -> Any:
    """Return a row of one dimension as a table of one row, with names and dtypes."""
    # NumPy would ask a table of pyarrow for one dtype of all its columns.
    if library_of(row) is not None or np.ndim(row) != 1:
        return row
    if nw.dependencies.is_pandas_series(row):
        return restored_row(schema, row)
    if nw.dependencies.is_into_series(row):  # a column, whatever it holds
        return row
    return row[None] if hasattr(row, "shape") else [row]


def reasons_table(
    names: Sequence[str],
    values: Sequence[str],
    expected: Sequence[str],
    surprise: Sequence[float],
    latent: float,
    n_features: int,
) -> str:
    """Return the columns that lower the score of a row most, as text.

    Parameters
    ----------
    names : sequence of str
        Names of the columns.
    values, expected : sequence of str
        What the row holds and what the model expected.
    surprise : sequence of float
        By how many nats each column lowers the score below that of a typical row.
    latent : float
        The same for the code.
    n_features : int
        Columns to show; one more, where it would be the only other one.

    Returns
    -------
    str
        One line a column, a line for the other columns together and one for the code.
    """
    order = np.argsort(surprise)[::-1]
    # A rest of one column may as well have its name.
    n_shown = n_features if len(order) > n_features + 1 else len(order)
    shown, rest = order[:n_shown], order[n_shown:]
    lines = [("column", "value", "expected", "surprise")]
    lines += [
        (shortened(str(names[i])), values[i], expected[i], f"{surprise[i]:+.1f}")
        for i in shown
    ]
    if len(rest):
        others = sum(surprise[i] for i in rest)
        lines.append((f"{len(rest)} other columns", "", "", f"{others:+.1f}"))
    lines.append(("code (combination of columns)", "", "", f"{latent:+.1f}"))
    lines.append(("total", "", "", f"{sum(surprise) + latent:+.1f}"))
    first = max(len(line[0]) for line in lines)
    widths = [max(len(line[i]) for line in lines) for i in (1, 2, 3)]
    return "\n".join(
        line[0].ljust(first)
        + "".join(
            "  " + cell.rjust(width)
            for cell, width in zip(line[1:], widths, strict=True)
        )
        for line in lines
    )


class ReasonsMixin:
    """Reasons for a detector whose scores are sums."""

    offset_: float
    transformer_: TableMixin
    typical_contributions_: Any

    def _checked(self, X: Any, method: str) -> Tensor:
        raise NotImplementedError

    def _split(self, table: Tensor) -> tuple[Tensor, Tensor]:
        """Return the terms of every score, and the expected row."""
        raise NotImplementedError

    def feature_contributions(self, X: Any, return_expected: bool = False) -> Any:
        """Split the score of every row exactly into its columns and its code.

        The term of a column is the log-likelihood of its value given the code, which
        falls slowly far out, minus the part of the column in the distance to the
        nearest training rows: see the notes of the class. It is low where the value
        does not agree with the rest of the row, or with similar rows. The last term,
        ``"latent"``, is low where the combination of the columns is unusual. The terms
        of a row add up to its score.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows, those of the training or new ones.
        return_expected : bool, default=False
            Whether to return the values that the model expected as well.

        Returns
        -------
        contributions : DataFrame or ndarray of shape (n_samples, n_features + 1)
            In nats, float64; compare with `typical_contributions_`. A frame for a
            frame, or as ``sklearn.set_config(transform_output=...)`` says.
        expected : DataFrame or ndarray of shape (n_samples, n_features)
            Values in the units of the table. Only if `return_expected` is true.

        Raises
        ------
        TypeError, ValueError
            As `score_samples`.
        """
        terms, expected = self._split(self._checked(X, "feature_contributions"))
        names = fitted_names(self)
        contributions = frame_like(terms, with_latent(names), X)
        if not return_expected:
            return contributions
        return contributions, self._expected_table(expected, X)

    def explain(self, row: Any, n_features: int = 5) -> None:
        """Print why a row scores as it does: the columns that lower its score most.

        The surprise of a column is the mean of its term over the trusted rows, minus
        its term in this row, in nats. The surprises of all columns and of the code add
        up to the difference between the mean score of the trusted rows and the score of
        this row.

        Parameters
        ----------
        row : array-like of shape (n_features,) or (1, n_features)
            One row; of a frame, ``X.loc[7]`` or ``X.iloc[[7]]``.
        n_features : int, default=5
            Columns to show, the others together; a single other one has its name.

        Raises
        ------
        TypeError, ValueError
            As `score_samples`, for several rows, and for a number of columns to show
            that is no integer from 1 on.

        Examples
        --------
        >>> from sklearn.datasets import load_wine
        >>> from sklearn_ilvae import ILVAEOutlierDetector
        >>> X = load_wine(as_frame=True).data
        >>> detector = ILVAEOutlierDetector(max_iter=50, random_state=0).fit(X)
        >>> detector.explain(X.loc[0], n_features=2)
        score ...
        """
        check_is_fitted(self)
        check_scalar(n_features, "n_features", Integral, min_val=1)
        schema = self.transformer_._table_schema()
        table = self._checked(one_row(row, schema), "explain")
        if len(table) != 1:
            raise ValueError(
                f"explain takes one row, got {len(table)}. Use feature_contributions "
                "for several."
            )
        terms, expected = self._split(table)
        score = float(terms.sum())
        verdict = "outlier" if score < self.offset_ else "no outlier"
        print(f"score {score:.1f}, threshold {self.offset_:.1f}: {verdict}")
        surprise = to_tensor(self.typical_contributions_).cpu() - terms[0].cpu()
        print(
            reasons_table(
                fitted_names(self),
                self._cells(table[0]),
                self._cells(expected[0]),
                surprise[:-1].tolist(),
                float(surprise[-1]),
                n_features,
            )
        )

    def _expected_table(self, expected: Tensor, X: Any) -> Any:
        schema = self.transformer_._table_schema()
        if schema.numbers_only:
            values = torch.from_numpy(decoded_levels(schema, expected.cpu().numpy()))
            return frame_like(values, fitted_names(self), X)
        return self.transformer_._user_table(expected, X)

    def _cells(self, row: Tensor) -> list[str]:
        """Return the values of a row as their users know them."""
        inner = self.transformer_
        return readable_cells(inner._table_schema(), inner._scaling(), row)
