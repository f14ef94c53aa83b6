"""Checks of arguments that scikit-learn's own leave open."""

import sys
from math import isnan
from numbers import Real
from typing import Any

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
    try:
        number = float(value)
    except OverflowError as error:  # whole numbers and fractions have no largest
        raise ValueError(
            f"{name} must lie within the numbers of float64, which end at "
            f"{sys.float_info.max:.2g}. Pass a smaller one."
        ) from error
    if isnan(number):
        raise ValueError(f"{name} == {value}, must be a number.")
    return number


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
