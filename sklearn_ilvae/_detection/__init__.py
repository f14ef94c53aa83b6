"""Which rows a detector trusts, how it scores them, and why it calls them outliers."""

from .conformal import ConformalMixin
from .gaps import GapTerms, measure_gaps
from .reasons import ReasonsMixin
from .reservoir import Reservoir
from .scoring import RowScorer, column_floors, points_and_terms
from .threshold import ThresholdMixin
from .trust import comparable_numbers, trusted_weights

__all__ = [
    "ConformalMixin",
    "GapTerms",
    "ReasonsMixin",
    "Reservoir",
    "RowScorer",
    "ThresholdMixin",
    "column_floors",
    "comparable_numbers",
    "measure_gaps",
    "points_and_terms",
    "trusted_weights",
]
