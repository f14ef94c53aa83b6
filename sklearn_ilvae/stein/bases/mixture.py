"""The score of a mixture of Gaussians as base score, fitted by the EM algorithm.

The number of components and whether they share a covariance maximise the Bayesian
information criterion (Fraley & Raftery 2002, "Model-based clustering, discriminant
analysis, and density estimation"). Each covariance is the mode of a posterior whose
prior is worth ``r + 2`` rows of the covariance within components, as that is worth
``r + 2`` rows of a multiple of the covariance of all rows (Fraley & Raftery 2007), so
that none collapses.
"""

import math
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from ..products import inner_products

COUNTS = (2, 3, 4, 6, 8, 12, 16, 24)
"""Numbers of components to compare with one."""

FEWEST_ROWS_A_COMPONENT = 10
"""A mixture is not tried where a component has fewer rows on average."""

ITERATIONS = 60
"""Most steps of EM. Runs stop earlier, by the tolerance; this bounds their time."""

TOLERANCE = 1e-3
"""Least gain of a step, in nats a row; the criterion tells sizes apart by more."""

ROUNDING = 1e-14
"""Of the entries of a covariance, relative to its mean variance."""

LEAST_MASS = 1e-12
"""Of a component, so that one without rows divides nothing by 0."""

STARTS = 3
"""Starts of EM. One may end in a poor optimum; short runs tell which to go on from."""

SHORT_RUN = 5
"""Steps of EM of such a run."""

LLOYD_STEPS = 5
"""Steps of k-means before EM."""


