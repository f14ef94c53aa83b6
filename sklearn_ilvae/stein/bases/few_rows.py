"""Shrunk covariances of no more rows than coordinates, in time linear in those.

Of a sample ``A`` of n rows the matrix ``AᵀA`` has at most n eigenvalues that are not 0,
those of ``AAᵀ``. All that a Gaussian needs of it are products of rows with each other.
"""

import torch
from torch import Tensor

from ..products import gram_matrix, inner_products
from ..sample.planes import axes_of_few_rows
from ..sample.rows import Rows
from ..sample.splits import Split
from .elliptical import GaussianScore
from .many_rows import ROUNDING, Target


class FewRows:
    """What a Gaussian needs of no more rows than coordinates.

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
        self.V = rows.read(slice(None))

    def axes(self) -> Tensor | None:
        """Return the axes of the plane that holds the rows."""
        return axes_of_few_rows(self.V, self.rows)

    def score(
        self, part: int | None, shrinkage: float, target: Target
    ) -> GaussianScore:
        """Return the score with the inverse of the shrunk covariance of rows.

        ``(D⁻¹ + AᵀA)⁻¹ = D − FᵀF`` with ``F = (1 + A D Aᵀ)^(−1/2) A D`` (Woodbury
        1950), where the diagonal ``D⁻¹`` is the share of the target.

        Parameters
        ----------
        part : int or None
            The part that is left out, if any.
        shrinkage : float
        target : callable
        """
        kept = slice(None) if part is None else self.split.others(part)
        weights = self.rows.weights[kept] / self.rows.weights[kept].sum()
        mean, difference, variances = _centered(self.V[kept], weights)
        squares = target(variances).square()
        shared = (variances * squares).mean()
        diagonal = squares / (max(shrinkage, ROUNDING) * shared)
        if shrinkage == 1.0:
            return GaussianScore(mean, diagonal, factor=difference[:0])
        shares = ((1.0 - shrinkage) * weights).sqrt()
        A = difference * shares[:, None] * diagonal.sqrt()
        eigenvalues, turn = torch.linalg.eigh(gram_matrix(A.T))
        turn = turn * (1.0 + eigenvalues.clamp(min=0.0)).rsqrt()
        return GaussianScore(mean, diagonal, factor=turn.T @ A * diagonal.sqrt())

    def losses(self, target: Target, shrinkages: Tensor) -> Tensor:
        """Return the mean held-out loss for each shrinkage, infinite for 0.

        Parameters
        ----------
        target : callable
        shrinkages : Tensor of shape (l,)

        Returns
        -------
        losses : Tensor of shape (l,)
        """
        total = torch.zeros_like(shrinkages)
        for draw in self.draws:
            for part in range(draw.n_held_out):
                total += self._losses_of(draw.labels == part, target, shrinkages)
        losses = (total / len(self.draws)).masked_fill(shrinkages == 0, torch.inf)
        return losses.nan_to_num(nan=torch.inf, posinf=torch.inf)

    def _losses_of(
        self, held_out: Tensor, target: Target, shrinkages: Tensor
    ) -> Tensor:
        """Return the summed losses ``w (½‖P (u − μ)‖² − tr P)`` of rows held out."""
        train, test = self.rows.weights[~held_out], self.rows.weights[held_out]
        shares = train / train.sum()
        mean, difference, variances = _centered(self.V[~held_out], shares)
        ratio = target(variances)
        variance = (variances * ratio.square()).mean()
        A = difference * ratio * shares.sqrt()[:, None]
        points = torch.cat([A, (self.V[held_out] - mean) * ratio])

        # With AAᵀ = v H diag(σ) Hᵀ and R the ratios, P is
        # R (1 − AᵀH diag(g) HᵀA) R / (α v). The loss is that of columns in their own
        # scales.
        k = len(A)
        unit = ratio / self.rows.ratio_to_own_scale()
        near, far = gram_matrix(points.T), gram_matrix((points * unit).T)
        eigenvalues, turn = torch.linalg.eigh(near[:k, :k] / variance)
        along = turn.T @ near[:k, k:]
        mixed = ((turn.T @ far[:k, k:]) * along) @ test
        inner = turn.T @ far[:k, :k] @ turn
        pairs = inner * ((along * test) @ along.T)

        keep = 1.0 - shrinkages[:, None]
        relative = keep * eigenvalues.clamp(min=ROUNDING) + shrinkages[:, None]
        gains = keep / (variance * relative)
        squares = far.diagonal()[k:] @ test - 2.0 * gains @ mixed
        squares = squares + inner_products(gains @ pairs, gains)
        slopes = unit.square().sum() - gains @ inner.diagonal()
        scale = 1.0 / (shrinkages * variance)
        return 0.5 * scale.square() * squares - test.sum() * scale * slopes


def _centered(V: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean of rows, their differences from it and their variances.

    Variances are exactly 0 where rows do not vary: rounding errors would become scales.
    """
    mean = weights @ V
    difference = V - mean
    variances = weights @ difference.square()
    rounding = ROUNDING * (weights @ V.square())
    return mean, difference, variances.masked_fill(variances <= rounding, 0.0)
