"""Likelihoods of rows: one family for each column, given what a decoder returns."""

from .continuous import VARIANCE_FLOOR
from .layout import CONTINUOUS, COUNTS, EMPTY, FAMILIES, LEVELS, NUMBERS, Layout
from .levels import zero_sum_basis, zero_sum_logits
from .mixed import MixedLikelihood

__all__ = [
    "CONTINUOUS",
    "COUNTS",
    "EMPTY",
    "FAMILIES",
    "LEVELS",
    "NUMBERS",
    "VARIANCE_FLOOR",
    "Layout",
    "MixedLikelihood",
    "zero_sum_basis",
    "zero_sum_logits",
]
