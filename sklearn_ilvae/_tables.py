"""What an autoencoder does with tables: read them, fill them, give them back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from ._columns import (
    ColumnScaling,
    LevelGroups,
    PowerScale,
    TableSchema,
    as_fine,
    as_frame,
    build_frame,
    check_binary,
    check_counts,
    decoded_levels,
    find_scaling,
    from_tensor,
    in_range,
    keep_observed,
    library_of,
    read_known_table,
    read_new_table,
    rows_of_weight,
    seen_in,
    to_tensor,
)
from ._columns.readable import summary_of_columns
from ._columns.summary import ColumnSummary
from ._device import in_chunks_on, inference_device
from ._random import draw_seed
from ._sklearn import check_same_namespace
from .vae import VariationalAutoencoder, drawn_rows, expected_rows, shared_noise
from .vae.likelihoods import COUNTS, EMPTY
from .vae.networks import converted
from .vae.posterior import codes_at_once

LAYER_CHUNK = 1 << 18
"""Numbers of a layer held at once: few enough to stay in the processor's cache."""

SHARING_ROWS, SHARING_CHUNK = 16, 1 << 22
"""Rows to take at once although they leave the cache, and how many numbers at most."""


def rows_at_once(module: VariationalAutoencoder, n_draws: int, width: int) -> int:
    """Return how many rows to take at once, with layers of a width for each draw."""
    n_numbers = width * codes_at_once(n_draws, module.architecture.n_components)
    # Some rows share what a decoder does once a call, also where layers are wide.
    few = min(SHARING_ROWS, SHARING_CHUNK // n_numbers)
    return max(1, few, LAYER_CHUNK // n_numbers)


def with_columns(chosen: Sequence[bool], new: Tensor, table: Tensor) -> Tensor:
    """Return a table with the chosen columns of a new one."""
    return torch.where(torch.tensor(chosen, device=table.device), new, table)


@dataclass(frozen=True)
class TrainingTable:
    """A user's table as `fit` reads it: its rows of positive weight.

    An estimator that has read a table passes it on to the one inside it in this form.

    Parameters
    ----------
    rows : Tensor of shape (n_rows, n_features)
        Numbers and positions of levels, NaN where missing.
    weights : Tensor of shape (n_rows,), float64
        Positive weights.
    schema : TableSchema
        Names, dtypes and levels of the columns.
    likelihood : sequence of str
        Family of every column, or what `read_new_table` says of it before its values
        decide.
    source : DataFrame or array-like
        The table as it came.
    """

    rows: Tensor
    weights: Tensor
    schema: TableSchema
    likelihood: Sequence[str]
    source: Any

    def scaling(
        self,
        max_categories: int,
        family_of_numbers: str,
        power_transform: bool = False,
    ) -> ColumnScaling:
        """Find kind, centre and spread of every column, see `find_scaling`."""
        return find_scaling(
            self.rows,
            self.weights,
            self.likelihood,
            self.schema.names,
            self.schema.n_levels,
            max_categories,
            family_of_numbers,
            power_transform,
        )

    def reweighted(self, weights: Tensor, likelihood: Sequence[str]) -> "TrainingTable":
        """Return the rows that have a positive weight among others, of known kinds.

        Parameters
        ----------
        weights : Tensor of shape (n_rows,)
            Non-negative weights.
        likelihood : sequence of str
            Family of every column; one that was all missing may yet have values.
        """
        kept = weights > 0
        kinds = ["auto" if kind == EMPTY else kind for kind in likelihood]
        return replace(
            self, rows=self.rows[kept], weights=weights[kept], likelihood=kinds
        )


def read_training_table(
    estimator: Any,
    X: Any,
    sample_weight: Any,
    method: str,
    fitted: "TableMixin | None",
) -> TrainingTable:
    """Read the table of a fit and set, or check, number and names of its columns.

    Parameters
    ----------
    estimator : BaseEstimator
        Whose parameters say what the columns are.
    X : DataFrame or array-like of shape (n_samples, n_features), or TrainingTable
        The table.
    sample_weight : array-like of shape (n_samples,) or None
        Non-negative weights.
    method : {"fit", "partial_fit"}
        Whose table it is. A batch to train a fitted autoencoder on may be one row.
    fitted : TableMixin or None
        The autoencoder to train on, whose columns the table must have, and whose
        namespace; None for a new one.

    Returns
    -------
    TrainingTable

    Raises
    ------
    ValueError, TypeError
        For a table that cannot be fitted.
    """
    if isinstance(X, TrainingTable):
        new = fitted is None
        validate_data(estimator, X.source, reset=new, skip_check_array=True)
        return X
    X = as_frame(X)
    if fitted is None:
        return TrainingTable(*read_new_table(estimator, X, sample_weight), X)
    check_same_namespace(X, fitted, attribute="mean_", method=method)
    schema, families = fitted._table_schema(), fitted.likelihood_
    unknown, min_samples = estimator.handle_unknown, 1 if method == "partial_fit" else 2
    table = read_known_table(estimator, X, schema, unknown, min_samples, sample_weight)
    rows, weights = rows_of_weight(table, X, sample_weight, min_samples)
    return TrainingTable(rows, weights, schema, families, X)


class TableMixin:
    """Columns of an autoencoder: their kinds, and tables of the fitted form."""

    device: str
    handle_unknown: str
    n_importance_samples: int
    module_: VariationalAutoencoder
    mean_: Any
    scale_: Any
    likelihood_: list[str]
    _schema: dict[str, Any]
    _levels: Mapping[str, Any]
    _missing: list[float]
    _powers: Any
    _seen: Any
    _noise_seed: int

    @property
    def lambdas_(self) -> Any:
        """λ of the power transform of every column, 1 where there is none."""
        check_is_fitted(self)
        return from_tensor(self._scaling().lambdas, self.mean_)

    @property
    def column_summary_(self) -> ColumnSummary:
        """What became of every column: dtype, likelihood, levels or scale, gaps."""
        check_is_fitted(self)
        schema, scaling = self._table_schema(), self._scaling()
        return summary_of_columns(schema, scaling, self._missing)

    def impute(
        self,
        X: Any,
        n_imputations: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> Any:
        """Fill in missing values, given the observed values of the same row.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows with missing values.
        n_imputations : int, default=None
            None fills in expected values, of counts to the nearest whole number, and
            most probable categories: the best guess for each value. A number asks for
            that many tables of random draws, which vary as much as the values are
            uncertain (multiple imputation).
        random_state : int, RandomState instance or None, default=None
            Source of the draws; not used for expected values.

        Returns
        -------
        DataFrame or ndarray, or a list of `n_imputations` of them
            In the form of the table of the fit; arrays in the floating dtype of X.
            Observed values stay exactly as they are, as long as their dtype is that
            of the fit; an unknown category counts as missing where `handle_unknown`
            says so; a column that was all missing in fit stays missing.

        Raises
        ------
        TypeError, ValueError
            As `transform`, and for a number of imputations below 1.

        Notes
        -----
        Importance sampling [1]_ with `n_importance_samples` draws: four fifths from a
        Gaussian fitted to the posterior of each row, the others from the prior.
        Expected values of columns of numbers are means on the scale of the network,
        which is logarithmic beyond three standard deviations. Numbers and ordered
        levels stay within the range of those of the fit, and draws have no more
        decimals than they do.

        References
        ----------
        .. [1] Mattei & Frellsen (2019). "MIWAE: deep generative modelling and
           imputation of incomplete data sets." ICML. Section 3.4.
        """
        table = self._checked(X, "impute")
        if n_imputations is None:
            return self._filled_table(table, None, X)
        check_scalar(n_imputations, "n_imputations", Integral, min_val=1)
        generator = torch.Generator().manual_seed(draw_seed(random_state))
        return [self._filled_table(table, generator, X) for _ in range(n_imputations)]

    def _checked(self, X: Any, method: str) -> Tensor:
        """Return a table of the fitted columns as a tensor, or raise."""
        check_is_fitted(self)
        check_same_namespace(X, self, attribute="mean_", method=method)
        schema = self._table_schema()
        table = read_known_table(self, X, schema, self.handle_unknown)
        check_counts(table, self.likelihood_, schema.names)
        return table

    def _checked_exactly(self, X: Any, method: str) -> Tensor:
        """Return a table in float64, or raise, too, where a row has no probability.

        Unlike the encoder's, its posterior does not exist.
        """
        table = self._checked(X, method).double()
        check_binary(table, self.likelihood_, self._column_names())
        return table

    def _filled_table(
        self, table: Tensor, generator: torch.Generator | None, X: Any
    ) -> Any:
        filled = self._filled(table.double(), generator)
        schema = self._table_schema()
        if schema.library == "array":
            return self._user_table(filled.to(table), X)
        observed = ~table.isnan().cpu().numpy()
        return keep_observed(schema, self._in_form(filled, X), X, observed)

    def _filled(self, table: Tensor, generator: torch.Generator | None) -> Tensor:
        missing = table.isnan()
        incomplete = missing.any(1)
        filled = table.clone()  # the table may be the user's own
        if not incomplete.any():
            return filled
        scaling = self._scaling()
        device = inference_device(self.device, table.dtype)
        if generator is not None:
            device = generator.device
        module = converted(self.module_, device, table.dtype)
        noise = self._importance_noise()

        def impute(rows: Tensor) -> Tensor:
            scaled = scaling.transform(rows)
            if generator is None:
                return expected_rows(
                    module, scaled, noise.to(scaled), scaling.largest_shares
                )
            return drawn_rows(module, scaled, noise, generator)

        widest = max(module.likelihood.layout.n_statistics, module.widest_layer)
        chunk = rows_at_once(module, len(noise), widest)
        rows = in_chunks_on(device, impute, table[incomplete], chunk)
        limited = self._in_range if generator is None else self._as_seen
        found = limited(scaling.inverse_transform(rows, generator))
        found = self._whole(self._decided(found))
        filled[incomplete] = torch.where(missing[incomplete], found, table[incomplete])
        return filled

    def _in_range(self, table: Tensor) -> Tensor:
        """Return values no further out than those of the fit.

        Far out the scale of the network is exponential, and so are its errors and the
        draws of heavy tails. Categories have no order: beside the levels that rows held
        lie others of their dtype, all of which would become the last of them.
        """
        ordered = [kind != "categorical" for kind in self.likelihood_]
        limited = in_range(table, to_tensor(self._seen))
        return with_columns(ordered, limited, table)

    def _as_seen(self, table: Tensor) -> Tensor:
        """Return draws in the range and of the fineness of the values of the fit."""
        return self._in_range(as_fine(table, to_tensor(self._seen)))

    def _importance_noise(self) -> Tensor:
        """Return the draws of `n_importance_samples`, which may be set after a fit."""
        draws = self.n_importance_samples
        check_scalar(draws, "n_importance_samples", Integral, min_val=1)
        n_components = self.module_.architecture.n_components
        return shared_noise(draws, n_components, self._noise_seed)

    def _decided(self, table: Tensor) -> Tensor:
        """Round the probabilities of binary columns: what is missing is 0 or 1."""
        return with_columns(self._scaling().binary, (table > 0.5).to(table), table)

    def _whole(self, table: Tensor) -> Tensor:
        """Round expected counts: what is missing is a whole number, in any dtype."""
        counts = [kind in COUNTS for kind in self.likelihood_]
        return with_columns(counts, table.round(), table)

    def _user_table(self, table: Tensor, like: Any) -> Any:
        """Return expected rows as a table in the form of the one that was fitted."""
        if self._table_schema().library != "array":
            table = self._decided(table)
        return self._in_form(table, like)

    def _in_form(self, table: Tensor, like: Any) -> Any:
        """Return values as they are, as far as the dtypes of the fit hold them."""
        schema = self._table_schema()
        if schema.library == "array":
            values = decoded_levels(schema, table.cpu().numpy())
            if like is None or values.dtype == object:  # which NumPy alone holds
                return values
            return from_tensor(torch.from_numpy(values), like)
        like = as_frame(like)
        pandas = schema.library == "pandas" and library_of(like) == "pandas"
        return build_frame(schema, table.cpu().numpy(), like if pandas else None)

    def _keep_columns(self, table: TrainingTable, scaling: ColumnScaling) -> None:
        """Keep what `_scaling`, `_table_schema` and `_as_seen` read, and the gaps."""
        source = table.source
        shares = (table.weights / table.weights.sum()).to(table.rows)
        self._missing = (shares @ table.rows.isnan().to(table.rows)).tolist()
        self._keep_seen(table)
        self._schema = table.schema.to_state()
        self._levels = {str(j): each.to_state() for j, each in scaling.levels.items()}
        self.mean_ = from_tensor(scaling.mean, source)
        self.scale_ = from_tensor(scaling.scale, source)
        self._powers = None
        if scaling.powers is not None:
            self._powers = from_tensor(scaling.powers.to_state(), source)
        self.likelihood_ = list(scaling.likelihood)

    def _keep_seen(self, table: TrainingTable, before: Tensor | None = None) -> None:
        """Keep what draws shall look like, after a training before, if any."""
        seen = seen_in(table.rows, table.schema, before)
        self._seen = from_tensor(seen, table.source)

    def _scaling(self) -> ColumnScaling:
        return ColumnScaling(
            to_tensor(self.mean_),
            to_tensor(self.scale_),
            tuple(self.likelihood_),
            {int(j): LevelGroups.from_state(each) for j, each in self._levels.items()},
            None if self._powers is None else PowerScale(*to_tensor(self._powers)),
        )

    def _table_schema(self) -> TableSchema:
        return TableSchema.from_state(self._schema)

    def _column_names(self) -> list[Any] | None:
        return self._table_schema().names
