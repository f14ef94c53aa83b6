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

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .planes import axes_of_plane
from .products import inner_products
from .rows import Rows
from .splits import N_FOLDS, Split

# Smaller eigenvalues, relative to the mean variance, are as often negative.
_ROUNDING = 1e-15
_SHRINKAGES = (0.0, *(10.0 ** (-k / 2) for k in range(16, -1, -1)))
# Halfway, where there are too few rows for folds to choose.
_SHRINKAGE_OF_A_HANDFUL = 0.5
# Their mean hangs less on how the folds were drawn; each takes a pass over the rows.
_DRAWS = 4


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

    def stretched(self, ratio: Tensor) -> GaussianScore:
        """Return the same score in coordinates ``u' = ratio · u``."""
        precision = self.precision / torch.outer(ratio, ratio)
        return GaussianScore(self.mean * ratio, precision)


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

    def silent(self) -> GaussianFit:
        """Return the same with all scores zero, for an estimate without a base."""
        full, *without = (
            replace(score, precision=torch.zeros_like(score.precision))
            for score in (self.full, *self.without)
        )
        return replace(self, full=full, without=without)


@dataclass(frozen=True)
class _Moments:
    """Weight (…,), sum (…, d) and sum of squares (…, d, d) of sets of rows."""

    weight: Tensor
    first: Tensor
    second: Tensor

    def __sub__(self, other: _Moments) -> _Moments:
        return _Moments(
            self.weight - other.weight,
            self.first - other.first,
            self.second - other.second,
        )

    def __getitem__(self, sets: slice | int) -> _Moments:
        return _Moments(self.weight[sets], self.first[sets], self.second[sets])

    def sum(self) -> _Moments:
        """Return the moments of all rows."""
        return _Moments(self.weight.sum(0), self.first.sum(0), self.second.sum(0))

    @property
    def mean(self) -> Tensor:
        return self.first / self.weight[..., None]

    @property
    def variances(self) -> Tensor:
        return _diagonal(self.covariance(self.mean))

    def stretched(self, ratio: Tensor) -> _Moments:
        """Return the moments of ``ratio · u``."""
        return _Moments(self.weight, self.first * ratio, self.second * _outer(ratio))

    def covariance(self, about: Tensor) -> Tensor:
        own = self.second / self.weight[..., None, None] - _outer(self.mean)
        return own.add(_outer(self.mean - about))


def _outer(vectors: Tensor) -> Tensor:
    return vectors[..., :, None] * vectors[..., None, :]


def _diagonal(matrices: Tensor) -> Tensor:
    return matrices.diagonal(dim1=-2, dim2=-1)


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
    parts = _moments_of_parts(rows, split)
    total = parts.sum()
    squares = _diagonal(total.second) / total.weight
    axes = axes_of_plane(total.covariance(total.mean), squares, rows)
    if axes is not None:
        rows = replace(rows, axes=axes)
        parts = _moments_of_parts(rows, split)
        total = parts.sum()
    n_held_out = split.n_held_out if rows.dimension > 0 else 0
    held_out = parts[:n_held_out]
    draws, n_train = [held_out], split.n_kept
    if split.in_folds:
        splits = [_folds(rows, seed) for seed in range(_DRAWS)]
        draws, n_train = [_moments_of_parts(rows, s) for s in splits], splits[0].n_kept
    # Axes of a plane that are no columns have no scale of their own.
    columns = axes is None or int((axes != 0).sum()) == rows.dimension
    common = rows.ratio_to_common_scale()
    targets: list[Callable[[Tensor], Tensor]]
    targets = [_own_scale] if columns else [torch.ones_like]
    if common is not None:
        targets.append(lambda _: common)
    target, shrinkage = targets[0], _SHRINKAGE_OF_A_HANDFUL
    if n_held_out > 0:
        losses = torch.stack(
            [
                torch.stack(
                    [_held_out_losses(total, d, t, n_train) for d in draws]
                ).mean(0)
                for t in targets
            ]
        )
        place = int(losses.argmin())
        target = targets[place // len(_SHRINKAGES)]
        shrinkage = _SHRINKAGES[place % len(_SHRINKAGES)]

    def score(moments: _Moments) -> GaussianScore:
        ratio = target(moments.variances)
        stretched = _gaussian(moments.stretched(ratio), shrinkage)
        return stretched.stretched(1.0 / ratio)

    without = [score(total - held_out[part]) for part in range(n_held_out)]
    return GaussianFit(shrinkage, rows, score(total), without)


def _folds(rows: Rows, seed: int) -> Split:
    n = len(rows)
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.randperm(n, generator=generator) % N_FOLDS).to(rows.device)
    return Split(labels, N_FOLDS, N_FOLDS, rows.lowest_ranks(n), n - -(-n // N_FOLDS))


def _own_scale(variances: Tensor) -> Tensor:
    """Return the factors that give columns unit variance; 1 for constant ones."""
    return torch.where(variances > 0, variances, 1.0).rsqrt()


def _moments_of_parts(rows: Rows, split: Split) -> _Moments:
    d = rows.dimension
    weight = rows.weights.new_zeros(split.n_parts)
    first = rows.weights.new_zeros(split.n_parts, d)
    second = rows.weights.new_zeros(split.n_parts, d, d)
    for place, block in rows.chunks(1):
        for part in range(split.n_parts):
            inside = split.labels[place] == part
            w, u = rows.weights[place][inside], block[inside]
            weight[part] += w.sum()
            first[part] += w @ u
            second[part] += (u * w[:, None]).T @ u
    return _Moments(weight, first, second)


def _eigen(moments: _Moments) -> tuple[Tensor, Tensor, Tensor]:
    """Return the target's variance, and relative to it ``S = V diag(σ) Vᵀ``."""
    covariance = moments.covariance(moments.mean)
    variance = _diagonal(covariance).mean(-1)
    eigenvalues, vectors = torch.linalg.eigh(covariance / variance[..., None, None])
    return variance, eigenvalues.clamp(min=_ROUNDING), vectors


def _held_out_losses(
    total: _Moments,
    parts: _Moments,
    target: Callable[[Tensor], Tensor],
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
    shrinkage = eigenvalues.new_tensor(_SHRINKAGES)[:, None]
    relative = (1.0 - shrinkage) * eigenvalues[:, None] + shrinkage
    precision = 1.0 / (relative * variance[:, None, None])
    squares = ((precision @ (metric * held_out)) * precision).sum(-1)
    slopes = (precision @ _diagonal(metric)[..., None])[..., 0]
    losses = parts.weight @ (0.5 * squares - slopes)
    if n_train <= len(total.first) + 1:
        losses[0] = torch.inf
    # A column that is constant among the training rows makes ∞ − ∞ at no shrinkage.
    return losses.nan_to_num(nan=torch.inf)


def _gaussian(moments: _Moments, shrinkage: float) -> GaussianScore:
    if len(moments.first) == 0:
        return GaussianScore(moments.mean, torch.zeros_like(moments.second))
    variance, eigenvalues, vectors = _eigen(moments)
    precision = 1.0 / (((1.0 - shrinkage) * eigenvalues + shrinkage) * variance)
    return GaussianScore(moments.mean, (vectors * precision) @ vectors.T)
