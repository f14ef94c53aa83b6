"""Weighted means and covariances of the parts of a sample."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .rows import Rows
from .splits import Split


@dataclass(frozen=True)
class Moments:
    """Moments of rows, or of several sets of them.

    Attributes
    ----------
    weight : Tensor of shape (...)
    first : Tensor of shape (..., d)
        Weighted sums of the rows.
    second : Tensor of shape (..., d, d)
        Weighted sums of their outer products.
    """

    weight: Tensor
    first: Tensor
    second: Tensor

    def __getitem__(self, sets: slice | int) -> "Moments":
        return Moments(self.weight[sets], self.first[sets], self.second[sets])

    def sum(self) -> "Moments":
        """Return the moments of all sets together."""
        return Moments(self.weight.sum(0), self.first.sum(0), self.second.sum(0))

    def without(self, sets: slice | int) -> "Moments":
        """Return the moments of all sets but one, for each of some.

        To subtract one from all would lose the rest to rounding where it is far larger.
        """
        others = (1.0 - torch.ones_like(self.weight).diag())[sets]
        return Moments(
            others @ self.weight,
            others @ self.first,
            torch.tensordot(others, self.second, 1),
        )

    @property
    def mean(self) -> Tensor:
        """Means, of shape (..., d)."""
        return self.first / self.weight[..., None]

    @property
    def variances(self) -> Tensor:
        """Variances of the coordinates, of shape (..., d)."""
        return diagonal(self.covariance(self.mean))

    def stretched(self, ratio: Tensor) -> "Moments":
        """Return the moments of ``ratio · u``."""
        return Moments(self.weight, self.first * ratio, self.second * _outer(ratio))

    def covariance(self, about: Tensor) -> Tensor:
        """Return the second moment about a point, of shape (..., d, d)."""
        own = self.second / self.weight[..., None, None] - _outer(self.mean)
        return own.add(_outer(self.mean - about))


def diagonal(matrices: Tensor) -> Tensor:
    """Return the diagonals (..., d) of matrices (..., d, d)."""
    return matrices.diagonal(dim1=-2, dim2=-1)


def _outer(vectors: Tensor) -> Tensor:
    return vectors[..., :, None] * vectors[..., None, :]


def moments_of_parts(rows: Rows, split: Split) -> Moments:
    """Return the moments of each part of the rows."""
    d = rows.dimension
    weight = rows.weights.new_zeros(split.n_parts)
    first = rows.weights.new_zeros(split.n_parts, d)
    second = rows.weights.new_zeros(split.n_parts, d, d)
    for place, block in rows.chunks(1):
        for part in range(split.n_parts):
            inside = split.labels[place] == part
            shares, some = rows.weights[place][inside], block[inside]
            weight[part] += shares.sum()
            first[part] += shares @ some
            second[part] += (some * shares[:, None]).T @ some
    return Moments(weight, first, second)
