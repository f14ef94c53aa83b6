"""What a notebook shows of an estimator: links to our pages, and a line on the fit."""

from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata
from itertools import takewhile
from math import isnan
from typing import Any

import torch
from torch import Tensor

from ._columns.summary import ColumnSummary
from ._sklearn import VisualBlock, is_fitted
from ._text import counted
from .vae import VariationalAutoencoder, diagnostics
from .vae.axes import draw_rows

SITE: str | None = None
"""Where our documentation lies; None asks the metadata of the installed package."""

SUMMARY_ROWS, SUMMARY_NODES = 128, 8
"""Training rows, and nodes of the quadrature, by which units are measured.

Few: it happens in every fit, and tells the living from the dead, not a nat from two.
"""

MOST_COLUMNS = 50
"""Columns of a table that a notebook shows."""

NAMES_OF_BASES = {
    "gaussian": "Gaussian base",
    "student_t": "Student t base",
    "mixture": "mixture of Gaussians as base",
    None: "no base",
}


@cache
def published_site() -> str:
    """Return the address given in the metadata as "Documentation", or nothing."""
    try:
        entries = metadata("sklearn-ilvae").get_all("Project-URL") or []
    except PackageNotFoundError:
        return ""
    addresses = dict(entry.split(", ", 1) for entry in entries)
    return addresses.get("Documentation", "").rstrip("/")


class DiagramMixin:
    """scikit-learn's diagram, with our links and a summary of the fit as caption."""

    _doc_link_module = "sklearn_ilvae"

    @property
    def _doc_link_template(self) -> str:
        site = published_site() if SITE is None else SITE
        page = "/api/generated/{estimator_module}.{estimator_name}.html"
        return site + page if site else ""

    def _sk_visual_block_(self) -> Any:
        return VisualBlock(
            "single",
            self,
            names=type(self).__name__,
            name_details=str(self),
            name_caption=self._fit_summary() if is_fitted(self) else None,
        )

    def _fit_summary(self) -> str:
        """Return one line on the fit, from values that are at hand."""
        raise NotImplementedError

    def _get_fitted_attr_html(self, doc_link: str = "") -> Any:
        """Return scikit-learn's table of fitted values, and the columns behind it."""
        values = super()._get_fitted_attr_html(doc_link)  # type: ignore[misc]
        columns = getattr(self, "column_summary_", None)
        return values if columns is None else FittedTables(values, columns)


@dataclass(frozen=True)
class FittedTables:
    """What scikit-learn's diagram unfolds: fitted values, then the columns.

    Parameters
    ----------
    values : object
        What scikit-learn shows by itself.
    columns : ColumnSummary
        What became of the columns of the table.
    """

    values: Any
    columns: ColumnSummary

    def __len__(self) -> int:
        """Return how many entries there are; scikit-learn shows none of 0."""
        return len(self.values) + len(self.columns)

    def _repr_html_inner(self) -> str:
        shown = ColumnSummary(self.columns[:MOST_COLUMNS])
        hidden = len(self.columns) - len(shown)
        more = f"<p>{hidden} more in column_summary_</p>" if hidden else ""
        return (
            f"{self.values._repr_html_inner()}"
            '<div class="estimator-table"><details>'
            f"<summary>{counted(len(self.columns), 'column')} of the table</summary>"
            f"{shown._repr_html_()}{more}</details></div>"
        )


@torch.no_grad()
def divergences_of_units(module: VariationalAutoencoder, rows: Tensor) -> list[float]:
    """Return the divergence from the prior of every unit, over some training rows.

    Parameters
    ----------
    module : VariationalAutoencoder
        The trained model.
    rows : Tensor of shape (n_rows, n_features)
        Standardised training rows in any order, on the device of the module.

    Returns
    -------
    list of float, of length n_components
        In nats. Not an array: those of an estimator share the namespace of its table.
    """
    few = rows[draw_rows(len(rows), SUMMARY_ROWS)]
    mean, log_variance = module.encoder(few)
    divergences = diagnostics.kl_per_unit(
        mean, log_variance, module.prior, SUMMARY_NODES
    )
    return divergences.mean(0).tolist()


def summary_of_autoencoder(estimator: Any) -> str:
    """Say how many units live, what is certified, and where training ended."""
    divergences = estimator._unit_divergences
    if divergences is None:  # after partial_fit, which a measurement would slow down
        units = counted(estimator.n_components_, "unit")
    else:
        alive = sum(each >= diagnostics.ALIVE for each in divergences)
        units = f"{alive} of {counted(len(divergences), 'unit')} alive"
    summary = (
        f"{units} · certified L {estimator.inverse_lipschitz_:.3g} · "
        f"{counted(estimator.n_iter_, 'epoch')}"
    )
    # Epochs of partial_fit, which validates nothing, leave another network.
    epochs = reversed(estimator.validation_scores_)
    validated = list(takewhile(lambda score: not isnan(score), epochs))
    if validated:
        rows, bound = "validation", max(validated)
    elif estimator.loss_curve_:
        rows, bound = "training", -estimator.loss_curve_[-1]
    else:  # interrupted in the first epoch
        return summary
    return f"{summary} · bound {bound:.2f} nats a {rows} row"


def summary_of_detector(estimator: Any) -> str:
    """Say how many training rows are called outliers, and how training went."""
    scores = estimator.training_scores_
    outliers = int((scores < estimator.offset_).sum())
    return (
        f"{outliers} of {counted(len(scores), 'training row')} below the threshold "
        f"{estimator.offset_:.2f} · {summary_of_autoencoder(estimator.transformer_)}"
    )


def summary_of_score(estimator: Any) -> str:
    """Say which base and form were chosen, and what the loss is."""
    base = NAMES_OF_BASES[estimator.base_]
    if estimator.kernel_ is None:
        chosen = f"{base} alone"
    else:
        chosen = (
            f"{base}, {estimator.kernel_} kernel, {estimator.form_} form, "
            f"{counted(estimator.n_landmarks_, 'landmark')}"
        )
    if estimator.n_averaged_ > 1:
        chosen = f"mean of {estimator.n_averaged_}, the best: {chosen}"
    if estimator.loss_ is None:
        return chosen
    return (
        f"{chosen} · held-out Hyvärinen loss {estimator.loss_:.3g}, "
        f"of the base alone {estimator.base_loss_:.3g}"
    )
