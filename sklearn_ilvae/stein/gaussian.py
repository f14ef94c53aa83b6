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

from .rows import N_FOLDS, Rows, Split

# Below this share of the largest eigenvalue a direction is an exact linear combination
# of others, up to the rounding of float32 input.
_RANK_TOLERANCE = 1e-12
# Smaller eigenvalues, relative to the mean variance, are as often negative.
_ROUNDING = 1e-15
# So many tell rounding from a spread.
_ROWS_OF_A_PLANE = 1000
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
        return 0.5 * ((U - self.mean) * self.score(U)).sum(1)

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
    axes = _axes_of_plane(parts.sum(), rows)
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


def _axes_of_plane(moments: _Moments, rows: Rows) -> Tensor | None:
    """Return the axes, see `Rows`, of the plane that holds the sample.

    None where the sample varies along every column and combination of columns.
    """
    covariance, inverse_scale = moments.covariance(moments.mean), rows.inverse_scale
    identity = torch.diag(torch.ones_like(inverse_scale))
    # With fewer rows than columns every sample lies in a plane, which says nothing.
    if len(rows) <= len(identity):
        constant = inverse_scale == 0
        return identity[:, ~constant] if constant.any() else None
    # Some of the rows may not vary where all of them do.
    variances, squares = _diagonal(covariance), _diagonal(moments.second)
    still = variances <= _RANK_TOLERANCE * squares / moments.weight
    deviations = variances.clamp(min=0.0).sqrt().masked_fill(still, 0.0)
    unit = (1.0 / deviations).masked_fill(deviations == 0, 0.0)
    eigenvalues, vectors = torch.linalg.eigh(covariance * _outer(unit))
    inside = eigenvalues > _RANK_TOLERANCE * eigenvalues[-1]
    if inside.all():
        return None
    Z = rows.read(rows.lowest_ranks(_ROWS_OF_A_PLANE)) * unit
    offset = rows.center * inverse_scale * unit
    found = _told_from_rounding(Z, offset, vectors[:, ~inside])
    vectors[:, ~inside], inside[~inside] = found
    if inside.all():
        return None
    if int(inside.sum()) == int((deviations > 0).sum()):
        return identity[:, deviations > 0]
    basis = vectors[:, inside]
    lengths = (deviations / inverse_scale).masked_fill(deviations == 0, 0.0)
    return _orthogonal_axes(basis @ basis.T, lengths, inverse_scale)


def _told_from_rounding(
    Z: Tensor, offset: Tensor, directions: Tensor
) -> tuple[Tensor, Tensor]:
    """Turn directions so that rows vary along some of them, and tell along which.

    A row far from all others hides how these vary: each counts relative to its own
    size, and varies where it moves by more than the rounding of that.

    Parameters
    ----------
    Z : Tensor of shape (n, d)
        Some rows.
    offset : Tensor of shape (d,)
        What was subtracted from them.
    directions : Tensor of shape (d, q)

    Returns
    -------
    directions : Tensor of shape (d, q)
    vary : Tensor of shape (q,)
    """
    place = Z @ directions
    size = (Z.abs() + offset.abs()).sum(1, keepdim=True)
    # A linear combination of columns that is constant is so from any row on.
    relative = (place - place[size.argmin()]) / size
    shares, turn = torch.linalg.eigh(relative.T @ relative / len(Z))
    return directions @ turn, shares > _RANK_TOLERANCE


def _orthogonal_axes(
    projector: Tensor, lengths: Tensor, inverse_scale: Tensor
) -> Tensor:
    """Return the axes of a plane given where columns have unit variance.

    Columns that share no linear combination are kept apart: together the rounding of
    columns of small numbers would tilt the plane along those of large ones.

    Parameters
    ----------
    projector : Tensor of shape (d, d)
        On the plane, in coordinates of unit variance.
    lengths : Tensor of shape (d,)
        Standard deviations in the units of X; 0 for constant columns.
    inverse_scale : Tensor of shape (d,)

    Returns
    -------
    axes : Tensor of shape (d, r)
    """
    linked = projector.abs() > _RANK_TOLERANCE**0.5
    group, before = torch.arange(len(linked), device=linked.device), None
    while before is None or not torch.equal(group, before):
        before = group
        group = torch.where(linked, group, len(linked)).amin(1)
    axes = []
    for members in (group == g for g in group[lengths > 0].unique()):
        shares, vectors = torch.linalg.eigh(projector[members][:, members])
        largest = lengths[members].max()
        span = vectors[:, shares > 0.5] * (lengths[members] / largest)[:, None]
        basis = torch.linalg.qr(span).Q
        # Of all orthonormal bases in X, one that the scales leave orthogonal.
        scale = (inverse_scale[members] * largest)[:, None]
        _, stretch, turn = torch.linalg.svd(scale * basis, full_matrices=False)
        block = projector.new_zeros(len(lengths), len(stretch))
        block[members] = basis @ turn.T * stretch / scale
        axes.append(block)
    return torch.cat(axes, 1)


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
