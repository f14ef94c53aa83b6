"""The Gaussian base score ``s₀(u) = −P (u − μ)``, its shrinkage chosen from the sample.

The precision ``P = ((1 − α) S + α T)⁻¹`` shrinks the covariance ``S`` linearly to a
target ``T``, as Ledoit and Wolf (2004) do. Their formula for ``α`` minimises the error
of the covariance, which wipes out its small eigenvalues; a score needs the inverse, so
``α`` and the target minimise the cross-validated Hyvärinen loss of the Gaussian
(Hyvärinen 2005), ``½ tr(P M P) − tr P`` with ``M`` the held-out covariance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .rows import Rows

# Below this share of the largest eigenvalue a direction is an exact linear combination
# of others, up to the rounding of float32 input.
_RANK_TOLERANCE = 1e-12
_SHRINKAGES = (0.0, *(10.0 ** (-k / 2) for k in range(16, -1, -1)))
_SHRINKAGE_OF_A_HANDFUL = 0.5


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

    def divergence(self, metric: Tensor) -> Tensor:
        """Return ``−tr(M P)`` with ``M = diag(metric)``, the same for every row."""
        return -(metric @ self.precision.diagonal())

    def log_density(self, U: Tensor) -> Tensor:
        """Return ``−½ (u − μ)ᵀ P (u − μ)`` of shape (n,)."""
        return 0.5 * ((U - self.mean) * self.score(U)).sum(1)


@dataclass(frozen=True)
class GaussianFit:
    """Gaussian scores of a sample and of the complements of its folds.

    Attributes
    ----------
    shrinkage : float
        The chosen ``α``.
    basis : Tensor of shape (d, rank)
        Orthonormal basis of the plane that holds the sample.
    full : GaussianScore
        From all rows.
    without_fold : list of GaussianScore
        One per fold, from the rows of the other folds.
    """

    shrinkage: float
    basis: Tensor
    full: GaussianScore
    without_fold: list[GaussianScore]

    def silent(self) -> GaussianFit:
        """Return the same with all scores zero, for an estimate without a base."""
        full, *without = (
            replace(score, precision=torch.zeros_like(score.precision))
            for score in (self.full, *self.without_fold)
        )
        return replace(self, full=full, without_fold=without)


@dataclass(frozen=True)
class _Moments:
    """Weight, sum and sum of squares of some rows."""

    weight: Tensor
    first: Tensor
    second: Tensor

    def __sub__(self, other: _Moments) -> _Moments:
        return _Moments(
            self.weight - other.weight,
            self.first - other.first,
            self.second - other.second,
        )

    @property
    def mean(self) -> Tensor:
        return self.first / self.weight

    def covariance(self, about: Tensor) -> Tensor:
        mean = self.mean - about
        center = torch.outer(self.mean, self.mean)
        covariance: Tensor = self.second / self.weight - center
        return covariance.add_(torch.outer(mean, mean))


def fit_gaussian(rows: Rows, folds: Tensor, n_folds: int) -> GaussianFit:
    """Fit the Gaussian base score.

    Parameters
    ----------
    rows : Rows
    folds : Tensor of shape (n_distinct,)
        The fold of each distinct row.
    n_folds : int

    Returns
    -------
    fit : GaussianFit
    """
    parts = _fold_moments(rows, folds, n_folds)
    total = _Moments(
        torch.stack([part.weight for part in parts]).sum(0),
        torch.stack([part.first for part in parts]).sum(0),
        torch.stack([part.second for part in parts]).sum(0),
    )
    constant = rows.inverse_scale == 0
    basis = _support(total.covariance(total.mean), constant, len(rows))
    rank = basis.shape[1]
    targets = [torch.ones_like(rows.inverse_scale)]
    isotropic = rows.inverse_scale.square()
    varying = isotropic[~constant]
    # The second target is the same variance for every column, in the units of X.
    # Columns of very different units never share one, and could overflow.
    spread = float(varying.max() / varying.min()) if rank else 1.0
    if 1.0 + 1e-9 < spread < 1e6:
        targets.append(isotropic / varying.mean())

    enough = len(rows) >= 2 * n_folds and rank > 0
    choice = (targets[0], _SHRINKAGE_OF_A_HANDFUL)
    if enough:
        losses = torch.zeros(len(targets), len(_SHRINKAGES), dtype=torch.float64)
        size = len(rows) - (len(rows) + n_folds - 1) // n_folds
        for part in parts:
            for t, target in enumerate(targets):
                losses[t] += _held_out_losses(total - part, part, basis, target, size)
        t, a = divmod(int(losses.argmin()), len(_SHRINKAGES))
        choice = (targets[t], _SHRINKAGES[a])
    target, shrinkage = choice
    without = [_gaussian(total - p, basis, target, shrinkage) for p in parts] * enough
    full = _gaussian(total, basis, target, shrinkage)
    return GaussianFit(shrinkage, basis, full, without)


def _fold_moments(rows: Rows, folds: Tensor, n_folds: int) -> list[_Moments]:
    d = rows.n_features
    weight = rows.weights.new_zeros(n_folds)
    first = rows.weights.new_zeros(n_folds, d)
    second = rows.weights.new_zeros(n_folds, d, d)
    for part, block in rows.chunks(1):
        for fold in range(n_folds):
            inside = folds[part] == fold
            w, u = rows.weights[part][inside], block[inside]
            weight[fold] += w.sum()
            first[fold] += w @ u
            second[fold] += (u * w[:, None]).T @ u
    return [_Moments(*item) for item in zip(weight, first, second, strict=True)]


def _support(covariance: Tensor, constant: Tensor, n_rows: int) -> Tensor:
    """Return an orthonormal basis of the directions in which the sample varies."""
    d = len(covariance)
    identity = torch.eye(d, dtype=covariance.dtype, device=covariance.device)
    varying = identity[:, ~constant]
    # With fewer rows than columns every sample lies in a plane, which says nothing.
    if n_rows <= d or varying.shape[1] == 0:
        return varying
    eigenvalues, vectors = torch.linalg.eigh(covariance)
    inside = eigenvalues > _RANK_TOLERANCE * eigenvalues[-1]
    if int(inside.sum()) == varying.shape[1]:
        return varying
    return vectors[:, inside]


def _whitening(
    moments: _Moments, basis: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """Return ``σ, A`` with ``A S Aᵀ = diag(σ)`` and ``A T Aᵀ = I``, in the basis."""
    covariance = basis.T @ moments.covariance(moments.mean) @ basis
    rotated = (basis.T * target) @ basis
    scale = covariance.diagonal().sum() / rotated.diagonal().sum()
    root = torch.linalg.cholesky(rotated * scale)
    half = torch.linalg.solve_triangular(root, covariance, upper=False)
    inner = torch.linalg.solve_triangular(root, half.T, upper=False)
    eigenvalues, vectors = torch.linalg.eigh((inner + inner.T) / 2)
    return eigenvalues.clamp(min=0.0), torch.linalg.solve_triangular(
        root.T, vectors, upper=True
    ).T


def _held_out_losses(
    train: _Moments, test: _Moments, basis: Tensor, target: Tensor, n_train: int
) -> Tensor:
    """Return the held-out Hyvärinen loss for each shrinkage."""
    eigenvalues, whitening = _whitening(train, basis, target)
    held_out = whitening @ basis.T @ test.covariance(train.mean) @ basis @ whitening.T
    metric = whitening @ whitening.T
    losses = []
    for shrinkage in _SHRINKAGES:
        if shrinkage == 0.0 and n_train <= basis.shape[1] + 1:
            losses.append(torch.inf)
            continue
        gain = 1.0 / ((1.0 - shrinkage) * eigenvalues + shrinkage)
        quadratic = 0.5 * gain @ (held_out * metric) @ gain
        losses.append(float(test.weight * (quadratic - gain @ metric.diagonal())))
    # A column that is constant among the training rows makes 0/0 at no shrinkage.
    return torch.tensor(losses, dtype=torch.float64).nan_to_num(nan=torch.inf)


def _gaussian(
    moments: _Moments, basis: Tensor, target: Tensor, shrinkage: float
) -> GaussianScore:
    if basis.shape[1] == 0:
        return GaussianScore(moments.mean, torch.zeros_like(moments.second))
    eigenvalues, whitening = _whitening(moments, basis, target)
    root = whitening @ basis.T
    gain = 1.0 / ((1.0 - shrinkage) * eigenvalues + shrinkage)
    return GaussianScore(moments.mean, (root.T * gain) @ root)
