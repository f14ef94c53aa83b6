"""How far a sample is from a density, or from another sample, by their scores.

All functions take arrays, compute in float64 and return Python floats. Draws are a
fixed function of `random_state` where that is an integer, as it is by default: two
calls agree.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import stein
from .._columns import checked_numbers, names_in
from .._device import torch_defaults
from .._random import draw_seed
from .._text import counted
from ..stein.divergences import EvaluatedScore
from ..stein.functional import width_of
from ..stein.kernels.radial import make_kernel

MEDIAN_ROWS = 1000
"""Rows from which a median distance is taken."""


@torch_defaults()
def fisher_divergence_from_density(
    X: Any,
    score: Callable[[Tensor], Tensor],
    *,
    method: str = "cross_fitted",
    n_folds: int = 5,
    settings: stein.Settings | None = None,
    random_state: int | np.random.RandomState | None = 0,
) -> float:
    """Relative Fisher divergence of the distribution of a sample from a density.

    ``E_q ‖∇ log q(x) − ∇ log p(x)‖²`` for the distribution q of the rows and a density
    p that need not be normalised. The score of q is estimated by
    `sklearn_ilvae.stein.fit_score`, whose error would add to the divergence: rows are
    therefore held out, and partial integration, as in score matching [1]_, subtracts
    the error instead.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Sample of q.
    score : callable
        ``∇ log p``: maps a float64 tensor of shape (n, n_features) to one of the same
        shape, row by row, by operations that torch differentiates.
    method : {"cross_fitted", "plug_in"}, default="cross_fitted"
        ``"cross_fitted"`` is a lower bound in expectation and may be negative near
        zero; ``"plug_in"`` is never negative, and biased upwards.
    n_folds : int, default=5
        Folds of the cross-fit, from 2 to the number of distinct rows: equal rows are in
        one fold.
    settings : sklearn_ilvae.stein.Settings, default=None
        How to estimate the score; by default everything is chosen from the sample.
    random_state : int, RandomState instance or None, default=0
        Source of folds and estimates.

    Returns
    -------
    float
        In the reciprocal squared units of X.

    Raises
    ------
    TypeError, ValueError
        For a constant column, an unknown method, a number of folds that does not fit
        the rows, settings that are none, or a score that is no function, not finite, of
        another shape than the rows or one that torch cannot differentiate.

    See Also
    --------
    fisher_divergence_from_sample : For a sample in place of the density.
    kernel_stein_discrepancy : Needs no estimate of the score of the sample.

    References
    ----------
    .. [1] Hyvärinen (2005). "Estimation of non-normalized statistical models by score
       matching." JMLR 6. Theorem 1.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ilvae.metrics import fisher_divergence_from_density
    >>> X = np.random.default_rng(0).normal(loc=1.0, size=(300, 2))
    >>> divergence = fisher_divergence_from_density(X, lambda x: -x)
    >>> abs(divergence - 2.0) < 0.5
    True
    """
    rows = _rows(X, "X")
    if not callable(score):
        raise TypeError(
            f"score is of type {type(score).__name__}; pass a function from rows to "
            "their scores. If there are only values, use kernel_stein_discrepancy."
        )
    _check_densities(_constant(rows), "of X and of the score")
    _values(
        score,
        rows,
        "If there is only a sample of the density, use fisher_divergence_from_sample.",
    )
    reference = stein.DensityScore(score)
    seed = draw_seed(random_state)
    return _fisher_divergence(rows, reference, method, n_folds, settings, seed)


@torch_defaults()
def fisher_divergence_from_sample(
    X: Any,
    Y: Any,
    *,
    method: str = "cross_fitted",
    n_folds: int = 5,
    settings: stein.Settings | None = None,
    random_state: int | np.random.RandomState | None = 0,
) -> float:
    """Relative Fisher divergence between the distributions of two samples.

    ``E_q ‖∇ log q(x) − ∇ log p(x)‖²`` as in `fisher_divergence_from_density`, with the
    score of p estimated from a sample too. The error of that estimate adds to the
    divergence, most where rows of X lie far from all rows of Y.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Sample of q.
    Y : array-like of shape (n_other_samples, n_features)
        Sample of p, independent of X.
    method, n_folds, settings, random_state
        As in `fisher_divergence_from_density`.

    Returns
    -------
    float
        In the reciprocal squared units of X, so that columns of small spread weigh
        most: where units differ, scale both samples by the same numbers first. It is
        not symmetric.

    Raises
    ------
    ValueError
        As `fisher_divergence_from_density`, and for samples of different columns. A
        column may be constant in both samples, at the same value.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ilvae.metrics import fisher_divergence_from_sample
    >>> rng = np.random.default_rng(0)
    >>> X, Y = rng.normal(size=(300, 2)), rng.normal(size=(300, 2))
    >>> near = fisher_divergence_from_sample(X, Y)
    >>> near < 0.5 < fisher_divergence_from_sample(X, Y + 1.0)
    True
    """
    rows, others = _rows(X, "X"), _rows(Y, "Y")
    if rows.shape[1] != others.shape[1]:
        raise ValueError(
            f"X has {counted(rows.shape[1], 'column')} but Y has {others.shape[1]}; "
            "both samples must have the same"
        )
    names, other_names = names_in(X), names_in(Y)
    if names and other_names and names != other_names:
        raise ValueError(
            f"X has the columns {names} but Y has {other_names}; both samples must "
            "have the same, in the same order"
        )
    # One that is the same in both has a score of 0 in both.
    apart = ~_constant(torch.cat([rows, others]))
    _check_densities((_constant(rows) | _constant(others)) & apart, "of both samples")
    seed = draw_seed(random_state)
    reference, _ = stein.fit_score(others, settings, seed=seed)
    return _fisher_divergence(rows, reference, method, n_folds, settings, seed)


@torch_defaults()
def kernel_stein_discrepancy(
    X: Any,
    score: Any,
    *,
    kernel: str = "inverse_multiquadric",
    bandwidth: str | float = "median",
    statistic: str = "U",
) -> float:
    """Squared kernel Stein discrepancy of a sample from a density.

    The mean over pairs of rows of
    ``s(x)ᵀs(y) k + s(x)ᵀ∇ᵧk + s(y)ᵀ∇ₓk + tr ∇ₓ∇ᵧk``, with s the score of the density
    [1]_. It takes of the order of ``n_samples²`` operations.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The sample.
    score : array-like of shape (n_samples, n_features) or callable
        ``∇ log p`` of the density at the rows; p need not be normalised. A function
        maps a float64 tensor of rows to one of the same shape.
    kernel : {"inverse_multiquadric", "rbf"}, default="inverse_multiquadric"
        Kernel, as in `SteinScoreEstimator`. The inverse multiquadric sees samples that
        drift to infinity, which the Gaussian kernel does not [2]_.
    bandwidth : "median" or float, default="median"
        Length scale of the kernel in the units of X; ``"median"`` is the median
        distance between rows, of at most 1000 evenly spaced in the sample.
    statistic : {"U", "V"}, default="U"
        ``"U"`` leaves out the pairs of a row with itself: unbiased, it may be negative.
        ``"V"`` takes all pairs: never negative, biased upwards.

    Returns
    -------
    float
        In the reciprocal squared units of X.

    Raises
    ------
    ValueError
        For an unknown kernel, bandwidth or statistic, for a bandwidth that is not
        positive, or for scores that are not finite, or of another shape than the rows.

    References
    ----------
    .. [1] Liu, Lee & Jordan (2016). "A kernelized Stein discrepancy for goodness-of-fit
       tests." ICML. Theorem 3.6 and equation 14.
    .. [2] Gorham & Mackey (2017). "Measuring sample quality with kernels." ICML.
       Theorems 6 and 8.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ilvae.metrics import kernel_stein_discrepancy
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> right, wrong = -X, 0.5 - X
    >>> kernel_stein_discrepancy(X, right) < 0.05 < kernel_stein_discrepancy(X, wrong)
    True
    """
    rows = _rows(X, "X")
    scores = (
        _values(score, rows, "Or pass the array of its values at the rows of X.")
        if callable(score)
        else _rows(score, "score", finite=False)
    )
    if scores.shape != rows.shape:
        raise ValueError(
            f"score has shape {tuple(scores.shape)} but X has {tuple(rows.shape)}; "
            "pass the score at every row"
        )
    _check_finite(scores, "score is")
    names, score_names = names_in(X), names_in(score)
    # Scores may have names of their own.
    if names != score_names and set(names) == set(score_names):
        raise ValueError(
            f"X has the columns {names} but score has {score_names}; both must have "
            "the same, in the same order"
        )
    some = rows[:: -(-len(rows) // MEDIAN_ROWS)]
    function = make_kernel(kernel, width_of(bandwidth, some))
    return float(
        stein.kernel_stein_discrepancy(rows, scores, function, statistic=statistic)
    )


def _rows(X: Any, name: str, finite: bool = True) -> Tensor:
    return checked_numbers(X, name, min_samples=2, finite=finite).cpu().double()


def _constant(rows: Tensor) -> Tensor:
    """Return which columns are constant."""
    return (rows == rows[0]).all(0)


def _check_densities(constant: Tensor, how: str) -> None:
    """Refuse columns in which a distribution is a point beside another that is not."""
    if constant.any():
        raise ValueError(
            f"column {int(torch.nonzero(constant)[0])} is constant, so that its values "
            f"have no density and the divergence is infinite; leave it out {how}"
        )


def _values(score: Callable[[Tensor], Tensor], rows: Tensor, otherwise: str) -> Tensor:
    """Return the finite values of a score, or an error that says what else to do."""
    found = score(rows.clone())
    if not torch.is_tensor(found) or found.shape != rows.shape:
        shape = tuple(found.shape) if torch.is_tensor(found) else type(found).__name__
        raise ValueError(
            f"score returned {shape} for rows of shape {tuple(rows.shape)}; it must "
            f"return a tensor of their shape. {otherwise}"
        )
    _check_finite(found, "score returned")
    return found.detach()


def _check_finite(scores: Tensor, what: str) -> None:
    bad = ~scores.isfinite()
    if bad.any():
        row, column = torch.nonzero(bad)[0].tolist()
        raise ValueError(
            f"{what} {float(scores[row, column])} in column {column} for row {row} of "
            "X; it must be finite, so drop the rows outside the support of the density"
        )


def _fisher_divergence(
    rows: Tensor,
    reference: EvaluatedScore,
    method: str,
    n_folds: int,
    settings: stein.Settings | None,
    seed: int,
) -> float:
    def fit(part: Tensor) -> EvaluatedScore:
        return stein.fit_score(part, settings, seed=seed)[0]

    if method == "plug_in":
        return float(stein.fisher_divergence_plug_in(rows, fit(rows), reference))
    if method != "cross_fitted":
        raise ValueError(
            f"method={method!r} is unknown; choose 'cross_fitted' or 'plug_in'"
        )
    generator = torch.Generator().manual_seed(seed)
    return float(
        stein.fisher_divergence_cross_fitted(
            rows, fit, reference, n_folds=n_folds, generator=generator
        )
    )
