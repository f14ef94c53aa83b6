"""Held-out Hyvärinen losses of kernels, forms, bandwidths and strengths.

The loss ``½‖ŝ(x)‖² + ∇·ŝ(x)`` of held-out rows estimates half the squared error of the
score, up to a constant that no choice changes, without the truth (Hyvärinen 2005).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .bases import Base, BaseScore
from .comparison import Evaluation
from .forms import Form
from .frames import Candidate, Frame
from .rows import Rows, Split
from .solvers import decompose, filter_gains, whiten

_STRENGTHS = tuple(10.0 ** (-0.5 - 0.6 * step) for step in range(16))
# The ν-method takes (bound/λ)^½ steps, which must stay affordable.
_WEAKEST_ITERATED = 1e-7
_CHUNK_ROWS = 2048


@dataclass(frozen=True)
class Sums:
    """Gram matrix (m, m) and linear terms (v, m, q) of some rows."""

    gram: Tensor
    linear: Tensor


def distinct_scores(bases: dict[str, Base]) -> list[BaseScore]:
    """Return all scores of the bases once, those of all rows last."""
    scores = [score for base in bases.values() for score in base.without]
    scores += [base.full for base in bases.values()]
    return list({id(score): score for score in scores}.values())


def sums_of_parts(
    rows: Rows,
    form: Form,
    scores: list[BaseScore],
    split: Split | None,
    basis: Tensor | None = None,
) -> list[Sums]:
    """Return the quadratic loss of each part in one pass over the rows.

    Parameters
    ----------
    rows : Rows
    form : Form
    scores : list of BaseScore
        The base scores for which linear terms are wanted.
    split : Split or None
        The parts; None for one part of all rows.
    basis : Tensor of shape (m, r), default=None
        From `narrow_basis`, for a Gram matrix of shape (r, r).

    Returns
    -------
    sums : list of Sums
    """
    n_parts = 1 if split is None else split.n_parts
    landmarks = form.landmarks
    width = form.linear_width()
    size = len(landmarks) if basis is None else basis.shape[1]
    sums = [
        Sums(
            landmarks.new_zeros(size, size),
            landmarks.new_zeros(len(scores), len(landmarks), width),
        )
        for _ in range(n_parts)
    ]
    for part, total in enumerate(sums):
        # One part after the other: few rows of a part cost a whole Gram matrix.
        inside = None if split is None else split.positions(part)
        for place, U in rows.chunks(len(landmarks), inside):
            base = torch.stack([score.score(U) for score in scores])
            gram, linear = form.accumulate(U, rows.weights[place], base, basis)
            total.gram.add_(gram)
            total.linear.add_(linear)
    return sums


def narrow_basis(form: Form, split: Split | None, whitening: Tensor) -> Tensor | None:
    """Return the whitening where it leaves so few fields that their Gram matrix pays.

    It is also exact where the other is not: a wide kernel has tiny eigenvalues, and to
    divide a Gram matrix by them afterwards would enlarge its rounding errors far beyond
    the strengths that such a kernel needs. Folds have a whitening each, so they do
    without.
    """
    if split is not None and split.in_folds:
        return None
    m, r = whitening.shape
    return whitening if 2 * r * form.field_width() < m else None


def strengths_of(method: str, form: Form, n_rows: int) -> Tensor:
    """Return the grid of regularisation strengths, strongest first.

    None is weaker than ``1/n²``: far below the rates at which ``λ`` must fall (Zhou,
    Shi & Zhu 2020, theorem 3.1), and there wide kernels extrapolate without bound.
    """
    weakest = max(_WEAKEST_ITERATED if method == "nu" else 0.0, n_rows**-2.0)
    grid = [s for s in _STRENGTHS if s >= weakest]
    return form.landmarks.new_tensor(grid) * form.trace()


def cross_validate(
    frame: Frame,
    candidates: list[Candidate],
    landmarks: Tensor,
    *,
    methods: tuple[str, ...],
    strengths: Tensor | None = None,
    sums: list[Sums] | None = None,
) -> list[Evaluation]:
    """Evaluate the forms of one kernel, on every base, on rows held out.

    A landmark is left out with its own part: a kernel centred at a validated row would
    see it at distance 0, where the loss says nothing about other rows.

    Parameters
    ----------
    frame : Frame
    candidates : list of Candidate
        All of the same kernel and bandwidth, so that they share a decomposition.
    landmarks : Tensor of shape (m,)
        Positions of the landmarks among the rows.
    methods : tuple of str
        Filters to evaluate, see `filter_gains`.
    strengths : Tensor of shape (l,) or None
        Strengths to evaluate; None for the default grid of each filter.
    sums : list of Sums or None, default=None
        The `sums_of_parts` of the only candidate for the `distinct_scores` of the
        frame, where they are known.

    Returns
    -------
    evaluations : list of Evaluation
        For each candidate, base and filter.
    """
    rows, split, bases = frame.rows, frame.split, frame.bases
    points = rows.read(landmarks)
    parts = range(split.n_held_out)
    kept = [split.labels[landmarks] != part for part in parts]
    penalty = candidates[0].build(points).penalty()
    whitenings = [whiten(penalty[k][:, k]) for k in kept]
    scale = penalty[:1, :1]
    scores = distinct_scores(bases)
    place = {id(score): i for i, score in enumerate(scores)}
    held_out_shares = [rows.weights[split.labels == part].sum() for part in parts]
    evaluations = []
    for candidate in candidates:
        form = candidate.build(points)
        grids = [
            strengths_of(method, form, len(rows)) if strengths is None else strengths
            for method in methods
        ]
        grid, sizes = torch.cat(grids), [len(each) for each in grids]
        # The penalties of two forms differ by a factor.
        factor = (scale / form.penalty()[:1, :1]).sqrt()
        known = sums
        if known is None:
            basis = narrow_basis(form, split, whitenings[0] * factor)
            known = sums_of_parts(rows, form, scores, split, basis)
        total = torch.stack([part.gram for part in known]).sum(0)
        linear = torch.stack([part.linear for part in known]).sum(0)
        losses = {b: grid.new_zeros(len(split.validated), len(grid)) for b in bases}
        degrees = torch.zeros_like(grid)
        for part in parts:
            inside, share = kept[part], 1.0 - held_out_shares[part]
            gram = (total - known[part].gram) / share
            if split.in_folds:
                gram = gram[inside][:, inside]
            rest = (linear - known[part].linear)[:, inside] / share
            smaller = candidate.build(points[inside])
            spectrum = decompose(gram, whitenings[part] * factor)
            gains = torch.cat(
                [
                    filter_gains(method, spectrum.eigenvalues, each, form.trace())
                    for method, each in zip(methods, grids, strict=True)
                ]
            )
            degrees += form.linear_width() * (gains @ spectrum.eigenvalues)
            without = [base.without[part] for base in bases.values()]
            found = _held_out_losses(
                frame,
                smaller,
                without,
                [spectrum.coefficients(rest[place[id(s)]], gains) for s in without],
                split.validated[split.labels[split.validated] == part],
            )
            here = split.labels[split.validated] == part
            for name, values in zip(bases, found, strict=True):
                losses[name][here] = values
        degrees /= max(len(parts), 1)
        evaluations += [
            Evaluation(candidate, name, *filtered)
            for name in bases
            for filtered in zip(
                methods,
                grids,
                losses[name].split(sizes, 1),
                degrees.split(sizes),
                strict=True,
            )
        ]
    return evaluations


def _held_out_losses(
    frame: Frame,
    form: Form,
    scores: list[BaseScore],
    coefficients: list[Tensor],
    positions: Tensor,
) -> list[Tensor]:
    """Return the losses (n, l) of some rows for each base score."""
    stack, count = torch.cat(coefficients), len(coefficients[0])
    found: list[list[Tensor]] = [[] for _ in scores]
    for chunk in positions.split(_CHUNK_ROWS):
        U = frame.rows.read(chunk)
        fields, divergences = form.evaluate(U, stack, frame.metric)
        for i, score in enumerate(scores):
            mine = slice(i * count, (i + 1) * count)
            loss = hyvarinen_loss(
                fields[mine], divergences[mine], U, score, frame.metric
            )
            found[i].append(loss.T)
    return [torch.cat(parts) for parts in found]


def hyvarinen_loss(
    field: Tensor | float,
    divergence: Tensor | float,
    U: Tensor,
    base: BaseScore,
    metric: Tensor,
) -> Tensor:
    """Return ``½‖s₀ + f‖² + ∇·(s₀ + f)`` of rows, sums weighted by the metric.

    Parameters
    ----------
    field : Tensor of shape (l, n, d) or 0
        Values of ``f``.
    divergence : Tensor of shape (l, n) or 0
    U : Tensor of shape (n, d)
    base : BaseScore
    metric : Tensor of shape (d,)

    Returns
    -------
    losses : Tensor of shape (l, n) or (n,)
    """
    total = divergence + base.divergence(U, metric)
    return 0.5 * (field + base.score(U)).square() @ metric + total


def base_losses(frame: Frame, base: Base) -> Tensor:
    """Return the held-out loss of a base score alone, for the validated rows."""
    rows, validated = frame.rows, frame.split.validated
    labels = frame.split.labels[validated]
    losses = rows.weights.new_zeros(len(validated))
    for part, score in enumerate(base.without):
        here = labels == part
        U = rows.read(validated[here])
        losses[here] = hyvarinen_loss(0.0, 0.0, U, score, frame.metric)
    return losses
