"""Held-out Hyvärinen losses of kernels, forms, bandwidths and strengths.

The loss ``½‖ŝ(x)‖² + ∇·ŝ(x)`` of held-out rows estimates half the squared error of the
score, up to a constant that no choice changes, without the truth (Hyvärinen 2005).
"""

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..bases.fitted import BaseScore, hyvarinen_loss
from ..kernels.forms import Form
from ..kernels.solvers import FilteredFields, Whitening, decompose, filter_gains, whiten
from .candidates import Candidate
from .comparison import Choice
from .frames import Frame
from .quadratic import (
    QuadraticLoss,
    losses_of_parts,
    narrow_basis,
    quadratic_loss,
    total_loss,
)

STRENGTHS = tuple(10.0 ** (-0.5 - 0.6 * step) for step in range(16))
"""Strengths to compare, relative to the trace of a form, strongest first."""

WEAKEST_ITERATED = 1e-7
"""Weakest strength of the ν-method, whose (bound/λ)^½ steps must stay affordable."""

CHUNK_ROWS = 2048
"""Rows held out that are evaluated at once."""


def cross_validate(
    frame: Frame,
    candidates: list[Candidate],
    landmarks: Tensor,
    *,
    methods: tuple[str, ...],
    strength: float | None = None,
    losses: list[QuadraticLoss] | None = None,
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
    strength : float or None, default=None
        The only strength; None to compare the default grid of each filter.
    losses : list of QuadraticLoss, default=None
        The `losses_of_parts` of the only candidate for the `scores_without` a part,
        where they are known.

    Returns
    -------
    choices : list of Choice
        The best strength of each candidate, base and filter.
    """
    points = frame.rows.read(landmarks)
    penalty = candidates[0].build(points).penalty()
    parts = [
        _part(frame, number, landmarks, penalty)
        for number in range(frame.split.n_held_out)
    ]
    choices: list[Choice] = []
    for candidate in candidates:
        form = candidate.build(points)
        # The penalties of two forms differ by a factor.
        factor = (penalty[:1, :1] / candidate.build(points[:1]).penalty()).sqrt()
        forms = [candidate.build(points[part.landmarks]) for part in parts]
        known = losses
        # Parts have a whitening each, and no sums in common where these are narrow.
        narrow = narrow_basis(forms[0], parts[0].whitening) is not None
        if known is None and not narrow and not frame.rows.few:
            scores = scores_without(frame)
            known = losses_of_parts(frame.rows, form, scores, frame.split)
        grids = {
            method: strengths_of(method, form, len(frame.rows), strength)
            for method in methods
        }
        folds = [
            _fold(
                frame, form, part, part.whitening.basis * factor, grids, known, narrow
            )
            for form, part in zip(forms, parts, strict=True)
        ]
        choices += _best_of_each_filter(frame, candidate, grids, folds)
    return choices


def scores_without(frame: Frame) -> list[BaseScore]:
    """Return the base scores that leave a part out, once each."""
    return distinct(score for base in frame.bases.values() for score in base.without)


def distinct(scores: Iterable[BaseScore]) -> list[BaseScore]:
    """Return scores in their order, those that are the same object once."""
    return list({id(score): score for score in scores}.values())


def strengths_of(
    method: str, form: Form, n_rows: int, given: float | None = None
) -> Tensor:
    """Return the regularisation strengths to compare, strongest first.

    None is weaker than ``n^(−5/2)``: far below the rates at which ``λ`` must fall for
    scores as rough as the kernel (Zhou, Shi & Zhu 2020, theorem 3.1). Smoother ones, a
    polynomial for one, are best with wide kernels and less than ``1/n²``; still weaker
    ones extrapolate without bound.
    """
    if given is not None:
        return form.landmarks.new_tensor([given])
    weakest = max(WEAKEST_ITERATED if method == "nu" else 0.0, n_rows**-2.5)
    grid = [strength for strength in STRENGTHS if strength >= weakest]
    return form.landmarks.new_tensor(grid) * form.trace()


@dataclass(frozen=True)
class _Part:
    """A part of the rows that is held out.

    Attributes
    ----------
    number : int
    positions : Tensor of shape (n,)
        Its rows.
    landmarks : Tensor of shape (m,), bool
        Which landmarks are not among them.
    whitening : Whitening
        Of the penalty of those.
    """

    number: int
    positions: Tensor
    landmarks: Tensor
    whitening: Whitening


def _part(frame: Frame, number: int, landmarks: Tensor, penalty: Tensor) -> _Part:
    kept = frame.split.labels[landmarks] != number
    positions = frame.split.positions(number)
    return _Part(number, positions, kept, whiten(penalty[kept][:, kept]))


@dataclass(frozen=True)
class _Fold:
    """Fits of one form to all rows but those of one part.

    Attributes
    ----------
    form : Form
        Over the landmarks of the other parts.
    scores : list of BaseScore
        Of each base, without the part.
    eigenvalues : Tensor of shape (r,)
        Of the spectrum of the form.
    fields : FilteredFields
        Of each base and every filter at every strength.
    positions : Tensor of shape (n,)
        The rows held out.
    """

    form: Form
    scores: list[BaseScore]
    eigenvalues: Tensor
    fields: FilteredFields
    positions: Tensor

    def changes(self, frame: Frame) -> Tensor:
        """Return by how much each fit changes the loss of its base score, (v, l)."""
        fields = self.fields
        changes = fields.gains.new_zeros(len(fields.moments), len(fields.gains))
        for chunk in self.positions.split(CHUNK_ROWS):
            U = frame.rows.read(chunk)
            changes += self.form.changes(
                U,
                frame.rows.weights[chunk],
                torch.stack([score.score(U) for score in self.scores]),
                frame.metric,
                fields,
            )
        return changes

    def losses(self, frame: Frame, base: int, fit: int) -> Tensor:
        """Return the loss of each row held out by one fit on one base."""
        coordinates = -self.fields.gains[fit, :, None] * self.fields.moments[base]
        coefficients = (self.fields.basis @ coordinates)[None]
        found = []
        for chunk in self.positions.split(CHUNK_ROWS):
            U = frame.rows.read(chunk)
            parts = self.form.evaluate(U, coefficients, frame.metric)
            found.append(hyvarinen_loss(*parts, U, self.scores[base], frame.metric)[0])
        return torch.cat(found)

    def degrees_of_freedom(self) -> Tensor:
        """Return the effective number of parameters of each fit, of shape (l,)."""
        return self.form.linear_width() * (self.fields.gains @ self.eigenvalues)


def _fold(
    frame: Frame,
    form: Form,
    part: _Part,
    basis: Tensor,
    grids: dict[str, Tensor],
    known: list[QuadraticLoss] | None,
    narrow: bool,
) -> _Fold:
    """Return the fits to all rows but those of a part.

    Parameters
    ----------
    frame : Frame
    form : Form
        Over the landmarks of the other parts.
    part : _Part
    basis : Tensor of shape (m, r)
        The whitened basis of the form.
    grids : dict of Tensor
        The strengths of each filter.
    known : list of QuadraticLoss or None
        Of every part with all landmarks, where that is known.
    narrow : bool
        Whether the basis is a `narrow_basis`.

    Returns
    -------
    _Fold
    """
    scores = [base.without[part.number] for base in frame.bases.values()]
    if known is None:
        others = frame.split.others(part.number)
        small = basis if narrow else None
        rest = quadratic_loss(frame.rows, form, scores, others, small)
    else:
        rest = _loss_of_others(known, part, scores)
    share = 1.0 - frame.rows.weights[part.positions].sum()
    spectrum = decompose(rest.gram / share, basis)
    gains = [
        filter_gains(method, spectrum.eigenvalues, grid, form.trace())
        for method, grid in grids.items()
    ]
    moments = spectrum.basis.T @ (rest.linear / share)
    fields = FilteredFields(spectrum.basis, moments, torch.cat(gains))
    return _Fold(form, scores, spectrum.eigenvalues, fields, part.positions)


def _loss_of_others(
    known: list[QuadraticLoss], part: _Part, scores: list[BaseScore]
) -> QuadraticLoss:
    """Return the loss of all parts but one, at the landmarks that are not in it."""
    others = [loss for number, loss in enumerate(known) if number != part.number]
    total = total_loss(others, scores)
    gram, kept = total.gram, part.landmarks
    # A whitened Gram matrix is that of a sample whose landmarks are in no part.
    if len(gram) == len(kept):
        gram = gram[kept][:, kept]
    return QuadraticLoss(gram, total.linear[:, kept], scores)


def _best_of_each_filter(
    frame: Frame, candidate: Candidate, grids: dict[str, Tensor], folds: list[_Fold]
) -> Iterator[Choice]:
    """Yield the best strength of each filter on each base."""
    weights = frame.weights
    changes = torch.stack([fold.changes(frame) for fold in folds]).sum(0)
    degrees = torch.stack([fold.degrees_of_freedom() for fold in folds]).mean(0)
    for place, base in enumerate(frame.bases.values()):
        losses = (weights @ base.losses + changes[place]) / weights.sum()
        start = 0
        for method, grid in grids.items():
            best = int(losses[start : start + len(grid)].argmin())
            fit = start + best
            yield Choice(
                candidate,
                base.name,
                method,
                strength=float(grid[best]),
                loss=float(losses[fit]),
                degrees_of_freedom=float(degrees[fit]),
                evaluate=functools.partial(_held_out_losses, frame, folds, place, fit),
            )
            start += len(grid)


def _held_out_losses(frame: Frame, folds: list[_Fold], base: int, fit: int) -> Tensor:
    """Return the loss of each validated row by one fit on one base."""
    losses = torch.cat([fold.losses(frame, base, fit) for fold in folds])
    # The rows of one part come after those of another.
    return losses[torch.argsort(torch.cat([fold.positions for fold in folds]))]
