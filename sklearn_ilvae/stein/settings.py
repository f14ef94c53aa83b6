"""What to fit, and what a fit chose."""

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from .kernels.radial import KERNELS

CHOICES: dict[str, tuple[str | None, ...]] = {
    "kernel": ("auto", *KERNELS),
    "form": ("auto", "diagonal", "curl_free"),
    "base": ("auto", "gaussian", "student_t", "mixture", None),
    "method": ("auto", "tikhonov", "stein", "spectral_cutoff", "nu", "landweber"),
}
"""What settings that are names may be."""


@dataclass(frozen=True)
class Settings:
    """What to fit; ``"auto"`` leaves the choice to the sample.

    Attributes
    ----------
    kernel : {"auto", "rbf", "inverse_multiquadric"}
    form : {"auto", "diagonal", "curl_free"}
    bandwidth : {"auto", "median"}, float or Tensor of shape (d,)
        A number or one per feature is in the units of the sample.
    regularization : "auto" or float
        The strength ``λ``; for the published estimator the ridge ``η``.
    base : {"auto", "gaussian", "student_t", "mixture", None}
        ``"auto"`` compares the three families; it is the Gaussian where all else is
        given.
    method : {"auto", "tikhonov", "stein", "spectral_cutoff", "nu", "landweber"}
        ``"auto"`` compares Tikhonov's filter and the cut-off; it is Tikhonov's
        from 10,000 rows on and where the regularization is given.
    n_averaged : int
        Most estimates to average, of settings that a search cannot tell apart.
    n_landmarks : {"auto", "all"} or int

    Raises
    ------
    ValueError
        For a value that is not among these. Numbers are positive and finite.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae.stein import Settings, fit_score
    >>> settings = Settings(kernel="rbf", bandwidth=1.0, regularization=0.01)
    >>> X = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    >>> model, report = fit_score(X, settings)
    >>> report.kernel
    'rbf'
    """

    kernel: str = "auto"
    form: str = "auto"
    bandwidth: str | float | Tensor = "auto"
    regularization: str | float = "auto"
    base: str | None = "auto"
    method: str = "auto"
    n_averaged: int = 3
    n_landmarks: str | int = "auto"

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise _refused(name, getattr(self, name), f"one of {choices}")
        number = "a positive number"
        if self.bandwidth not in ("auto", "median") and not is_positive(self.bandwidth):
            allowed = f"'auto', 'median', {number} or one for each column"
            raise _refused("bandwidth", self.bandwidth, allowed)
        strength: Any = self.regularization
        one = isinstance(strength, Real) and is_positive(strength)
        if strength != "auto" and not one:
            raise _refused("regularization", strength, f"'auto' or {number}")
        if not is_count(self.n_averaged):
            raise _refused("n_averaged", self.n_averaged, "a whole number from 1 on")
        if self.n_landmarks not in ("auto", "all") and not is_count(self.n_landmarks):
            allowed = "'auto', 'all' or a whole number from 1 on"
            raise _refused("n_landmarks", self.n_landmarks, allowed)


def _refused(name: str, value: Any, allowed: str) -> ValueError:
    return ValueError(f"{name}={value!r} is not allowed; choose {allowed}")


def is_positive(value: Any) -> bool:
    """Tell whether a value is a positive finite number, or a tensor of some in a row.

    For Python, unlike here, a truth value is a number.
    """
    if isinstance(value, bool):
        return False
    if isinstance(value, Real):
        try:
            return 0.0 < float(value) < math.inf
        except OverflowError:  # whole numbers and fractions have no largest
            return False
    if not isinstance(value, Tensor) or value.ndim > 1:
        return False
    return bool(((value > 0) & torch.isfinite(value)).all())


def is_count(value: Any) -> bool:
    """Tell whether a value is a whole number from 1 on."""
    return isinstance(value, Integral) and int(value) >= 1


@dataclass(frozen=True)
class Report:
    """What a fit chose.

    Attributes
    ----------
    kernel, form : str or None
        None when the base score stands alone.
    base : str or None
        Family of the base score.
    bandwidth : Tensor of shape (d,) or None
        Length scale of the kernel for each feature, in the units of the sample.
    regularization : float or None
    method : str or None
        The chosen filter, "stein" for the published estimator.
    n_averaged : int
        How many estimates are averaged; the others here are those of the best.
    degrees_of_freedom : float or None
        Of the kernel part; None without one, where the strength was given and for the
        published estimator.
    loss, base_loss : float or None
        Mean cross-validated Hyvärinen loss of the estimate and of the best base
        alone, in coordinates of unit scale; None where the strength was given and for
        the published estimator.
    shrinkage : float or None
        Shrinkage of the covariance of the base; None without a base.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae.stein import fit_score
    >>> X = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    >>> model, report = fit_score(X)
    >>> report.kernel is None  # the Gaussian stands alone
    True
    """

    kernel: str | None = None
    form: str | None = None
    base: str | None = None
    bandwidth: Tensor | None = None
    regularization: float | None = None
    method: str | None = None
    n_averaged: int = 1
    degrees_of_freedom: float | None = None
    loss: float | None = None
    base_loss: float | None = None
    shrinkage: float | None = None
