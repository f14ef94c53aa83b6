"""Whether a training can go on with a fitted network and its columns."""

from collections.abc import Sequence
from typing import Any

from .._columns import DATES, ColumnScaling, TableSchema, asked_kinds
from ..vae import Architecture
from ..vae.likelihoods import CONTINUOUS, EMPTY, LEVELS
from .setup import layer_widths


def check_same_network(
    architecture: Architecture,
    *,
    n_mixture_components: int,
    hidden_layer_sizes: int | Sequence[int],
    **others: int | float | str,
) -> None:
    """Raise where parameters ask for another network than the one to continue with.

    Parameters
    ----------
    architecture : Architecture
        Of the fitted network.
    n_mixture_components, hidden_layer_sizes, others
        As in `start_model`; ``"auto"`` goes with any network.

    Raises
    ------
    ValueError
        With the parameter, its value and that of the network.
    """
    asked = {"hidden_layer_sizes": layer_widths(hidden_layer_sizes), **others}
    for name, value in asked.items():
        _check_unchanged(name, value, getattr(architecture, name))
    fitted = architecture.n_mixture_components
    _check_unchanged("prior", _prior(n_mixture_components), _prior(fitted))
    _check_unchanged("n_mixture_components", n_mixture_components, fitted)


def _prior(n_mixture_components: int) -> str:
    return "mixture" if n_mixture_components else "standard_normal"


def check_same_columns(
    schema: TableSchema, scaling: ColumnScaling, estimator: Any
) -> None:
    """Raise where parameters ask for other kinds of columns than those of the fit.

    Parameters
    ----------
    schema : TableSchema
        The fitted columns.
    scaling : ColumnScaling
        Their kinds, the levels that the network tells apart, and power transforms.
    estimator : BaseEstimator
        With `likelihood`, `categorical_features`, `max_categories` and
        `power_transform`.

    Raises
    ------
    ValueError
        With the column, what is asked for and what was fitted.
    """
    transformed = scaling.powers is not None
    _check_unchanged("power_transform", bool(estimator.power_transform), transformed)
    n_features = len(schema.columns)
    asked, chosen, by_name = asked_kinds(estimator, n_features, schema.names)
    for index, (column, n_levels, fitted) in enumerate(
        zip(schema.columns, schema.n_levels, scaling.likelihood, strict=True)
    ):
        parameter, kind = f"likelihood of column {column.name!r}", asked[index]
        if fitted in LEVELS:
            if kind not in LEVELS and column.group != "text" and not chosen[index]:
                kind = "numbers" if kind == "auto" else kind
            elif kind not in LEVELS or n_levels == 1:
                kind = fitted
            _check_unchanged(parameter, kind, fitted)
        elif fitted != EMPTY:
            if column.group in DATES and not by_name and kind not in CONTINUOUS:
                kind = fitted  # one likelihood for all is not for dates
            _check_unchanged(
                parameter, "categorical" if chosen[index] else kind, fitted
            )
        if fitted == "categorical":
            _check_unchanged(
                f"max_categories for column {column.name!r}",
                min(n_levels, estimator.max_categories),
                scaling.levels[index].n_groups,
            )


def _check_unchanged(name: str, asked: object, fitted: object) -> None:
    if asked not in ("auto", fitted):
        raise ValueError(
            f"The fitted network has {name}={fitted}, and cannot go on as one with "
            f"{asked}. Set the parameter back, or fit anew with warm_start=False."
        )
