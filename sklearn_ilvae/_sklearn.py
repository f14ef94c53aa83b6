"""Every private name of scikit-learn that the package relies on, in one place."""

from sklearn.base import _fit_context as fit_context
from sklearn.utils._array_api import (
    check_same_namespace,
    get_namespace_and_device,
    move_to,
    supported_float_dtypes,
)
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils._repr_html.estimator import _VisualBlock as VisualBlock
from sklearn.utils.validation import _check_sample_weight as check_sample_weight
from sklearn.utils.validation import _is_fitted as is_fitted

__all__ = [
    "Interval",
    "StrOptions",
    "VisualBlock",
    "check_matplotlib_support",
    "check_same_namespace",
    "check_sample_weight",
    "fit_context",
    "get_namespace_and_device",
    "is_fitted",
    "move_to",
    "supported_float_dtypes",
]
