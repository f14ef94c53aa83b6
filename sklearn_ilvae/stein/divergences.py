"""Divergences between samples and densities, from their scores."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from .kernels.radial import Kernel, squared_distances, unit_of_length
from .sample.reading import numbered, row_keys
from .settings import is_count

CHUNK_ROWS = 1024
"""Rows whose pairs with all others are computed at once."""

FAR_BANDWIDTHS = 1e3
FAR_BANDWIDTHS_IN_SINGLE_PRECISION = 10.0
"""Farther from the origin, in bandwidths, distances are computed by differences.

A product of matrices rounds squared distances at those from the origin, here by 1e-10
of a squared bandwidth, in single precision by 1e-5. Differences do not, but are slow.
"""

EXACT = "donot_use_mm_for_euclid_dist"
"""The mode of `torch.cdist` that takes differences."""

VectorField = Callable[[Tensor], Tensor]


class EvaluatedScore(Protocol):
    """A score with its divergence, such as a `ScoreModel`."""

    def evaluate(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """Return the score (n, d) and its divergence (n,)."""


class DensityScore:
    """The score of a known density, its divergence by automatic differentiation.

    Parameters
    ----------
    function : callable
        Maps points of shape (n, d) to ``∇ log p`` of the same shape, row by row, and
        can be differentiated by torch.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae import stein
    >>> X = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)).double()
    >>> score, divergence = stein.DensityScore(lambda x: -x).evaluate(X)
    >>> divergence[0]
    tensor(-2., dtype=torch.float64)
    """

    def __init__(self, function: VectorField) -> None:
        self.function = function

    def evaluate(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """Return the score and its divergence.

        Parameters
        ----------
        X : Tensor of shape (n, d)

        Returns
        -------
        score : Tensor of shape (n, d)
        divergence : Tensor of shape (n,)

        Raises
        ------
        ValueError
            For a score that varies, but not by operations that torch differentiates.
        """
        # Also where the user's own code does without gradients.
        with torch.inference_mode(False), torch.enable_grad():
            points = X.detach().clone().requires_grad_()
            # A copy, which the function may write to.
            score = self.function(points.clone())
            if not score.requires_grad and (score != score[:1]).any():
                raise ValueError(
                    "the score varies from row to row but torch cannot differentiate "
                    "it: detach() or NumPy cut it off from the rows. Compute it by "
                    "operations of torch alone, or estimate it from a sample of the "
                    "density, as fisher_divergence_from_sample does"
                )
            divergence = torch.zeros_like(points[:, 0])
            for column in range(X.shape[1] if score.requires_grad else 0):
                (row,) = torch.autograd.grad(
                    score[:, column].sum(), points, retain_graph=True
                )
                divergence = divergence + row[:, column]
        return score.detach(), divergence.detach()


def fisher_divergence_plug_in(
    X: Tensor, estimate: EvaluatedScore, reference: EvaluatedScore
) -> Tensor:
    """Return ``E_q‖ŝ − s_p‖²``, the relative Fisher divergence with ``ŝ`` plugged in.

    Never negative. The error of ``ŝ`` adds to it: it is biased upwards near zero.

    Parameters
    ----------
    X : Tensor of shape (n, d)
        Sample of q.
    estimate : EvaluatedScore
        The score of q.
    reference : EvaluatedScore
        The score of p: of a density (`DensityScore`) or estimated from a sample.

    Returns
    -------
    divergence : Tensor of shape ()

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae import stein
    >>> X = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)).double()
    >>> truth, shifted = (stein.DensityScore(lambda x, m=m: m - x) for m in (0.0, 1.0))
    >>> stein.fisher_divergence_plug_in(X, truth, shifted)
    tensor(2., dtype=torch.float64)
    """
    difference = _evaluated(estimate, X)[0] - _evaluated(reference, X)[0]
    return difference.square().sum(1).mean()


def fisher_divergence_held_out(
    X: Tensor, estimate: EvaluatedScore, reference: EvaluatedScore
) -> Tensor:
    """Return a lower bound in expectation of the relative Fisher divergence.

    With ``r = ŝ − s_p`` and rows that ``ŝ`` has not seen, partial integration gives
    ``−E_q[‖r‖² + 2 ∇·r + 2 r·s_p] = E_q‖s_q − s_p‖² − E_q‖ŝ − s_q‖²``: the error of
    ``ŝ`` is subtracted instead of added. It may be negative near zero.

    Parameters
    ----------
    X : Tensor of shape (n, d)
        Rows of q that took no part in `estimate`.
    estimate : EvaluatedScore
        The score of q.
    reference : EvaluatedScore
        The score of p.

    Returns
    -------
    divergence : Tensor of shape ()

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae import stein
    >>> X = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)).double()
    >>> truth, shifted = (stein.DensityScore(lambda x, m=m: m - x) for m in (0.0, 1.0))
    >>> abs(stein.fisher_divergence_held_out(X, truth, shifted) - 2) < 0.5
    tensor(True)
    """
    return _held_out(_evaluated(estimate, X), _evaluated(reference, X))


def _held_out(
    estimate: tuple[Tensor, Tensor], reference: tuple[Tensor, Tensor]
) -> Tensor:
    """Return the lower bound from two scores with their divergences at the rows."""
    score, divergence = estimate
    target, target_divergence = reference
    rest = score - target
    inner = (rest * (rest + 2.0 * target)).sum(1)
    return -(inner + 2.0 * (divergence - target_divergence)).mean()


def fisher_divergence_cross_fitted(
    X: Tensor,
    fit: Callable[[Tensor], EvaluatedScore],
    reference: EvaluatedScore,
    *,
    n_folds: int = 5,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the mean of `fisher_divergence_held_out` over folds.

    Equal rows are in one fold: a score must not have seen the rows that judge it. Which
    fold that is depends on the order of the rows, not on their values: folds are the
    same in other units.

    Parameters
    ----------
    X : Tensor of shape (n, d)
        Sample of q.
    fit : callable
        Estimates the score from rows, such as ``lambda X: fit_score(X)[0]``.
    reference : EvaluatedScore
        The score of p.
    n_folds : int, default=5
        Number of folds, at least 2 and at most the number of distinct rows.
    generator : torch.Generator, default=None
        Draws the folds, on the CPU.

    Returns
    -------
    divergence : Tensor of shape ()

    Raises
    ------
    ValueError
        For a number of folds that does not fit the rows.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae import stein
    >>> X = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)).double()
    >>> divergence = stein.fisher_divergence_cross_fitted(
    ...     X,
    ...     lambda rows: stein.fit_score(rows)[0],
    ...     stein.DensityScore(lambda x: 1.0 - x),
    ...     generator=torch.Generator().manual_seed(0),
    ... )
    >>> abs(divergence - 2) < 0.7
    tensor(True)
    """
    distinct, which = numbered(row_keys(X, X.device))
    if not is_count(n_folds) or not 2 <= n_folds <= len(distinct):
        raise ValueError(
            f"n_folds={n_folds!r} is not allowed; choose a whole number from 2 to the "
            f"number of distinct rows, {len(distinct)}"
        )
    # At all rows together: one alone does not tell whether a score varies.
    target, divergence = _evaluated(reference, X)
    source = "cpu" if generator is None else generator.device
    order = torch.randperm(len(distinct), generator=generator, device=source)
    folds = order.to(X.device)[which] % n_folds
    total = torch.zeros((), dtype=torch.float64, device=X.device)
    for fold in range(n_folds):
        inside = folds == fold
        held_out = X[inside]
        value = _held_out(
            _evaluated(fit(X[~inside]), held_out), (target[inside], divergence[inside])
        )
        total = total + value * len(held_out) / len(X)
    return total


