"""The Gaussian base score ``s₀(u) = −P (u − μ)``, its shrinkage chosen from the sample.

The precision ``P = ((1 − α) S + α T)⁻¹`` shrinks the covariance ``S`` linearly to a
target ``T``, as Ledoit and Wolf (2004) do; here ``T`` is a multiple of the identity in
coordinates of unit scale or, where columns share a unit, in that unit. Their formula
for ``α`` minimises the error of the covariance, which wipes out its small eigenvalues;
a score needs the inverse, so ``α`` and ``T`` minimise the cross-validated Hyvärinen
loss of the Gaussian (Hyvärinen 2005), ``½ tr(P M P) − tr P`` with ``M`` the held-out
covariance, averaged over several draws of folds. The draws are the same at every call,
so that the choice depends on nothing but the sample. The variances of the columns are
those of the rows of each fit: the scale of all rows would show it those held out, also
where one row at a time is left out.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from .moments import Moments, diagonal, moments_of_parts
from .planes import axes_of_plane
from .products import inner_products
from .rows import Rows
from .splits import N_FOLDS, Split

ROUNDING = 1e-15
"""Smaller eigenvalues, relative to the mean variance, are as often negative."""

SHRINKAGES = (0.0, *(10.0 ** (-step / 2) for step in range(16, -1, -1)))
"""Shrinkages to compare."""

SHRINKAGE_OF_A_HANDFUL = 0.5
"""Halfway, where there are too few rows for folds to choose."""

DRAWS = 4
"""Draws of folds.

The mean of their losses hangs less on how they were drawn; each takes a pass over the
rows.
"""


@dataclass(frozen=True)
class GaussianScore:
    """The score of a Gaussian in coordinates of unit scale.

    Attributes
    ----------
    mean : Tensor of shape (d,)
    precision : Tensor of shape (d, d)
    """

    mean: Tensor
    precision: Tensor

    def score(self, U: Tensor) -> Tensor:
        """Return ``−P (u − μ)`` of shape (n, d)."""
        return (self.mean - U) @ self.precision

    def divergence(self, U: Tensor, metric: Tensor) -> Tensor:
        """Return ``−tr(M P)`` with ``M = diag(metric)`` for each row, of shape (n,)."""
        return -(metric @ self.precision.diagonal()).expand(len(U))

    def log_density(self, U: Tensor) -> Tensor:
        """Return ``−½ (u − μ)ᵀ P (u − μ)`` of shape (n,)."""
        return 0.5 * inner_products(U - self.mean, self.score(U))

    def stretched(self, ratio: Tensor) -> Self:
        """Return the same score in coordinates ``u' = ratio · u``."""
        precision = self.precision / torch.outer(ratio, ratio)
        return replace(self, mean=self.mean * ratio, precision=precision)


@dataclass(frozen=True)
class GaussianFit:
    """Gaussian scores of a sample and of the complements of its parts.

    Attributes
    ----------
    shrinkage : float
        The chosen ``α``.
    rows : Rows
        In coordinates of the plane that holds the sample.
    full : GaussianScore
        From all rows.
    without : list of GaussianScore
        One for each part held out, from the other rows.
    """

    shrinkage: float
    rows: Rows
    full: GaussianScore
    without: list[GaussianScore]

    @property
    def scores(self) -> list[GaussianScore]:
        """The score from all rows, then one for each part held out."""
        return [self.full, *self.without]

    def silent(self) -> Self:
        """Return the same with all scores zero, for an estimate without a base."""
        full, *without = (
            replace(score, precision=torch.zeros_like(score.precision))
            for score in self.scores
        )
        return replace(self, full=full, without=without)


def fit_gaussian(rows: Rows, split: Split) -> GaussianFit:
    """Fit the Gaussian base score.

    Parameters
    ----------
    rows : Rows
    split : Split
        Parts of the rows, each held out in turn.

    Returns
    -------
    fit : GaussianFit
    """
    parts = moments_of_parts(rows, split)
    total = parts.sum()
    squares = diagonal(total.second) / total.weight
    axes = axes_of_plane(total.covariance(total.mean), squares, rows)
    if axes is not None:
        rows = replace(rows, axes=axes)
        parts = moments_of_parts(rows, split)
        total = parts.sum()
    held_out = parts[: split.n_held_out if rows.dimension > 0 else 0]
    shrinkage, target = _best_shrinkage(rows, split, total, held_out)
    return GaussianFit(
        shrinkage,
        rows,
        _shrunk(total, shrinkage, target),
        [
            _shrunk(total - held_out[part], shrinkage, target)
            for part in range(len(held_out.weight))
        ],
    )


