"""Choice of kernel, form, bandwidth and strength by cross-validated Hyvärinen loss.

The loss ``½‖ŝ(x)‖² + ∇·ŝ(x)`` of held-out rows estimates half the squared error of the
score, up to a constant that no choice changes, without the truth (Hyvärinen 2005).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .forms import FORMS, Form
from .gaussian import GaussianFit, GaussianScore
from .kernels import make_kernel
from .rows import Rows
from .solvers import decompose, filter_gains, whiten

N_FOLDS = 5
_MOST_VALIDATED_ROWS = 10_000
_STRENGTHS = tuple(10.0 ** (-0.5 - 0.6 * step) for step in range(16))
# The ν-method takes (bound/λ)^½ steps, which must stay affordable.
_WEAKEST_ITERATED = 1e-7


@dataclass(frozen=True)
class Candidate:
    """A kernel, its form, and its bandwidth in the coordinates of a frame."""

    kernel: str
    form: str
    bandwidth: float
    isotropic: bool = False

    def build(self, landmarks: Tensor, fit: GaussianFit) -> Form:
        """Return the form over `landmarks`."""
        kernel = make_kernel(self.kernel, self.bandwidth)
        return FORMS[self.form](kernel, landmarks, fit.basis.square().sum(1))


@dataclass(frozen=True)
class Frame:
    """Coordinates in which a kernel is isotropic.

    Attributes
    ----------
    rows : Rows
    fit : GaussianFit
        The base score, with one version for each fold.
    metric : Tensor of shape (d,)
        Weight of each coordinate in the loss, so that frames can be compared.
    """

    rows: Rows
    fit: GaussianFit
    metric: Tensor


@dataclass(frozen=True)
class Sums:
    """Gram matrix and linear terms of the rows of one fold, or of all."""

    gram: Tensor
    linear: Tensor


@dataclass(frozen=True)
class Evaluation:
    """Held-out losses of one candidate at each strength of regularisation.

    Attributes
    ----------
    candidate : Candidate
    strengths : Tensor of shape (l,)
    losses : Tensor of shape (n_validated, l)
    degrees_of_freedom : Tensor of shape (l,)
    magnitudes : Tensor of shape (l,)
        Hilbert space norm of the kernel part, which bounds its length everywhere.
    """

    candidate: Candidate
    strengths: Tensor
    losses: Tensor
    degrees_of_freedom: Tensor
    magnitudes: Tensor


@dataclass(frozen=True)
class Choice:
    """The outcome of a comparison.

    Attributes
    ----------
    candidate : Candidate
    strength : float
    losses : Tensor of shape (n_validated,)
        Held-out loss of each validated row.
    degrees_of_freedom : float
    """

    candidate: Candidate
    strength: float
    losses: Tensor
    degrees_of_freedom: float


def fold_sums(
    rows: Rows, form: Form, scores: list[GaussianScore], n_folds: int
) -> list[Sums]:
    """Return the quadratic loss of each fold in one pass over the rows.

    Parameters
    ----------
    rows : Rows
    form : Form
    scores : list of GaussianScore
        The base scores for which linear terms are wanted.
    n_folds : int

    Returns
    -------
    sums : list of Sums
    """
    folds = rows.rank % n_folds
    landmarks = form.landmarks
    width = form.linear_width()
    sums = [
        Sums(
            landmarks.new_zeros(len(landmarks), len(landmarks)),
            landmarks.new_zeros(len(scores), len(landmarks), width),
        )
        for _ in range(n_folds)
    ]
    for part, block in rows.chunks(len(landmarks) // n_folds):
        for fold in range(n_folds):
            inside = folds[part] == fold
            U, weights = block[inside], rows.weights[part][inside]
            base = torch.stack([score.score(U) for score in scores])
            gram, linear = form.accumulate(U, weights, base)
            sums[fold].gram.add_(gram)
            sums[fold].linear.add_(linear)
    return sums


def strengths_of(method: str, form: Form) -> Tensor:
    """Return the grid of regularisation strengths, strongest first."""
    weakest = _WEAKEST_ITERATED if method == "nu" else 0.0
    grid = [s for s in _STRENGTHS if s > weakest]
    return form.landmarks.new_tensor(grid) * form.trace()


def cross_validate(
    frame: Frame,
    candidates: list[Candidate],
    landmarks: Tensor,
    *,
    method: str,
    strengths: Tensor | None,
    sums: list[Sums] | None = None,
) -> list[Evaluation]:
    """Evaluate the forms of one kernel on rows held out fold by fold.

    A landmark is left out with its own fold: a kernel centred at a validated row would
    see it at distance 0, where the loss says nothing about other rows.

    Parameters
    ----------
    frame : Frame
    candidates : list of Candidate
        All of the same kernel and bandwidth, so that they share a decomposition.
    landmarks : Tensor of shape (m,)
        Positions of the landmarks among the rows.
    method : str
        Regularisation method, see `filter_gains`.
    strengths : Tensor of shape (l,) or None
        Strengths to evaluate; None for the default grid.

    sums : list of Sums or None, default=None
        The `fold_sums` of the only candidate for the base score of each fold, where
        they are known.

    Returns
    -------
    evaluations : list of Evaluation
    """
    rows, fit = frame.rows, frame.fit
    points = rows.read(landmarks)
    folds = rows.rank % N_FOLDS
    kept = [folds[landmarks] != fold for fold in range(N_FOLDS)]
    penalty = candidates[0].build(points, fit).penalty()
    whitenings = [whiten(penalty[k][:, k]) for k in kept]
    validated = rows.lowest_ranks(_MOST_VALIDATED_ROWS)
    evaluations = []
    for candidate in candidates:
        form = candidate.build(points, fit)
        grid = strengths_of(method, form) if strengths is None else strengths
        parts = sums or fold_sums(rows, form, fit.without_fold, N_FOLDS)
        total = torch.stack([part.gram for part in parts]).sum(0)
        losses = rows.weights.new_zeros(len(validated), len(grid))
        degrees, magnitudes = torch.zeros_like(grid), torch.zeros_like(grid)
        for fold, base in enumerate(fit.without_fold):
            inside = kept[fold]
            others = [parts[f].linear[fold] for f in range(N_FOLDS) if f != fold]
            share = 1.0 - rows.weights[folds == fold].sum()
            gram = (total - parts[fold].gram)[inside][:, inside] / share
            linear = torch.stack(others).sum(0)[inside] / share
            smaller = candidate.build(points[inside], fit)
            spectrum = decompose(gram, whitenings[fold])
            gains = filter_gains(method, spectrum.eigenvalues, grid, form.trace())
            coefficients = spectrum.coefficients(linear, gains)
            width = form.linear_width()
            degrees += width * (gains @ spectrum.eigenvalues) / N_FOLDS
            magnitudes += spectrum.norms(linear, gains) / N_FOLDS
            held_out = folds[validated] == fold
            U = rows.read(validated[held_out])
            found = hyvarinen_losses(U, base, smaller, coefficients, frame.metric)
            losses[held_out] = found.T
        evaluations.append(Evaluation(candidate, grid, losses, degrees, magnitudes))
    return evaluations


def hyvarinen_losses(
    U: Tensor, base: GaussianScore, form: Form, coefficients: Tensor, metric: Tensor
) -> Tensor:
    """Return ``½‖s₀ + f‖² + ∇·(s₀ + f)`` for each set of coefficients.

    Both terms are sums over coordinates, weighted by the metric.

    Parameters
    ----------
    U : Tensor of shape (n, d)
    base : GaussianScore
    form : Form
    coefficients : Tensor of shape (l, m, q)
    metric : Tensor of shape (d,)

    Returns
    -------
    losses : Tensor of shape (l, n)
    """
    field, divergence = form.evaluate(U, coefficients, metric)
    total = divergence + base.divergence(metric)
    return 0.5 * (field + base.score(U)).square() @ metric + total


def gaussian_losses(frame: Frame) -> Tensor:
    """Return the held-out loss of the base alone, for the rows of an evaluation."""
    rows, metric = frame.rows, frame.metric
    folds = rows.rank % N_FOLDS
    validated = rows.lowest_ranks(_MOST_VALIDATED_ROWS)
    losses = rows.weights.new_zeros(len(validated))
    for fold, base in enumerate(frame.fit.without_fold):
        held_out = folds[validated] == fold
        score = base.score(rows.read(validated[held_out]))
        losses[held_out] = 0.5 * score.square() @ metric + base.divergence(metric)
    return losses


def choose(evaluations: list[Evaluation], weights: Tensor) -> Choice:
    """Choose by the paired one-standard-error rule.

    Among all settings whose mean loss exceeds the smallest by no more than one standard
    error of the row-by-row difference, take the one whose kernel part has the smallest
    bound: between the rows all of them do, but beyond the rows a kernel part of large
    norm runs away. Degrees of freedom would not tell them apart.

    Parameters
    ----------
    evaluations : list of Evaluation
    weights : Tensor of shape (n_validated,)

    Returns
    -------
    choice : Choice
    """
    losses = torch.cat([e.losses for e in evaluations], 1)
    degrees = torch.cat([e.degrees_of_freedom for e in evaluations])
    best = int((weights @ losses).argmin())
    excess, error = mean_and_error(losses - losses[:, best : best + 1], weights)
    eligible = excess <= error
    magnitudes = torch.cat([e.magnitudes for e in evaluations])
    chosen = int(magnitudes.masked_fill(~eligible, torch.inf).argmin())
    start = 0
    for evaluation in evaluations:
        stop = start + len(evaluation.strengths)
        if chosen < stop:
            break
        start = stop
    return Choice(
        evaluation.candidate,
        float(evaluation.strengths[chosen - start]),
        losses[:, chosen],
        float(degrees[chosen]),
    )


def improves(
    losses: Tensor, other_losses: Tensor, weights: Tensor, *, standard_errors: float
) -> bool:
    """Tell whether a gain over other losses exceeds so many standard errors."""
    gain, error = mean_and_error((other_losses - losses)[:, None], weights)
    return bool(gain > standard_errors * error)


def mean_and_error(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted mean of each column and its standard error."""
    share = weights / weights.sum()
    mean = share @ values
    return mean, (share.square() @ (values - mean).square()).sqrt()
