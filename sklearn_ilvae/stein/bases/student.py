"""The score of an elliptical Student t as base score, for heavy tails.

Location and scatter by the EM algorithm of Lange, Little & Taylor (1989, "Robust
statistical modeling using the t distribution"); the degrees of freedom are those of a
grid with the largest likelihood. It has no largest value where one point has a share
``w ≥ ν / (ν + r)`` of the sample: the scatter shrinks to that point (Kent & Tyler 1991,
"Redescending M-estimates of location and scatter").

The scatter shrinks to a multiple of the identity by a share of its own, that of the
largest likelihood of rows held out: the covariance of heavy tails is that of a few
rows, and what suits it tells little of the scatter.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..products import gram_matrix, inner_products
from .elliptical import Elliptical

FREEDOMS = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0, 30.0, 50.0)
"""Degrees of freedom to compare. The largest stands for the limit, a Gaussian."""

ITERATIONS = 15
"""Steps of EM.

Each run starts where that of the next larger freedom ended, near its own end.
"""

ITERATIONS_OF_A_SHRINKAGE = 5
"""The same for each shrinkage that is compared, which start nearer to their ends."""

COLUMNS_OF_A_SOLUTION = 4
"""For so many columns, relative to a matrix, to solve takes less than its inverse."""


@dataclass(frozen=True)
class StudentScore(Elliptical):
    """The score of a Student t with ``ν`` degrees of freedom in r dimensions.

    Attributes
    ----------
    freedom : float
        The ``ν``.
    exponent : float
        ``ν + r``.
    """

    freedom: float
    exponent: float

    def _pull(self, U: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``P (u − μ)`` and ``ν + (u − μ)ᵀ P (u − μ)``."""
        pull, distance = self.pull_and_distance(U)
        return pull, self.freedom + distance

    def score(self, U: Tensor) -> Tensor:
        """Return ``−(ν + r) P (u − μ) / (ν + (u − μ)ᵀ P (u − μ))`` of shape (n, d)."""
        pull, scale = self._pull(U)
        return pull * (-self.exponent / scale)[:, None]

    def divergence(self, U: Tensor, metric: Tensor) -> Tensor:
        """Return the trace of the Jacobian, weighted by the metric, of shape (n,)."""
        pull, scale = self._pull(U)
        bent = 2.0 * (pull / scale.sqrt()[:, None]).square() @ metric
        return (bent - self.trace(metric)) * self.exponent / scale

    def log_density(self, U: Tensor) -> Tensor:
        """Return ``−½ (ν + r) log(ν + (u − μ)ᵀ P (u − μ))`` of shape (n,)."""
        return -0.5 * self.exponent * self._pull(U)[1].log()


@dataclass(frozen=True)
class Student:
    """Location, scatter and degrees of freedom of a Student t.

    Attributes
    ----------
    location : Tensor of shape (r,)
    scatter : Tensor of shape (r, r)
    freedom : float
    across : Tensor of shape ()
        The scatter along every direction beyond these coordinates.
    n_across : int
        Number of such directions.
    """

    location: Tensor
    scatter: Tensor
    freedom: float
    across: Tensor
    n_across: int

    @property
    def dimension(self) -> int:
        """Number of all directions."""
        return len(self.location) + self.n_across

    def as_score(self) -> StudentScore:
        """Return the score of the distribution."""
        return StudentScore(
            self.location,
            torch.linalg.inv(self.scatter),
            self.freedom,
            self.freedom + self.dimension,
        )

    def as_score_around(self, origin: Tensor, basis: Tensor) -> StudentScore:
        """Return the score in coordinates of all directions.

        Parameters
        ----------
        origin : Tensor of shape (d,)
            Where the coordinates of the location are 0.
        basis : Tensor of shape (d, r)
            Orthonormal directions of these coordinates.
        """
        eigenvalues, turn = torch.linalg.eigh(self.scatter)
        less = 1.0 / self.across - 1.0 / eigenvalues
        turn, less = turn[:, less > 0], less[less > 0]
        return StudentScore(
            origin + basis @ self.location,
            (1.0 / self.across).expand_as(origin),
            self.freedom,
            self.freedom + self.dimension,
            factor=(turn * less.sqrt()).T @ basis.T,
        )


