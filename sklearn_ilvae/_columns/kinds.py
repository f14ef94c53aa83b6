"""The likelihood of every column: what the user asks for, and what its dtype says."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._text import counted
from ..vae.likelihoods import CONTINUOUS, FAMILIES, LEVELS

FROM_DTYPE = "from_dtype"

NUMBER = "number"
"""What a column is told to be that holds numbers whatever its values: dates."""

MOST_ORDERED_LEVELS = 256


def column_name(index: int, names: Sequence[Any] | None) -> str:
    """Return what to call a column in an error."""
    return f"Column {index}" if names is None else f"Column {names[index]!r}"


def numbered_names(n_features: int) -> list[str]:
    """Return ``x0``, ``x1``… for columns without names, as scikit-learn does."""
    return [f"x{index}" for index in range(n_features)]


def fitted_names(estimator: Any) -> list[Any]:
    """Return the names of columns seen in fit, or `numbered_names`.

    Names of a data frame need not be text, which scikit-learn alone keeps.
    """
    named = getattr(estimator, "_column_names", None)
    names = named() if named else getattr(estimator, "feature_names_in_", None)
    if names is None:
        return numbered_names(estimator.n_features_in_)
    return list(names)


class AskedKinds(NamedTuple):
    """What a user asks of every column.

    Parameters
    ----------
    likelihood : list of str
        The likelihood, or ``"auto"``.
    categorical : list of bool
        Whether its numbers are categories.
    by_name : bool
        Whether each likelihood is for its column. One for all columns applies only to
        columns of numbers.
    """

    likelihood: list[str]
    categorical: list[bool]
    by_name: bool


def asked_kinds(
    estimator: Any, n_features: int, names: Sequence[Any] | None
) -> AskedKinds:
    """Return what `likelihood` and `categorical_features` of an estimator ask for.

    Parameters
    ----------
    estimator : BaseEstimator
        With both parameters.
    n_features : int
        Number of columns.
    names : sequence or None
        Names of the columns.

    Raises
    ------
    ValueError
        For an unknown likelihood or column, or a list or mask of another length.
    """
    likelihood, categorical = estimator.likelihood, estimator.categorical_features
    return AskedKinds(
        _asked_likelihood(likelihood, n_features, names),
        _categorical_columns(categorical, n_features, names),
        by_name=not isinstance(likelihood, str),
    )


def _asked_likelihood(
    likelihood: Any, n_features: int, names: Sequence[Any] | None
) -> list[str]:
    """Return what one for all, some by name or number, or one a column ask for."""
    if isinstance(likelihood, str):
        asked = [likelihood] * n_features
    elif isinstance(likelihood, Mapping):
        asked = ["auto"] * n_features
        for key, kind in likelihood.items():
            asked[_position(key, n_features, names, "likelihood")] = str(kind)
    else:
        asked = [str(kind) for kind in likelihood]
    if len(asked) != n_features:
        raise ValueError(
            f"likelihood={likelihood!r} names {counted(len(asked), 'column')}, but X "
            f"has {n_features}. Name one for every column, pass a dict of some "
            "columns, or pass 'auto'."
        )
    for index, kind in enumerate(asked):
        if kind not in ("auto", *FAMILIES):
            name = index if names is None else names[index]
            raise ValueError(
                f"likelihood={likelihood!r} has {kind!r} for column {name!r}; it must "
                f"be one of {', '.join(map(repr, ('auto', *FAMILIES)))}."
            )
    return asked


def _categorical_columns(
    categorical_features: Any, n_features: int, names: Sequence[Any] | None
) -> list[bool]:
    """Return which columns a mask, numbers or names stand for, as in scikit-learn."""
    mask = [False] * n_features
    if categorical_features is None or (
        isinstance(categorical_features, str) and categorical_features == FROM_DTYPE
    ):
        return mask
    if isinstance(categorical_features, str):
        raise ValueError(
            f"categorical_features={categorical_features!r} must be 'from_dtype', None "
            f"or an array of names, numbers or truth values, for example "
            f"[{categorical_features!r}]."
        )
    chosen = list(categorical_features)
    if chosen and all(isinstance(each, bool | np.bool_) for each in chosen):
        if len(chosen) != n_features:
            raise ValueError(
                f"categorical_features has {counted(len(chosen), 'truth value')}, but "
                f"X has {counted(n_features, 'column')}. Give one for every column, or "
                "names."
            )
        return [bool(each) for each in chosen]
    for key in chosen:
        mask[_position(key, n_features, names, "categorical_features")] = True
    return mask


def _position(
    key: Any, n_features: int, names: Sequence[Any] | None, parameter: str
) -> int:
    if names is not None and key in list(names):
        return list(names).index(key)
    if isinstance(key, int | np.integer) and -n_features <= key < n_features:
        return int(key) % n_features
    known = list(range(n_features)) if names is None else list(names)
    raise ValueError(
        f"{parameter} names column {key!r}, which X does not have. Its columns are "
        f"{', '.join(map(repr, known[:20]))}{', …' if n_features > 20 else ''}."
    )


def family_of_dates(name: Any, asked: str, *, by_name: bool) -> str:
    """Return a family of numbers for a column of dates or durations.

    It is `NUMBER` unless the user asks for ``"gaussian"`` or ``"student_t"``. The
    parameters are as in `family_of_levels`.

    Raises
    ------
    ValueError
        For any other likelihood: a date is a point in time, in any unit, and no count.
    """
    if asked in CONTINUOUS:
        return asked
    if asked != "auto" and by_name:
        raise ValueError(
            f"likelihood has {asked!r} for column {name!r}, which holds dates or "
            "durations; it must be 'auto', 'gaussian' or 'student_t'. Convert the "
            "column first: to numbers for counts, to text for categories."
        )
    return NUMBER


def family_of_levels(
    name: Any, asked: str, n_levels: int, *, ordered: bool, by_name: bool
) -> str:
    """Return ``"categorical"`` or ``"ordinal"`` for a column of levels.

    Parameters
    ----------
    name : str or int
        Name of the column.
    asked : str
        What the user asks for.
    n_levels : int
        Number of levels.
    ordered : bool
        Whether the dtype orders them.
    by_name : bool
        See `AskedKinds`.

    Raises
    ------
    ValueError
        For a likelihood of numbers, or too many ordered levels.
    """
    if asked not in ("auto", *LEVELS):
        if by_name:
            raise ValueError(
                f"likelihood has {asked!r} for column {name!r}, which holds "
                "categories; it must be 'auto', 'categorical' or 'ordinal'. Convert "
                "the column to numbers first, if that is what it holds."
            )
        asked = "auto"
    if asked == "ordinal" or (asked == "auto" and ordered):
        if n_levels > MOST_ORDERED_LEVELS:
            raise ValueError(
                f"Column {name!r} has {n_levels} ordered levels; at most "
                f"{MOST_ORDERED_LEVELS} are possible. Use likelihood 'gaussian' or "
                "'negative_binomial' for it, or 'categorical'."
            )
        return "ordinal" if n_levels > 1 else "categorical"
    return "categorical"