Target = Callable[[Tensor], Tensor]
"""From the variances of coordinates, factors after which ``T`` is the identity."""


def _best_shrinkage(
    rows: Rows, split: Split, total: Moments, held_out: Moments
) -> tuple[float, Target]:
    """Return the ``α`` and the target of least held-out loss."""
    targets = _targets(rows)
    if len(held_out.weight) == 0:
        return SHRINKAGE_OF_A_HANDFUL, targets[0]
    draws, n_train = [held_out], split.n_kept
    if split.in_folds:
        folds = [_folds(rows, seed) for seed in range(DRAWS)]
        draws, n_train = [moments_of_parts(rows, s) for s in folds], folds[0].n_kept
    losses = torch.stack(
        [
            torch.stack(
                [_held_out_losses(total, draw, target, n_train) for draw in draws]
            ).mean(0)
            for target in targets
        ]
    )
    place = int(losses.argmin())
    target = targets[place // len(SHRINKAGES)]
    return SHRINKAGES[place % len(SHRINKAGES)], target


def _targets(rows: Rows) -> list[Target]:
    """Return the targets to compare."""
    axes = rows.axes
    # Axes of a plane that are no columns have no scale of their own.
    columns = axes is None or int((axes != 0).sum()) == rows.dimension
    targets: list[Target] = [_own_scale if columns else torch.ones_like]
    if rows.commensurable:
        common = rows.ratio_to_common_scale()
        targets.append(lambda _: common)
    return targets


def _folds(rows: Rows, seed: int) -> Split:
    """Return folds that depend on the number of rows and the seed alone."""
    n = len(rows)
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.randperm(n, generator=generator) % N_FOLDS).to(rows.device)
    return Split(labels, N_FOLDS, N_FOLDS, rows.lowest_ranks(n), n - -(-n // N_FOLDS))


def _own_scale(variances: Tensor) -> Tensor:
    """Return the factors that give columns unit variance; 1 for constant ones."""
    return torch.where(variances > 0, variances, 1.0).rsqrt()


def _eigen(moments: Moments) -> tuple[Tensor, Tensor, Tensor]:
    """Return the target's variance, and relative to it ``S = V diag(σ) Vᵀ``."""
    covariance = moments.covariance(moments.mean)
    variance = diagonal(covariance).mean(-1)
    eigenvalues, vectors = torch.linalg.eigh(covariance / variance[..., None, None])
    return variance, eigenvalues.clamp(min=ROUNDING), vectors


def _held_out_losses(
    total: Moments,
    parts: Moments,
    target: Target,
    n_train: int,
) -> Tensor:
    """Return the held-out loss for each shrinkage in the coordinates of a target."""
    rest = total - parts
    ratio = target(rest.variances)
    train, test = rest.stretched(ratio), parts.stretched(ratio)
    variance, eigenvalues, vectors = _eigen(train)
    held_out = vectors.mT @ test.covariance(train.mean) @ vectors
    # The loss is that of coordinates u, whatever the target.
    metric = vectors.mT @ (ratio.square()[..., :, None] * vectors)
    shrinkage = eigenvalues.new_tensor(SHRINKAGES)[:, None]
    relative = (1.0 - shrinkage) * eigenvalues[:, None] + shrinkage
    precision = 1.0 / (relative * variance[:, None, None])
    squares = ((precision @ (metric * held_out)) * precision).sum(-1)
    slopes = (precision @ diagonal(metric)[..., None])[..., 0]
    losses = parts.weight @ (0.5 * squares - slopes)
    if n_train <= len(total.first) + 1:
        losses[0] = torch.inf
    # A column that is constant among the training rows makes ∞ − ∞ at no shrinkage.
    return losses.nan_to_num(nan=torch.inf)


def _shrunk(moments: Moments, shrinkage: float, target: Target) -> GaussianScore:
    """Return the score of the Gaussian whose covariance is shrunk to a target."""
    if len(moments.first) == 0:
        return GaussianScore(moments.mean, torch.zeros_like(moments.second))
    ratio = target(moments.variances)
    moments = moments.stretched(ratio)
    variance, eigenvalues, vectors = _eigen(moments)
    precision = 1.0 / (((1.0 - shrinkage) * eigenvalues + shrinkage) * variance)
    score = GaussianScore(moments.mean, (vectors * precision) @ vectors.T)
    return score.stretched(1.0 / ratio)
