"""What to fit, and what a fit chose."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


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
        Of the kernel part; None when nothing was cross-validated.
    loss, base_loss : float or None
        Mean cross-validated Hyvärinen loss of the estimate and of the best base
        alone, in coordinates of unit scale.
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
