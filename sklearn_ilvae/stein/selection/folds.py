"""Fits of one candidate to all rows but those of one part, for each part."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..bases.fitted import BaseScore, hyvarinen_loss
from ..kernels.forms import Form
from ..kernels.solvers import FilteredFields, Whitening, decompose, filter_gains, whiten
from .candidates import Candidate
from .frames import Frame
from .quadratic import (
    QuadraticLoss,
    losses_of_parts,
    narrow_basis,
    quadratic_loss,
    total_loss,
)

CHUNK_ROWS = 2048
"""Rows held out that are evaluated at once."""


def scores_without(frame: Frame) -> list[BaseScore]:
    """Return the base scores that leave a part out, once each."""
    return distinct(score for base in frame.bases.values() for score in base.without)


def distinct(scores: Iterable[BaseScore]) -> list[BaseScore]:
    """Return scores in their order, those that are the same object once."""
    return list({id(score): score for score in scores}.values())


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


@dataclass(frozen=True)
class Fold:
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

    def losses(self, frame: Frame, fit: int) -> Tensor:
        """Return the loss of each row held out by one fit on the only base."""
        (score,) = self.scores
        only = replace(self.fields, gains=self.fields.gains[[fit]])
        (coefficients,) = only.coefficients()
        found = []
        for chunk in self.positions.split(CHUNK_ROWS):
            U = frame.rows.read(chunk)
            parts = self.form.evaluate(U, coefficients, frame.metric)
            found.append(hyvarinen_loss(*parts, U, score, frame.metric)[0])
        return torch.cat(found)

    def degrees_of_freedom(self) -> Tensor:
        """Return the effective number of parameters of each fit, of shape (l,)."""
        return self.form.linear_width() * (self.fields.gains @ self.eigenvalues)


class Parts:
    """The parts that are held out, with the whitenings that a group of forms shares.

    Parameters
    ----------
    frame : Frame
    landmarks : Tensor of shape (m,)
        Positions of the landmarks among the rows.
    first : Candidate
        Any of the group.

    Attributes
    ----------
    points : Tensor of shape (m, d)
        The landmarks.
    """

    def __init__(self, frame: Frame, landmarks: Tensor, first: Candidate) -> None:
        self.frame = frame
        self.points = frame.rows.read(landmarks)
        penalty = first.build(self.points).penalty()
        self.unit = penalty[:1, :1]
        self.parts = [
            _part(frame, number, landmarks, penalty)
            for number in range(frame.split.n_held_out)
        ]

    def folds(
        self,
        candidate: Candidate,
        grids: dict[str, Tensor],
        losses: list[QuadraticLoss] | None,
    ) -> list[Fold]:
        """Return the fits to all rows but those of each part.

        Parameters
        ----------
        candidate : Candidate
            Of the group.
        grids : dict of Tensor
            The strengths of each filter.
        losses : list of QuadraticLoss or None
            As `cross_validate` takes them.

        Returns
        -------
        folds : list of Fold
        """
        frame, points, parts = self.frame, self.points, self.parts
        # The penalties of two forms differ by a factor.
        factor = (self.unit / candidate.build(points[:1]).penalty()).sqrt()
        forms = [candidate.build(points[part.landmarks]) for part in parts]
        # Parts have a whitening each, and no sums in common where these are narrow.
        narrow = narrow_basis(forms[0], parts[0].whitening) is not None
        if losses is None and not narrow and not frame.rows.few:
            form, scores = candidate.build(points), scores_without(frame)
            losses = losses_of_parts(frame.rows, form, scores, frame.split)
        return [
            _fold(
                frame, form, part, part.whitening.basis * factor, grids, losses, narrow
            )
            for form, part in zip(forms, parts, strict=True)
        ]


def _part(frame: Frame, number: int, landmarks: Tensor, penalty: Tensor) -> _Part:
    kept = frame.split.labels[landmarks] != number
    positions = frame.split.positions(number)
    return _Part(number, positions, kept, whiten(penalty[kept][:, kept]))


def _fold(
    frame: Frame,
    form: Form,
    part: _Part,
    basis: Tensor,
    grids: dict[str, Tensor],
    known: list[QuadraticLoss] | None,
    narrow: bool,
) -> Fold:
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
    Fold
    """
    scores = [base.without[part.number] for base in frame.bases.values()]
    if known is None:
        others = frame.split.others(part.number)
        small = basis if narrow else None
        rest = quadratic_loss(frame.rows, form, scores, others, small)
    else:
        rest = _loss_of_others(known, part, scores)
    share = 1.0 - frame.rows.weights[part.positions].sum()
    spectrum = decompose(rest.whitened(basis) / share, basis)
    gains = [
        filter_gains(method, spectrum.eigenvalues, grid, form.trace())
        for method, grid in grids.items()
    ]
    fields = spectrum.filtered(rest.linear / share, torch.cat(gains))
    return Fold(form, scores, spectrum.eigenvalues, fields, part.positions)


def _loss_of_others(
    known: list[QuadraticLoss], part: _Part, scores: list[BaseScore]
) -> QuadraticLoss:
    """Return the loss of all parts but one, at the landmarks that are not in it."""
    others = [loss for number, loss in enumerate(known) if number != part.number]
    total = total_loss(others, scores)
    gram, kept = total.gram, part.landmarks
    # A whitened Gram matrix is that of a sample whose landmarks are in no part.
    if total.basis is None:
        gram = gram[kept][:, kept]
    return replace(total, gram=gram, linear=total.linear[:, kept])