def _evaluated(score: EvaluatedScore, X: Tensor) -> tuple[Tensor, Tensor]:
    """Return a score and its divergence on the device of the rows.

    An estimated score returns both on its own.
    """
    values, divergence = score.evaluate(X)
    return values.to(X.device), divergence.to(X.device)


def kernel_stein_discrepancy(
    X: Tensor, scores: Tensor, kernel: Kernel, *, statistic: str = "U"
) -> Tensor:
    """Return the squared kernel Stein discrepancy of a sample from a density.

    The mean of ``u(x, y) = s(x)ᵀs(y) k + s(x)ᵀ∇ᵧk + s(y)ᵀ∇ₓk + tr ∇ₓ∇ᵧk`` over pairs of
    rows (Liu, Lee & Jordan 2016, theorem 3.6 and equation 14).

    Parameters
    ----------
    X : Tensor of shape (n, d)
        The sample.
    scores : Tensor of shape (n, d)
        ``s = ∇ log p`` of the density at the rows.
    kernel : RBF or InverseMultiquadric
    statistic : {"U", "V"}, default="U"
        ``"U"`` leaves out the pairs of a row with itself: unbiased, it may be negative.
        ``"V"`` takes all pairs: never negative, biased upwards.

    Returns
    -------
    discrepancy : Tensor of shape ()

    Raises
    ------
    ValueError
        For an unknown statistic, fewer than two rows for ``"U"``, scores of another
        shape than the rows, and for a bandwidth or scores for which the discrepancy is
        no number.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae import stein
    >>> X = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)).double()
    >>> kernel = stein.InverseMultiquadric(1.0)
    >>> right = stein.kernel_stein_discrepancy(X, -X, kernel)
    >>> wrong = stein.kernel_stein_discrepancy(X, 1.0 - X, kernel)
    >>> abs(right) < 0.1 < wrong
    tensor(True)
    """
    if X.ndim != 2 or scores.shape != X.shape:
        raise ValueError(
            f"X has shape {tuple(X.shape)} and scores {tuple(scores.shape)}; pass rows "
            "of shape (n, d) and a score at each"
        )
    n, d = X.shape
    if statistic not in ("U", "V"):
        raise ValueError(f"statistic={statistic!r} is unknown; choose 'U' or 'V'")
    if statistic == "U" and n < 2:
        raise ValueError("X has 1 row; statistic='U' needs at least 2")
    # The fourth power of a bandwidth vanishes or overflows long before the discrepancy
    # does.
    bandwidth = kernel.bandwidth
    unit = unit_of_length(bandwidth)
    kernel = kernel.with_bandwidth(bandwidth / unit)
    scores = scores.to(X) * unit
    # Differences do not change with the origin, and are exact near it.
    X = (X - X.mean(0)) / unit
    own = (scores * X).sum(1)
    farthest = torch.linalg.vector_norm(X, dim=1).max()
    double = X.dtype == torch.float64
    far = FAR_BANDWIDTHS if double else FAR_BANDWIDTHS_IN_SINGLE_PRECISION
    near = bool(farthest < far * kernel.bandwidth)
    total = X.new_zeros(())
    for start in range(0, n, CHUNK_ROWS):
        part = slice(start, start + CHUNK_ROWS)
        if near:
            squared = squared_distances(X[part], X)
        else:
            squared = torch.cdist(X[part], X, compute_mode=EXACT).square()
        squared.diagonal(start).zero_()
        value, first, second = kernel.derivatives(squared)
        # (s(y) − s(x))·(x − y), by matrix products.
        across = X[part] @ scores.T - own
        across += scores[part] @ X.T - own[part, None]
        across.diagonal(start).zero_()
        stein = value * (scores[part] @ scores.T) + 2.0 * first * across
        stein -= 4.0 * second * squared + 2.0 * d * first
        if statistic == "U":
            # To subtract them from the sum would lose the others to rounding.
            stein.diagonal(start).zero_()
        total = total + stein.sum()
    n_pairs = n * (n - 1) if statistic == "U" else n**2
    discrepancy = total / n_pairs / unit / unit
    if not discrepancy.isfinite():
        raise ValueError(
            f"the discrepancy is no number in {X.dtype} where rows are up to "
            f"{float(farthest):.3g} bandwidths from their mean and scores up to "
            f"{float(scores.abs().max()):.3g} over the bandwidth, {bandwidth:.3g}; "
            "choose one nearer to the distances of rows, such as their median, and "
            "leave out rows of far larger scores than others"
        )
    return discrepancy
