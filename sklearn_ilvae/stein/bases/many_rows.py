"""Shrunk covariances of more rows than coordinates, by their second moments."""

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from ..sample.moments import Moments, diagonal, moments_of_parts
from ..sample.planes import axes_of_plane
from ..sample.rows import Rows
from ..sample.splits import Split
from .elliptical import GaussianScore

ROUNDING = 1e-15
"""Smaller eigenvalues, relative to the mean variance, are as often negative."""

Target = Callable[[Tensor], Tensor]
"""From the variances of coordinates, factors after which ``T`` is the identity."""


class ManyRows:
    """What a Gaussian needs of more rows than coordinates.

    Parameters
    ----------
    rows : Rows
    split : Split
        Parts of the rows, each held out in turn.
    draws : list of Split
        Other such parts, to compare shrinkages with.
    """

    def __init__(self, rows: Rows, split: Split, draws: list[Split]) -> None:
        self.rows, self.split, self.draws = rows, split, draws
        self.parts = moments_of_parts(rows, split)
        self.total = self.parts.sum()

    def axes(self) -> Tensor | None:
        """Return the axes of the plane that holds the rows."""
        covariance = self.total.covariance(self.total.mean)
        squares = diagonal(self.total.second) / self.total.weight
        return axes_of_plane(covariance, squares, self.rows)

    def score(
        self, part: int | None, shrinkage: float, target: Target
    ) -> GaussianScore:
        """Return the score with the inverse of the shrunk covariance of rows.

        Parameters
        ----------
        part : int or None
            The part that is left out, if any.
        shrinkage : float
        target : callable
        """
        moments = self.total if part is None else self.parts.without(part)
        if self.rows.dimension == 0:
            return GaussianScore(moments.mean, torch.zeros_like(moments.second))
        ratio = target(moments.variances)
        moments = moments.stretched(ratio)
        variance, eigenvalues, vectors = _eigen(moments)
        relative = (1.0 - shrinkage) * eigenvalues + shrinkage
        precision = (vectors * (1.0 / (relative * variance))) @ vectors.T
        return GaussianScore(moments.mean, precision).stretched(1.0 / ratio)

    def losses(self, target: Target, shrinkages: Tensor) -> Tensor:
        """Return the mean held-out loss for each shrinkage.

        Parameters
        ----------
        target : callable
        shrinkages : Tensor of shape (l,)
            The first is 0.

        Returns
        -------
        losses : Tensor of shape (l,)
        """
        losses = torch.stack(
            [
                self._losses_of(parts, draw.n_held_out, target, shrinkages)
                for draw, parts in zip(self.draws, self._parts_drawn, strict=True)
            ]
        )
        losses = losses.mean(0)
        if self.draws[0].n_kept <= self.rows.dimension + 1:
            losses[0] = torch.inf
        # A column that is constant among the training rows makes ∞ − ∞ at no shrinkage.
        return losses.nan_to_num(nan=torch.inf, posinf=torch.inf)

    @cached_property
    def _parts_drawn(self) -> list[Moments]:
        """The moments of the parts of each draw."""
        return [
            self.parts if draw is self.split else moments_of_parts(self.rows, draw)
            for draw in self.draws
        ]

    def _losses_of(
        self, parts: Moments, n_held_out: int, target: Target, shrinkages: Tensor
    ) -> Tensor:
        """Return the summed losses ``w (½‖P (u − μ)‖² − tr P)`` of parts held out."""
        rest, parts = parts.without(slice(n_held_out)), parts[:n_held_out]
        ratio = target(rest.variances)
        train, test = rest.stretched(ratio), parts.stretched(ratio)
        variance, eigenvalues, vectors = _eigen(train)
        held_out = vectors.mT @ test.covariance(train.mean) @ vectors
        # The loss is that of columns in their own scales, whatever the target.
        unit = ratio / self.rows.ratio_to_own_scale()
        metric = vectors.mT @ (unit.square()[..., :, None] * vectors)
        share = shrinkages[:, None]
        relative = (1.0 - share) * eigenvalues[:, None] + share
        precision = 1.0 / (relative * variance[:, None, None])
        squares = ((precision @ (metric * held_out)) * precision).sum(-1)
        slopes = (precision @ diagonal(metric)[..., None])[..., 0]
        return parts.weight @ (0.5 * squares - slopes)


def _eigen(moments: Moments) -> tuple[Tensor, Tensor, Tensor]:
    """Return the target's variance, and relative to it ``S = V diag(σ) Vᵀ``."""
    covariance = moments.covariance(moments.mean)
    variance = diagonal(covariance).mean(-1)
    eigenvalues, vectors = torch.linalg.eigh(covariance / variance[..., None, None])
    return variance, eigenvalues.clamp(min=ROUNDING), vectors
