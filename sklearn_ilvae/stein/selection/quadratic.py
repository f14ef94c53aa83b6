"""The Hyvärinen loss of kernel parts, a quadratic function, summed over rows.

``½ tr(aᵀ G a) + tr(bᵀ a)`` for the coefficients ``a`` of a `Form`, up to a constant.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..bases.fitted import BaseScore
from ..kernels.forms import Form
from ..kernels.solvers import Whitening, whitened_gram
from ..sample.rows import Rows
from ..sample.splits import Split


@dataclass(frozen=True)
class QuadraticLoss:
    """The loss of some rows, for one or several base scores.

    Attributes
    ----------
    gram : Tensor of shape (m, m) or (r, r)
        The ``G``, or ``WᵀGW``, the same for all base scores.
    linear : Tensor of shape (v, m, q)
        The ``b`` of each base score.
    scores : list of BaseScore, length v
    basis : Tensor of shape (m, r) or None
        The ``W`` where the Gram matrix is that of whitened fields.
    """

    gram: Tensor
    linear: Tensor
    scores: list[BaseScore]
    basis: Tensor | None = None

    def linear_of(self, scores: list[BaseScore]) -> Tensor:
        """Return the linear terms of some of the scores, (n_scores, m, q)."""
        place = {id(score): i for i, score in enumerate(self.scores)}
        return self.linear[[place[id(score)] for score in scores]]

    def whitened(self, basis: Tensor) -> Tensor:
        """Return ``WᵀGW``, which the Gram matrix of whitened fields is already."""
        return whitened_gram(self.gram, basis) if self.basis is None else self.gram


def quadratic_loss(
    rows: Rows,
    form: Form,
    scores: list[BaseScore],
    positions: Tensor | None = None,
    basis: Tensor | None = None,
) -> QuadraticLoss:
    """Return the loss of rows in one pass over them.

    Parameters
    ----------
    rows : Rows
    form : Form
    scores : list of BaseScore
        The base scores for which linear terms are wanted.
    positions : Tensor, default=None
        Of the rows that take part; None for all.
    basis : Tensor of shape (m, r), default=None
        Of a `Whitening`, for the Gram matrix of its fields.

    Returns
    -------
    QuadraticLoss
    """
    landmarks = form.landmarks
    size = len(landmarks) if basis is None else basis.shape[1]
    gram = landmarks.new_zeros(size, size)
    linear = landmarks.new_zeros(len(scores), len(landmarks), form.linear_width())
    for place, U in rows.chunks(len(landmarks), positions):
        base_scores = torch.stack([score.score(U) for score in scores])
        more = form.accumulate(U, rows.weights[place], base_scores, basis)
        gram += more[0]
        linear += more[1]
    return QuadraticLoss(gram, linear, scores, basis)


def losses_of_parts(
    rows: Rows,
    form: Form,
    scores: list[BaseScore],
    split: Split,
    basis: Tensor | None = None,
) -> list[QuadraticLoss]:
    """Return the `quadratic_loss` of each part of a split."""
    # One part after the other: few rows of a part cost a whole Gram matrix.
    return [
        quadratic_loss(rows, form, scores, split.positions(part), basis)
        for part in range(split.n_parts)
    ]


def total_loss(losses: list[QuadraticLoss], scores: list[BaseScore]) -> QuadraticLoss:
    """Return the sum of losses, for some of their scores."""
    return QuadraticLoss(
        torch.stack([loss.gram for loss in losses]).sum(0),
        torch.stack([loss.linear_of(scores) for loss in losses]).sum(0),
        scores,
        losses[0].basis,
    )


def narrow_basis(form: Form, whitening: Whitening) -> Tensor | None:
    """Return the whitened basis where it has so few fields that their Gram matrix pays.

    It is also exact where the other is not: a wide kernel has tiny eigenvalues, and to
    divide a Gram matrix by them afterwards would enlarge its rounding errors far beyond
    the strengths that such a kernel needs.
    """
    few = 2 * len(whitening.pivots) * form.field_width() < len(whitening.penalty)
    return whitening.basis if few else None