def fit_student(
    V: Tensor, weights: Tensor, shrinkage: float, heaviest: float, n_across: int
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
    n_across : int
        Number of directions along which all rows are 0.

    Returns
    -------
    student : Student or None
        None where a Gaussian, the limit, is no worse.
    """
    location = weights @ V
    scatter = (V - location).T @ ((V - location) * weights[:, None])
    shrunk = _shrunk(scatter, shrinkage, n_across)
    start = Student(location, shrunk[0], FREEDOMS[-1], shrunk[1], n_across)
    best, highest = start, -math.inf
    for freedom in reversed(FREEDOMS):
        if not has_a_maximum(heaviest, freedom, start.dimension):
            break
        start = run_student_em(V, weights, start, freedom, shrinkage)
        likelihood = log_likelihood(V, weights, start)
        if likelihood > highest:
            best, highest = start, likelihood
    return None if best.freedom == FREEDOMS[-1] else best


def has_a_maximum(heaviest: float, freedom: float, dimension: int) -> bool:
    """Tell whether the likelihood has one where a point has a share of the sample."""
    return heaviest * (freedom + dimension) < freedom


def best_shrinkage(
    V: Tensor,
    weights: Tensor,
    without: list[Tensor],
    start: Student,
    shrinkages: tuple[float, ...],
) -> float:
    """Return the shrinkage of the scatter under which rows held out are likeliest.

    Parameters
    ----------
    V : Tensor of shape (n, r)
    weights : Tensor of shape (n,)
        They sum to 1.
    without : list of Tensor of shape (n,)
        The same with 0 for the rows of a part, for each part held out.
    start : Student
        Whose degrees of freedom all have.
    shrinkages : tuple of float
        To compare, from the smallest.

    Returns
    -------
    shrinkage : float
    """
    totals = dict.fromkeys(reversed(shrinkages), 0.0)
    for rest in without:
        fit, held_out = start, rest < weights
        share = weights[held_out].sum()
        for shrinkage in totals:
            steps = ITERATIONS_OF_A_SHRINKAGE
            fit = run_student_em(V, rest, fit, start.freedom, shrinkage, steps)
            likelihood = log_likelihood(V[held_out], weights[held_out] / share, fit)
            totals[shrinkage] += float(share) * likelihood
    return max(totals, key=lambda shrinkage: totals[shrinkage])


def run_student_em(
    V: Tensor,
    weights: Tensor,
    start: Student,
    freedom: float,
    shrinkage: float,
    iterations: int = ITERATIONS,
) -> Student:
    """Return the Student t of given degrees of freedom after EM, from a start."""
    weights = weights / weights.sum()
    # Sums over rows take half the time where the entries of a column lie together.
    columns = V.T.contiguous()
    location, scatter, across = start.location, start.scatter, start.across
    for _ in range(iterations):
        difference = columns - location[:, None]
        distance = _squared_lengths(scatter, difference)
        mass = weights * (freedom + start.dimension) / (freedom + distance)
        location = (columns @ mass) / mass.sum()
        difference = columns - location[:, None]
        scatter = gram_matrix((difference * mass).T, difference.T)
        scatter, across = _shrunk(scatter, shrinkage, start.n_across)
    return replace(
        start, location=location, scatter=scatter, freedom=freedom, across=across
    )


def _squared_lengths(scatter: Tensor, columns: Tensor) -> Tensor:
    """Return ``vᵀ Σ⁻¹ v`` of columns."""
    if columns.shape[1] <= COLUMNS_OF_A_SOLUTION * len(scatter):
        factor, failed = torch.linalg.cholesky_ex(scatter)
        if not failed:
            solved = torch.linalg.solve_triangular(factor, columns, upper=False)
            return solved.square_().sum(0)
    return (torch.linalg.inv(scatter) @ columns).mul_(columns).sum(0)


def _shrunk(scatter: Tensor, shrinkage: float, n_across: int) -> tuple[Tensor, Tensor]:
    """Return the shrunk scatter, and what it is along directions without rows."""
    identity = torch.eye(len(scatter), dtype=scatter.dtype, device=scatter.device)
    # Rounding must leave a positive matrix.
    share = max(shrinkage, 1e-12)
    across = share * scatter.trace() / (len(scatter) + n_across)
    return (1.0 - share) * scatter + across * identity, across


def log_likelihood(V: Tensor, weights: Tensor, student: Student) -> float:
    """Return the mean log-likelihood of rows, up to a constant of their dimension."""
    nu, r = student.freedom, student.dimension
    difference = V - student.location
    distance = inner_products(
        difference @ torch.linalg.inv(student.scatter), difference
    )
    constant = math.lgamma((nu + r) / 2) - math.lgamma(nu / 2) - r / 2 * math.log(nu)
    log_volume = torch.linalg.slogdet(student.scatter).logabsdet
    log_volume = log_volume + student.n_across * student.across.log()
    constant -= 0.5 * float(log_volume)
    return constant - 0.5 * (nu + r) * float(weights @ torch.log1p(distance / nu))
