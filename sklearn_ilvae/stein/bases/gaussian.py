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

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from ..sample.rows import Rows
from ..sample.splits import N_FOLDS, Split, folds_of
from .elliptical import GaussianScore
from .few_rows import FewRows
from .many_rows import ManyRows, Target

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
        full, *without = (score.without_pull() for score in self.scores)
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
    draws = [split]
    if split.in_folds:
        draws = [_folds(rows, seed) for seed in range(DRAWS)]
    sample = _sample_of(rows, split, draws)
    axes = sample.axes()
    if axes is not None:
        rows = replace(rows, axes=axes)
        sample = _sample_of(rows, split, draws)
    parts = range(split.n_held_out if rows.dimension > 0 else 0)
    shrinkage, target = _best_shrinkage(sample, len(parts))
    full, *without = (sample.score(part, shrinkage, target) for part in (None, *parts))
    return GaussianFit(shrinkage, rows, full, without)


def _sample_of(rows: Rows, split: Split, draws: list[Split]) -> FewRows | ManyRows:
    kind = FewRows if rows.few else ManyRows
    return kind(rows, split, draws)


def _best_shrinkage(
    sample: FewRows | ManyRows, n_held_out: int
) -> tuple[float, Target]:
    """Return the ``α`` and the target of least held-out loss."""
    targets = _targets(sample.rows)
    if n_held_out == 0:
        return SHRINKAGE_OF_A_HANDFUL, targets[0]
    shrinkages = sample.rows.weights.new_tensor(SHRINKAGES)
    losses = torch.stack([sample.losses(target, shrinkages) for target in targets])
    place = int(losses.argmin())
    target = targets[place // len(SHRINKAGES)]
    return SHRINKAGES[place % len(SHRINKAGES)], target


def _targets(rows: Rows) -> list[Target]:
    """Return the targets to compare."""
    # Axes of a plane that are no columns have no scale of their own.
    targets: list[Target] = [_own_scale if rows.along_columns else torch.ones_like]
    if rows.commensurable:
        common = rows.ratio_to_common_scale()
        targets.append(lambda _: common)
    return targets


def _folds(rows: Rows, seed: int) -> Split:
    """Return folds that depend on the number of rows and the seed alone."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(rows), generator=generator, device=generator.device)
    return folds_of(rows, order.to(rows.device), N_FOLDS)


def _own_scale(variances: Tensor) -> Tensor:
    """Return the factors that give columns unit variance; 1 for constant ones."""
    return torch.where(variances > 0, variances, 1.0).rsqrt()
