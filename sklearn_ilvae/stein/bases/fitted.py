"""Base scores: parametric estimates that the kernel part corrects.

A parametric start with a nonparametric correction (Hjort & Glad 1995) has little left
to learn where the family fits, and loses nothing where it does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
from torch import Tensor

from ..sample.rows import Rows
from ..sample.splits import Split
from .elliptical import GaussianScore
from .families import Families
from .gaussian import GaussianFit
from .mixture import MixtureScore
from .student import StudentScore


class BaseScore(Protocol):
    """The score of a parametric density."""

    def score(self, U: Tensor) -> Tensor:
        """Return the score (n, d)."""

    def divergence(self, U: Tensor, metric: Tensor) -> Tensor:
        """Return the trace of the Jacobian, weighted by the metric, of shape (n,)."""

    def log_density(self, U: Tensor) -> Tensor:
        """Return the log-density up to a constant, of shape (n,)."""

    def stretched(self, ratio: Tensor) -> Self:
        """Return the same score in coordinates ``u' = ratio · u``."""


BASES: dict[str, type[GaussianScore] | type[StudentScore] | type[MixtureScore]] = {
    "gaussian": GaussianScore,
    "student_t": StudentScore,
    "mixture": MixtureScore,
}
"""Families from the simplest: a later one must be better by a standard error."""


@dataclass(frozen=True)
class Base:
    """A base score from all rows, and from the others of each part held out.

    Attributes
    ----------
    name : str
    full : BaseScore
    without : list of BaseScore
    losses : Tensor of shape (n_validated,)
        Held-out loss of each validated row.
    shrinkage : float
        Of its covariance.
    """

    name: str
    full: BaseScore
    without: list[BaseScore]
    losses: Tensor
    shrinkage: float

    def stretched(self, ratio: Tensor) -> Self:
        """Return the same scores in coordinates ``u' = ratio · u``.

        The losses are still those of the coordinates ``u``.
        """
        full = self.full.stretched(ratio)
        # A score shared by all parts stays one, and is evaluated once.
        without = [
            full if score is self.full else score.stretched(ratio)
            for score in self.without
        ]
        return replace(self, full=full, without=without)


def fit_bases(
    split: Split,
    gaussian: GaussianFit,
    names: tuple[str, ...],
    seed: int,
    metric: Tensor,
) -> dict[str, Base]:
    """Fit base scores.

    A family that turns out to be the Gaussian, as with a handful of rows, is left out,
    or replaced by it when it is the only one.

    Parameters
    ----------
    split : Split
    gaussian : GaussianFit
        Of the rows, with the same parts.
    names : tuple of str
        "none", or some of `BASES`.
    seed : int
        Seed of the first centers of a mixture.
    metric : Tensor of shape (r,)
        Weight of each coordinate in the loss.

    Returns
    -------
    bases : dict of Base
        By name, in the order of the names.
    """
    found: dict[str, tuple[Sequence[BaseScore], float]] = {}
    for name in names:
        fit = _fit_of(name, split, gaussian, seed)
        if fit is not None:
            found[name] = fit
    found = found or {"gaussian": (gaussian.scores, gaussian.shrinkage)}
    bases = {}
    for name, ((full, *without), shrinkage) in found.items():
        losses = _held_out_losses(gaussian.rows, split, without, metric)
        bases[name] = Base(name, full, without, losses, shrinkage)
    return bases


def _fit_of(
    name: str, split: Split, gaussian: GaussianFit, seed: int
) -> tuple[Sequence[BaseScore], float] | None:
    """Return a family's score of all rows, then those without each part; its shrinkage.

    None where the family turns out to be the Gaussian.
    """
    if name == "none":
        return gaussian.silent().scores, gaussian.shrinkage
    if name == "gaussian":
        return gaussian.scores, gaussian.shrinkage
    if not gaussian.without:
        return None
    families = Families(split, gaussian, seed)
    if name == "student_t":
        return families.student()
    scores = families.mixture()
    return None if scores is None else (scores, gaussian.shrinkage)


def _held_out_losses(
    rows: Rows, split: Split, without: list[BaseScore], metric: Tensor
) -> Tensor:
    """Return the loss of each validated row by the score that leaves it out."""
    labels = split.labels[split.validated]
    losses = torch.zeros_like(labels, dtype=torch.float64)
    for part, score in enumerate(without):
        here = labels == part
        U = rows.read(split.validated[here])
        losses[here] = hyvarinen_loss(0.0, 0.0, U, score, metric)
    return losses


def hyvarinen_loss(
    field: Tensor | float,
    divergence: Tensor | float,
    U: Tensor,
    base: BaseScore,
    metric: Tensor,
) -> Tensor:
    """Return ``½‖s₀ + f‖² + ∇·(s₀ + f)`` of rows, sums weighted by the metric.

    Parameters
    ----------
    field : Tensor of shape (l, n, d) or 0
        Values of ``f``.
    divergence : Tensor of shape (l, n) or 0
    U : Tensor of shape (n, d)
    base : BaseScore
    metric : Tensor of shape (d,)

    Returns
    -------
    losses : Tensor of shape (l, n) or (n,)
    """
    total = divergence + base.divergence(U, metric)
    return 0.5 * (field + base.score(U)).square() @ metric + total
