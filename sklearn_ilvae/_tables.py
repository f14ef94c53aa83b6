"""What an autoencoder does with tables: read them, fill them, give them back."""

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ._columns import (
    ColumnScaling,
    LevelGroups,
    TableSchema,
    build_frame,
    decoded_levels,
    from_tensor,
    library_of,
    names_of,
    to_tensor,
)
from ._columns.summary import ColumnSummary
from ._random import draw_seed
from .vae import VariationalAutoencoder, drawn_rows, expected_rows, shared_noise

IMPUTATION_CHUNK = 1 << 21
"""Numbers held at once, for each layer, while values are imputed."""


class TableMixin:
    """Columns of an autoencoder: their kinds, and tables of the fitted form."""

    handle_unknown: str
    n_importance_samples: int
    module_: VariationalAutoencoder
    mean_: Any
    scale_: Any
    likelihood_: list[str]
    _schema: dict[str, Any]
    _levels: Mapping[str, Any]
    _missing: list[float]
    _noise_seed: int
    _checked: Any
    _in_chunks: Any
    _inference_module: Any

    @property
    def column_summary_(self) -> ColumnSummary:
        """What became of every column: dtype, likelihood, levels or scale, gaps."""
        check_is_fitted(self)
        mean, scale = (to_tensor(each).cpu() for each in (self.mean_, self.scale_))
        return ColumnSummary(
            [
                {
                    "column": str(column.name),
                    "dtype": column.dtype,
                    "likelihood": family,
                    "values": _values(column, family, float(mean[j]), float(scale[j])),
                    "missing": f"{100 * self._missing[j]:.3g}%",
                }
                for j, (column, family) in enumerate(
                    zip(self._table_schema().columns, self.likelihood_, strict=True)
                )
            ]
        )

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
            None fills in expected values, and most probable categories: the best
            guess for each value. A number asks for that many tables of random draws,
            which vary as much as the values are uncertain (multiple imputation).
        random_state : int, RandomState instance or None, default=None
            Source of the draws; not used for expected values.

        Returns
        -------
        DataFrame or ndarray, or a list of `n_imputations` of them
            In the form of the table of the fit. Observed values stay as they are; a
            column that was all missing in fit stays missing.

        Notes
        -----
        Importance sampling with `n_importance_samples` draws from the encoder [1]_.
        Expected values of columns of numbers are means on the scale of the network,
        which is logarithmic beyond three standard deviations.

        References
        ----------
        .. [1] Mattei & Frellsen (2019). "MIWAE: deep generative modelling and
           imputation of incomplete data sets." ICML. Section 3.4.
        """
        table = self._checked(X, "impute").double()
        if n_imputations is None:
            return self._user_table(self._filled(table, None), X)
        check_scalar(n_imputations, "n_imputations", Integral, min_val=1)
        generator = torch.Generator().manual_seed(draw_seed(random_state))
        return [
            self._user_table(self._filled(table, generator), X)
            for _ in range(n_imputations)
        ]

    def _filled(self, table: Tensor, generator: torch.Generator | None) -> Tensor:
        missing = table.isnan()
        incomplete = missing.any(1)
        if not incomplete.any():
            return table
        scaling = self._scaling()
        module = self._inference_module(table.dtype)
        if generator is not None:
            module = module.cpu()  # where the generator is
        n_components = module.architecture.n_components
        noise = shared_noise(self.n_importance_samples, n_components, self._noise_seed)

        def impute(rows: Tensor) -> Tensor:
            scaled = scaling.transform(rows)
            if generator is None:
                return expected_rows(module, scaled, noise.to(scaled))
            return drawn_rows(module, scaled, noise, generator)

        sizes = (module.likelihood.layout.n_statistics, module.likelihood.n_parameters)
        widest = max(*sizes, *module.architecture.hidden_layer_sizes)
        chunk = max(1, IMPUTATION_CHUNK // (len(noise) * widest))
        if generator is None:
            rows = self._in_chunks(impute, table[incomplete], chunk)
        else:
            with torch.no_grad():
                parts = table[incomplete].cpu().split(chunk)
                rows = torch.cat([impute(part) for part in parts]).to(table.device)
        found = self._decided(scaling.inverse_transform(rows, generator))
        filled = table.clone()
        filled[incomplete] = torch.where(missing[incomplete], found, table[incomplete])
        return filled

    def _decided(self, table: Tensor) -> Tensor:
        """Round the probabilities of binary columns: what is missing is 0 or 1."""
        binary = torch.tensor(self._scaling().binary, device=table.device)
        return torch.where(binary, (table > 0.5).to(table.dtype), table)

    def _user_table(self, table: Tensor, like: Any) -> Any:
        """Return a table in the form of the one that was fitted."""
        schema = self._table_schema()
        if schema.library == "array":
            if any(column.levels is not None for column in schema.columns):
                return decoded_levels(schema, table.cpu().numpy())
            return table.numpy() if like is None else from_tensor(table, like)
        pandas = schema.library == "pandas" and library_of(like) == "pandas"
        values = self._decided(table).cpu().double().numpy()
        return build_frame(schema, values, like if pandas else None)

    def _scaling(self) -> ColumnScaling:
        return ColumnScaling(
            to_tensor(self.mean_),
            to_tensor(self.scale_),
            tuple(self.likelihood_),
            {
                int(column): LevelGroups(
                    torch.as_tensor(each["group"]), torch.as_tensor(each["log_share"])
                )
                for column, each in self._levels.items()
            },
        )

    def _table_schema(self) -> TableSchema:
        return TableSchema.from_state(self._schema)

    def _column_names(self) -> Any:
        return names_of(self._table_schema()) if hasattr(self, "_schema") else None


def levels_to_arrays(scaling: ColumnScaling) -> Mapping[str, Mapping[str, np.ndarray]]:
    """Return the levels of a scaling as arrays by name."""
    return {
        str(column): {
            "group": each.group.cpu().numpy(),
            "log_share": each.log_share.cpu().numpy(),
        }
        for column, each in scaling.levels.items()
    }


def readable_cells(schema: TableSchema, row: Tensor) -> list[str]:
    """Return the values of a row as text: levels by name, dates as dates."""
    cells = []
    for column, value in zip(schema.columns, row.tolist(), strict=True):
        if np.isnan(value):
            cells.append("missing")
        elif column.levels is not None:
            cells.append(str(column.levels[int(value)]))
        elif column.group == "date":
            cells.append(str(np.datetime64(round(value), "D")))
        else:
            cells.append(f"{value:.4g}")
    return cells


def _values(column: Any, family: str, mean: float, scale: float) -> str:
    if family == "none":
        return "all missing"
    if column.levels is not None:
        first = column.levels[:3].tolist()
        shown = ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in first)
        more = ", …" if len(column.levels) > 3 else ""
        return f"{len(column.levels)} levels: {shown}{more}"
    if family == "bernoulli":
        return f"{100 * mean:.3g}% ones"
    if family in ("poisson", "negative_binomial"):
        return "counts"
    if column.group == "date":
        day = np.datetime64(round(mean), "D")
        return f"{day} ± {scale:.3g} days"
    unit = " days" if column.group == "duration" else ""
    return f"{mean:.4g} ± {scale:.3g}{unit}"
