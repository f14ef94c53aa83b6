"""Which rows a detector trusts, how it scores them, and why it calls them outliers."""

from .conformal import ConformalMixin
from .gaps import column_means, common_gains, filled_contributions, gap_gains
from .reasons import ReasonsMixin
from .reservoir import Reservoir
from .scoring import RowScorer, sample_points
from .threshold import ThresholdMixin
from .trust import (
    comparable_numbers,
    trusted_weights,
)

__all__ = [
    "ConformalMixin",
    "ReasonsMixin",
    "Reservoir",
    "RowScorer",
    "ThresholdMixin",
    "column_means",
    "common_gains",
    "comparable_numbers",
    "filled_contributions",
    "gap_gains",
    "sample_points",
    "trusted_weights",
]