@dataclass(frozen=True)
class MixtureScore:
    """The score of ``Σₖ πₖ N(μₖ, Pₖ⁻¹)`` in coordinates of unit scale.

    Attributes
    ----------
    constants : Tensor of shape (k,)
        ``log πₖ + ½ log det Pₖ``.
    centers : Tensor of shape (k, d)
    precisions : Tensor of shape (k, d, d)
    """

    constants: Tensor
    centers: Tensor
    precisions: Tensor

    def _parts(self, U: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-densities (k, n) up to one constant, and scores (k, n, d)."""
        difference = self.centers[:, None] - U
        pull = difference @ self.precisions
        logs = self.constants[:, None] - 0.5 * inner_products(pull, difference)
        # Where all squares overflow the first component stands for all.
        lowest = torch.finfo(logs.dtype).min
        logs = torch.nan_to_num(logs, nan=lowest, neginf=lowest)
        logs[0].clamp_(min=lowest / 2)
        return logs, pull

    def score(self, U: Tensor) -> Tensor:
        """Return ``Σₖ rₖ Pₖ (μₖ − u)``, with ``rₖ`` the responsibilities, as (n, d)."""
        logs, pull = self._parts(U)
        return (torch.softmax(logs, 0)[..., None] * pull).sum(0)

    def divergence(self, U: Tensor, metric: Tensor) -> Tensor:
        """Return ``Σₖ rₖ (‖gₖ − s‖² − tr Pₖ)``, sums weighted by the metric."""
        logs, pull = self._parts(U)
        shares = torch.softmax(logs, 0)
        traces = self.precisions.diagonal(dim1=-2, dim2=-1) @ metric
        score = (shares[..., None] * pull).sum(0)
        spread = (pull - score).square() @ metric
        # Times a share that vanishes there infinity would not be 0.
        spread = spread.clamp(max=torch.finfo(spread.dtype).max)
        return (shares * (spread - traces[:, None])).sum(0)

    def log_density(self, U: Tensor) -> Tensor:
        """Return the log-density up to a constant, of shape (n,)."""
        return torch.logsumexp(self._parts(U)[0], 0)

    def stretched(self, ratio: Tensor) -> Self:
        """Return the same score in coordinates ``u' = ratio · u``."""
        return replace(
            self,
            centers=self.centers * ratio,
            precisions=self.precisions / torch.outer(ratio, ratio),
        )


@dataclass(frozen=True)
class Components:
    """Components of a mixture, or of several.

    Attributes
    ----------
    shares : Tensor of shape (..., k)
    centers : Tensor of shape (..., k, r)
    covariances : Tensor of shape (..., k, r, r)
    tied : bool
        Whether all of a mixture are the same.
    """

    shares: Tensor
    centers: Tensor
    covariances: Tensor
    tied: bool

    @property
    def n_parameters(self) -> float:
        """Free parameters of one mixture."""
        count, r = self.centers.shape[-2:]
        n_covariances = 1 if self.tied else count
        return count * (r + 1) - 1 + r * (r + 1) / 2 * n_covariances

    def log_densities(self, V: Tensor) -> Tensor:
        """Return ``log πₖ + log N(v | μₖ, Σₖ)`` of shape (..., k, n)."""
        root = torch.linalg.cholesky(self.covariances)
        identity = torch.eye(V.shape[1], dtype=V.dtype, device=V.device)
        inverse = torch.linalg.solve_triangular(root, identity, upper=False)
        scaled = inverse @ (V.T - self.centers[..., None])
        log_root = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        constant = (
            self.shares.log() - log_root - 0.5 * V.shape[1] * math.log(2 * math.pi)
        )
        return constant[..., None] - 0.5 * scaled.square_().sum(-2)

    def responsibilities(self, V: Tensor) -> Tensor:
        """Return the probability (..., k, n) of each component given each row."""
        return torch.softmax(self.log_densities(V), -2)

    def as_score(self) -> MixtureScore:
        """Return the score of the mixture."""
        inner = torch.linalg.inv(self.covariances)
        constants = self.shares.log() + 0.5 * torch.linalg.slogdet(inner).logabsdet
        return MixtureScore(constants, self.centers, inner)


def admits_components(n: int, r: int, count: int = COUNTS[0]) -> bool:
    """Tell whether n rows of r coordinates are enough for so many components."""
    return count * max(FEWEST_ROWS_A_COMPONENT, r + 2) <= n


def fit_components(
    V: Tensor, weights: Tensor, target: Tensor, generator: torch.Generator
) -> Components | None:
    """Fit a mixture, its size by the information criterion.

    Parameters
    ----------
    V : Tensor of shape (n, r)
    weights : Tensor of shape (n,)
        They sum to 1.
    target : Tensor of shape (r, r)
        Covariance of all rows; the one within components shrinks to a multiple of it.
    generator : torch.Generator
        Draws the first centers.

    Returns
    -------
    components : Components or None
        None where one component is best.
    """
    n, r = V.shape
    best: Components | None = None
    highest = -torch.inf
    for count in (1, *COUNTS):
        if count > 1 and not admits_components(n, r, count):
            break
        before = highest
        starts = _starts(V, weights, count, generator)
        for tied in (True,) if count == 1 else (True, False):
            found, likelihood = _best_of(V, weights, starts, target, tied=tied)
            criterion = n * likelihood - 0.5 * found.n_parameters * math.log(n)
            if criterion > highest:
                highest, best = criterion, found
        if highest == before and count > 2:
            break
    return None if best is None or len(best.shares) == 1 else best


def fit_like(
    components: Components,
    V: Tensor,
    weights: Tensor,
    target: Tensor,
    generator: torch.Generator,
) -> Components:
    """Fit as many components to other weights, from centers of their own.

    EM that went on from `components` would stop at once, in the optimum that rows now
    held out helped to find, and look better on them than it is.

    Parameters
    ----------
    components : Components
    V, weights, target, generator
        As for `fit_components`; rows of weight 0 take no part.

    Returns
    -------
    components : Components
    """
    starts = _starts(V, weights, len(components.shares), generator)
    return _best_of(V, weights, starts, target, tied=components.tied)[0]


def _starts(
    V: Tensor, weights: Tensor, count: int, generator: torch.Generator
) -> Tensor:
    """Return a few responsibilities (s, k, n) to begin with."""
    drawn = [
        _drawn_centers(V, weights, count, generator)
        for _ in range(1 if count == 1 else STARTS)
    ]
    centers = torch.stack(drawn)
    for _ in range(LLOYD_STEPS):
        nearest = torch.cdist(V, centers).argmin(-1)
        inside = torch.nn.functional.one_hot(nearest, count).mT.to(V)
        mass = (inside @ weights).clamp(min=LEAST_MASS)
        centers = (inside * weights) @ V / mass[..., None]
    return inside


def _best_of(
    V: Tensor, weights: Tensor, starts: Tensor, target: Tensor, *, tied: bool
) -> tuple[Components, float]:
    """Run EM on from the best of short runs (Biernacki, Celeux & Govaert 2003)."""
    runs, likelihoods = run_em(
        V, weights, starts, target, tied=tied, iterations=SHORT_RUN
    )
    best = runs.responsibilities(V)[likelihoods.argmax()]
    found, likelihood = run_em(V, weights, best, target, tied=tied)
    return found, float(likelihood)


def run_em(
    V: Tensor,
    weights: Tensor,
    responsibilities: Tensor,
    target: Tensor,
    *,
    tied: bool,
    iterations: int = ITERATIONS,
) -> tuple[Components, Tensor]:
    """Return the mixture after EM, and its mean log-likelihood, of each of some runs.

    Parameters
    ----------
    V : Tensor of shape (n, r)
    weights : Tensor of shape (n,)
        Rows of weight 0 take no part.
    responsibilities : Tensor of shape (..., k, n)
        To begin with; leading dimensions are independent runs.
    target : Tensor of shape (r, r)
    tied : bool
    iterations : int
        At most.

    Returns
    -------
    components : Components
    likelihood : Tensor of shape (...)
    """
    weights = weights / weights.sum()
    # Sums over rows take half the time where the entries of a column lie together.
    V = V.T.contiguous().T
    prior = (V.shape[1] + 2) / max(int((weights > 0).sum()), 1)
    before = V.new_full((), -torch.inf)
    for _ in range(iterations):
        found = _maximise(V, responsibilities * weights, target, prior, tied)
        logs = found.log_densities(V)
        total = torch.logsumexp(logs, -2)
        likelihood = total @ weights
        moving = likelihood - before >= TOLERANCE
        if not moving.any():
            break
        before = likelihood
        following = (logs - total[..., None, :]).exp_()
        responsibilities = torch.where(
            moving[..., None, None], following, responsibilities
        )
    return found, likelihood


def _maximise(
    V: Tensor, memberships: Tensor, target: Tensor, prior: float, tied: bool
) -> Components:
    """Return the components of rows by their memberships (..., k, n), see `run_em`."""
    mass = memberships.sum(-1).clamp(min=LEAST_MASS)
    centers = (memberships @ V) / mass[..., None]
    # Moments about 0 would cancel in clusters that are tight for their distance.
    weighted = (V.T - centers[..., None]).mul_(memberships.sqrt()[..., None, :])
    scatter = weighted @ weighted.mT
    within = scatter.sum(-3, keepdim=True)
    multiple = _trace(within) / _trace(target)
    # Components of equal rows must leave a positive matrix, no narrower than the
    # rounding of rows.
    floor = 1e-9 * multiple + torch.finfo(V.dtype).eps ** 2
    widened = (prior * multiple + floor)[..., None, None] * target
    within = (within + widened) / (1.0 + prior)
    if tied:
        covariances = within.expand_as(scatter)
    else:
        covariances = (scatter + prior * within) / (mass + prior)[..., None, None]
    # So must those far longer than wide, whose eigenvalues are rounded.
    ridge = (ROUNDING / len(target)) * _trace(covariances)[..., None, None]
    identity = torch.eye(len(target), dtype=V.dtype, device=V.device)
    covariances = covariances + ridge * identity
    shares = mass / mass.sum(-1, keepdim=True)
    return Components(shares, centers, covariances, tied)


def _trace(matrices: Tensor) -> Tensor:
    return matrices.diagonal(dim1=-2, dim2=-1).sum(-1)


def _drawn_centers(
    V: Tensor, weights: Tensor, count: int, generator: torch.Generator
) -> Tensor:
    """Return the first centers (k, r) of k-means++."""
    first = torch.multinomial(weights.cpu(), 1, generator=generator)
    centers = V[first.to(V.device)]
    distance = torch.full_like(weights, torch.inf)
    for _ in range(count - 1):
        step = V - centers[-1]
        distance = torch.minimum(distance, inner_products(step, step))
        odds = weights * distance
        # Squares of tiny distances vanish.
        odds = odds if odds.sum() > 0 else weights
        drawn = torch.multinomial(odds.cpu(), 1, generator=generator)
        centers = torch.cat([centers, V[drawn.to(V.device)]])
    return centers
