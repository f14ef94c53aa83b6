"""Pictures of fitted models, in scikit-learn's display style.

Every class has ``from_estimator`` or ``from_cv_results``, ``from_predictions`` for
arrays that one has already, and ``plot(ax=None)``, after which ``ax_`` and ``figure_``
are the matplotlib objects. A pipeline that ends in one of our estimators can be passed
in its place: rows go through the steps before it. Displays need matplotlib, which is
imported when they draw.
"""

from .column_summary import ColumnSummaryDisplay
from .contributions import FeatureContributionsDisplay
from .field import ScoreFieldDisplay
from .histogram import ScoreHistogramDisplay
from .latent_map import LatentMapDisplay
from .latent_usage import LatentUsageDisplay
from .missingness import MissingnessDisplay
from .path import ParameterPathDisplay
from .training_curve import TrainingCurveDisplay

__all__ = [
    "ColumnSummaryDisplay",
    "FeatureContributionsDisplay",
    "LatentMapDisplay",
    "LatentUsageDisplay",
    "MissingnessDisplay",
    "ParameterPathDisplay",
    "ScoreFieldDisplay",
    "ScoreHistogramDisplay",
    "TrainingCurveDisplay",
]
