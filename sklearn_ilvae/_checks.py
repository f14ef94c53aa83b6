"""Checks of arguments that scikit-learn's own leave open."""

from numbers import Real
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator
from sklearn.utils import check_scalar


def check_number(value: Any, name: str, **limits: Any) -> float:
    """Return a real number within limits; those are of `sklearn.utils.check_scalar`.

    Raises
    ------
    TypeError, ValueError
        For anything else; scikit-learn alone would take NaN for any number.
    """
    check_scalar(value, name, Real, **limits)
    if np.isnan(value):
        raise ValueError(f"{name} == {value}, must be a number.")
    return float(value)


def check_parameters(estimator: BaseEstimator) -> None:
    """Check parameters in `partial_fit`, unless the user's settings leave that out.

    Scikit-learn does it at the first call alone. The settings are still the user's only
    where no nested validation is skipped.

    Raises
    ------
    InvalidParameterError
        As in `fit`.
    """
    if not get_config()["skip_parameter_validation"]:
        estimator._validate_params()
