"""Measures: what codes say about rows, and how far samples are from a density."""

from .collapse import (
    active_units,
    average_fisher_lower_bound,
    fisher_divergence_lower_bound,
    fisher_divergence_per_unit,
    kl_per_unit,
    mutual_information,
    relative_fisher_divergence,
)
from .divergences import (
    fisher_divergence_from_density,
    fisher_divergence_from_sample,
    kernel_stein_discrepancy,
)

__all__ = [
    "active_units",
    "average_fisher_lower_bound",
    "fisher_divergence_from_density",
    "fisher_divergence_from_sample",
    "fisher_divergence_lower_bound",
    "fisher_divergence_per_unit",
    "kernel_stein_discrepancy",
    "kl_per_unit",
    "mutual_information",
    "relative_fisher_divergence",
]
