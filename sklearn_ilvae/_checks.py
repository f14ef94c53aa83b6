"""Checks of arguments that scikit-learn's own leave open."""

from numbers import Real
from typing import Any

import numpy as np
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
