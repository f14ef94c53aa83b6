"""Held-out Hyvärinen losses of kernels, forms, bandwidths and strengths.

The loss ``½‖ŝ(x)‖² + ∇·ŝ(x)`` of held-out rows estimates half the squared error of the
score, up to a constant that no choice changes, without the truth (Hyvärinen 2005).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .bases import Base, BaseScore, hyvarinen_loss
from .comparison import Choice
from .forms import Form
from .frames import Candidate, Frame
from .rows import Rows, Split
from .solvers import Spectrum, Whitening, decompose, filter_gains, whiten

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
    """Return the scores that leave a part out, once each, then those of all rows."""
    full = [base.full for base in bases.values()]
    return list({id(s): s for s in [*_scores_without(bases), *full]}.values())


def _scores_without(bases: dict[str, Base]) -> list[BaseScore]:
    scores = [score for base in bases.values() for score in base.without]
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
    # One part after the other: few rows of a part cost a whole Gram matrix.
    insides = (
        [None] if split is None else [split.positions(p) for p in range(split.n_parts)]
    )
    return [_sums_of(rows, form, scores, inside, basis) for inside in insides]


def _sums_of(
    rows: Rows,
    form: Form,
    scores: list[BaseScore],
    positions: Tensor | None,
    basis: Tensor | None,
) -> Sums:
    """Return the quadratic loss of the rows at some positions, None for all."""
    landmarks = form.landmarks
    size = len(landmarks) if basis is None else basis.shape[1]
    total = Sums(
        landmarks.new_zeros(size, size),
        landmarks.new_zeros(len(scores), len(landmarks), form.linear_width()),
    )
    for place, U in rows.chunks(len(landmarks), positions):
        base = torch.stack([score.score(U) for score in scores])
        gram, linear = form.accumulate(U, rows.weights[place], base, basis)
        total.gram.add_(gram)
        total.linear.add_(linear)
    return total


def narrow_basis(form: Form, whitening: Whitening) -> Tensor | None:
    """Return the whitened basis where it has so few fields that their Gram matrix pays.

    It is also exact where the other is not: a wide kernel has tiny eigenvalues, and to
    divide a Gram matrix by them afterwards would enlarge its rounding errors far beyond
    the strengths that such a kernel needs.
    """
    few = 2 * len(whitening.pivots) * form.field_width() < len(whitening.penalty)
    return whitening.basis if few else None


def strengths_of(method: str, form: Form, n_rows: int) -> Tensor:
    """Return the grid of regularisation strengths, strongest first.

    None is weaker than ``n^(−5/2)``: far below the rates at which ``λ`` must fall for
    scores as rough as the kernel (Zhou, Shi & Zhu 2020, theorem 3.1). Smoother ones, a
    polynomial for one, are best with wide kernels and less than ``1/n²``; still weaker
    ones extrapolate without bound.
    """
    weakest = max(_WEAKEST_ITERATED if method == "nu" else 0.0, n_rows**-2.5)
    grid = [s for s in _STRENGTHS if s >= weakest]
    return form.landmarks.new_tensor(grid) * form.trace()


@dataclass(frozen=True)
class _Fold:
    """Fits of one form to all rows but those of one part.

    Attributes
    ----------
    form : Form
        Over the landmarks of the other parts.
    scores : list of BaseScore
        Of each base, without the part.
    spectrum : Spectrum
    moments : Tensor of shape (v, r, q)
        The linear term of each base in the basis of the spectrum.
    gains : Tensor of shape (l, r)
        Of every filter at every strength.
    positions : Tensor of shape (n,)
        The rows held out.
    """

    form: Form
    scores: list[BaseScore]
    spectrum: Spectrum
    moments: Tensor
    gains: Tensor
    positions: Tensor

    def changes(self, frame: Frame) -> Tensor:
        """Return by how much each fit changes the loss of its base score, (v, l)."""
        changes = self.gains.new_zeros(len(self.moments), len(self.gains))
        for chunk in self.positions.split(_CHUNK_ROWS):
            U = frame.rows.read(chunk)
            changes += self.form.changes(
                U,
                frame.rows.weights[chunk],
                torch.stack([score.score(U) for score in self.scores]),
                frame.metric,
                self.spectrum.basis,
                self.moments,
                self.gains,
            )
        return changes

    def losses(self, frame: Frame, base: int, fit: int) -> Tensor:
        """Return the loss of each row held out by one fit on one base."""
        coordinates = -self.gains[fit, :, None] * self.moments[base]
        coefficients = (self.spectrum.basis @ coordinates)[None]
        found = []
        for chunk in self.positions.split(_CHUNK_ROWS):
            U = frame.rows.read(chunk)
            parts = self.form.evaluate(U, coefficients, frame.metric)
            found.append(hyvarinen_loss(*parts, U, self.scores[base], frame.metric)[0])
        return torch.cat(found)

    def degrees_of_freedom(self) -> Tensor:
        """Return the effective number of parameters of each fit, of shape (l,)."""
        return self.form.linear_width() * (self.gains @ self.spectrum.eigenvalues)


def cross_validate(
    frame: Frame,
    candidates: list[Candidate],
    landmarks: Tensor,
    *,
    methods: tuple[str, ...],
    strengths: Tensor | None = None,
    sums: list[Sums] | None = None,
) -> list[Choice]:
    """Choose the strength for each form of one kernel, on every base, by rows held out.

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
        Filters to compare, see `filter_gains`.
    strengths : Tensor of shape (l,) or None
        Strengths to compare; None for the default grid of each filter.
    sums : list of Sums or None, default=None
        The `sums_of_parts` of the only candidate for the `distinct_scores` of the
        frame, where they are known.

    Returns
    -------
    choices : list of Choice
        The best strength of each candidate, base and filter.
    """
    rows, split, bases = frame.rows, frame.split, frame.bases
    points = rows.read(landmarks)
    parts = range(split.n_held_out)
    kept = [split.labels[landmarks] != part for part in parts]
    penalty = candidates[0].build(points).penalty()
    whitenings = [whiten(penalty[k][:, k]) for k in kept]
    scale = penalty[:1, :1]
    scores = _scores_without(bases)
    place = {id(score): i for i, score in enumerate(scores)}
    held_out = [split.positions(part) for part in parts]
    choices: list[Choice] = []
    for candidate in candidates:
        form = candidate.build(points)
        forms = [candidate.build(points[inside]) for inside in kept]
        grids = [
            strengths_of(method, form, len(rows)) if strengths is None else strengths
            for method in methods
        ]
        # The penalties of two forms differ by a factor.
        factor = (scale / form.penalty()[:1, :1]).sqrt()
        known = sums
        # Folds have a whitening each, and no sums in common where these are narrow.
        narrow = narrow_basis(forms[0], whitenings[0]) is not None
        if known is None and not narrow:
            known = sums_of_parts(rows, form, scores, split)
        folds = []
        for part in parts:
            without = [base.without[part] for base in bases.values()]
            basis = whitenings[part].basis * factor
            if known is None:
                rest = _sums_of(rows, forms[part], without, split.others(part), basis)
            else:
                mine = [place[id(score)] for score in without]
                rest = _rest_of(known, part, mine, kept[part])
            share = 1.0 - rows.weights[held_out[part]].sum()
            spectrum = decompose(rest.gram / share, basis)
            gains = [
                filter_gains(method, spectrum.eigenvalues, grid, form.trace())
                for method, grid in zip(methods, grids, strict=True)
            ]
            folds.append(
                _Fold(
                    forms[part],
                    without,
                    spectrum,
                    spectrum.basis.T @ (rest.linear / share),
                    torch.cat(gains),
                    held_out[part],
                )
            )
        choices += _best_of_each_filter(frame, candidate, methods, grids, folds)
    return choices


def _rest_of(known: list[Sums], part: int, scores: list[int], inside: Tensor) -> Sums:
    """Return the sums of all parts but one, for some scores, at its landmarks."""
    others = [sums for i, sums in enumerate(known) if i != part]
    gram = torch.stack([sums.gram for sums in others]).sum(0)
    linear = torch.stack([sums.linear[scores] for sums in others]).sum(0)
    # A whitened Gram matrix is that of a sample whose landmarks are in no part.
    if len(gram) == len(inside):
        gram = gram[inside][:, inside]
    return Sums(gram, linear[:, inside])


def _best_of_each_filter(
    frame: Frame,
    candidate: Candidate,
    methods: tuple[str, ...],
    grids: list[Tensor],
    folds: list[_Fold],
) -> Iterator[Choice]:
    """Yield the best strength of each filter on each base."""
    weights = frame.weights
    changes = torch.stack([fold.changes(frame) for fold in folds]).sum(0)
    degrees = torch.stack([fold.degrees_of_freedom() for fold in folds]).mean(0)
    for b, base in enumerate(frame.bases.values()):
        losses = (weights @ base.losses + changes[b]) / weights.sum()
        start = 0
        for method, grid in zip(methods, grids, strict=True):
            fit = start + int(losses[start : start + len(grid)].argmin())
            yield Choice(
                candidate,
                base.name,
                method,
                float(grid[fit - start]),
                float(losses[fit]),
                float(degrees[fit]),
                functools.partial(_held_out_losses, frame, folds, b, fit),
            )
            start += len(grid)


def _held_out_losses(frame: Frame, folds: list[_Fold], base: int, fit: int) -> Tensor:
    """Return the loss of each validated row by one fit on one base."""
    losses = torch.cat([fold.losses(frame, base, fit) for fold in folds])
    # The rows of one part come after those of another.
    return losses[torch.argsort(torch.cat([fold.positions for fold in folds]))]
