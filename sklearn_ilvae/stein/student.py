"""The score of an elliptical Student t as base score, for heavy tails.

Location and scatter by the EM algorithm of Lange, Little & Taylor (1989, "Robust
statistical modeling using the t distribution"); the degrees of freedom are those of a
grid with the largest likelihood. It has no largest value where one point has a share
``w ≥ ν / (ν + r)`` of the sample: the scatter shrinks to that point (Kent & Tyler 1991,
"Redescending M-estimates of location and scatter").
"""

import math
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from .products import inner_products

FREEDOMS = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0, 30.0, 50.0)
"""Degrees of freedom to compare. The largest stands for the limit, a Gaussian."""

ITERATIONS = 15
"""Steps of EM.

Each run starts where that of the next larger freedom ended, near its own end.
"""


@dataclass(frozen=True)
class StudentScore:
    """The score of a Student t with ``ν`` degrees of freedom in r dimensions.

    Attributes
    ----------
    mean : Tensor of shape (d,)
        The location ``μ``.
    precision : Tensor of shape (d, d)
        The inverse scatter ``P``.
    freedom : float
        The ``ν``.
    exponent : float
        ``ν + r``.
    """

    mean: Tensor
    precision: Tensor
    freedom: float
    exponent: float

    def _pull(self, U: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``P (u − μ)`` and ``ν + (u − μ)ᵀ P (u − μ)``."""
        difference = U - self.mean
        pull = difference @ self.precision
        distance = inner_products(pull, difference)
        # Far away squares overflow, to inf − inf in the worst case.
        return pull, self.freedom + distance.nan_to_num(nan=torch.inf, posinf=torch.inf)

    def score(self, U: Tensor) -> Tensor:
        """Return ``−(ν + r) P (u − μ) / (ν + (u − μ)ᵀ P (u − μ))`` of shape (n, d)."""
        pull, scale = self._pull(U)
        return pull * (-self.exponent / scale)[:, None]

    def divergence(self, U: Tensor, metric: Tensor) -> Tensor:
        """Return the trace of the Jacobian, weighted by the metric, of shape (n,)."""
        pull, scale = self._pull(U)
        trace = metric @ self.precision.diagonal()
        bent = 2.0 * (pull / scale.sqrt()[:, None]).square() @ metric
        return (bent - trace) * self.exponent / scale

    def log_density(self, U: Tensor) -> Tensor:
        """Return the log-density up to a constant, of shape (n,)."""
        return -0.5 * self.exponent * self._pull(U)[1].log()

    def stretched(self, ratio: Tensor) -> Self:
        """Return the same score in coordinates ``u' = ratio · u``."""
        precision = self.precision / torch.outer(ratio, ratio)
        return replace(self, mean=self.mean * ratio, precision=precision)


@dataclass(frozen=True)
class Student:
    """Location, scatter and degrees of freedom of a Student t."""

    location: Tensor
    scatter: Tensor
    freedom: float

    def as_score(self) -> StudentScore:
        """Return the score of the distribution."""
        return StudentScore(
            self.location,
            torch.linalg.inv(self.scatter),
            self.freedom,
            self.freedom + len(self.location),
        )


def fit_student(
    V: Tensor, weights: Tensor, shrinkage: float, heaviest: float
) -> Student | None:
    """Fit a Student t, its degrees of freedom by the likelihood.

    Parameters
    ----------
    V : Tensor of shape (n, r)
    weights : Tensor of shape (n,)
        They sum to 1.
    shrinkage : float
        Shrinkage of the scatter towards a multiple of the identity.
    heaviest : float
        The largest share of one row in this or any other sample that the degrees of
        freedom are to fit.

    Returns
    -------
    student : Student or None
        None where a Gaussian, the limit, is no worse.
    """
    location = weights @ V
    start = Student(
        location,
        _shrunk((V - location).T @ ((V - location) * weights[:, None]), shrinkage),
        FREEDOMS[-1],
    )
    best, highest = start, -math.inf
    for freedom in reversed(FREEDOMS):
        if heaviest * (freedom + V.shape[1]) >= freedom:
            break
        start = run_student_em(V, weights, start, freedom, shrinkage)
        likelihood = _log_likelihood(V, weights, start)
        if likelihood > highest:
            best, highest = start, likelihood
    return None if best.freedom == FREEDOMS[-1] else best


def run_student_em(
    V: Tensor, weights: Tensor, start: Student, freedom: float, shrinkage: float
) -> Student:
    """Return the Student t of given degrees of freedom after EM, from a start."""
    weights = weights / weights.sum()
    # Sums over rows take half the time where the entries of a column lie together.
    columns = V.T.contiguous()
    location, scatter = start.location, start.scatter
    for _ in range(ITERATIONS):
        difference = columns - location[:, None]
        distance = (torch.linalg.inv(scatter) @ difference).mul_(difference).sum(0)
        mass = weights * (freedom + len(columns)) / (freedom + distance)
        location = (columns @ mass) / mass.sum()
        difference = columns - location[:, None]
        scatter = _shrunk((difference * mass) @ difference.T, shrinkage)
    return Student(location, scatter, freedom)


def _shrunk(scatter: Tensor, shrinkage: float) -> Tensor:
    identity = torch.eye(len(scatter), dtype=scatter.dtype, device=scatter.device)
    # Rounding must leave a positive matrix.
    share = max(shrinkage, 1e-12)
    return (1.0 - share) * scatter + share * scatter.diagonal().mean() * identity


def _log_likelihood(V: Tensor, weights: Tensor, student: Student) -> float:
    nu, r = student.freedom, V.shape[1]
    difference = V - student.location
    distance = inner_products(
        difference @ torch.linalg.inv(student.scatter), difference
    )
    constant = math.lgamma((nu + r) / 2) - math.lgamma(nu / 2) - r / 2 * math.log(nu)
    constant -= 0.5 * float(torch.linalg.slogdet(student.scatter).logabsdet)
    return constant - 0.5 * (nu + r) * float(weights @ torch.log1p(distance / nu))
