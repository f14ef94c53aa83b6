"""Base scores: parametric estimates that the kernel part corrects.

A parametric start with a nonparametric correction (Hjort & Glad 1995) has little left
to learn where the family fits, and loses nothing where it does not.
"""

from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
from torch import Tensor

from .gaussian import GaussianFit, GaussianScore
from .mixture import Components, MixtureScore, fit_components, fit_like, run_em
from .rows import Rows
from .splits import Split
from .student import StudentScore, fit_student, run_student_em

BASE_NAMES = ("gaussian", "student_t", "mixture")
"""Families from the simplest: a later one must be better by a standard error."""

MOST_ROWS = 20_000
"""Most rows that a family beyond the Gaussian is fitted to."""

MOST_ROWS_OF_A_SEARCH = 1000
"""Most of them that the number of components of a mixture is searched on."""


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
    """

    name: str
    full: BaseScore
    without: list[BaseScore]
    losses: Tensor

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
    split: Split, gaussian: GaussianFit, names: tuple[str, ...], seed: int
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
        Among "none" and `BASE_NAMES`.
    seed : int
        Seed of the first centers of a mixture.

    Returns
    -------
    bases : dict of Base
        By name, in the order of the names.
    """
    plain: list[BaseScore] = [gaussian.full, *gaussian.without]
    found: dict[str, list[BaseScore]] = {}
    for name in names:
        scores: list[BaseScore] | None = plain
        if name == "none":
            silent = gaussian.silent()
            scores = [silent.full, *silent.without]
        elif name != "gaussian" and gaussian.without:
            scores = _Families(split, gaussian, seed).fit(name)
        if scores is not None:
            found["gaussian" if scores is plain else name] = scores
    return {
        name: Base(name, full, without, _held_out_losses(gaussian.rows, split, without))
        for name, (full, *without) in (found or {"gaussian": plain}).items()
    }


def _held_out_losses(rows: Rows, split: Split, without: list[BaseScore]) -> Tensor:
    labels = split.labels[split.validated]
    losses = torch.zeros_like(labels, dtype=torch.float64)
    metric = losses.new_ones(rows.dimension)
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


class _Families:
    """The rows that families beyond the Gaussian are fitted to."""

    def __init__(self, split: Split, gaussian: GaussianFit, seed: int) -> None:
        rows = gaussian.rows
        self.gaussian, self.split, self.seed = gaussian, split, seed
        # Parts held out of a large sample have the highest ranks.
        most = len(rows) if split.in_folds else split.n_kept
        chosen = rows.lowest_ranks(min(MOST_ROWS, most))
        self.V = rows.read(chosen)
        self.weights = rows.weights[chosen] / rows.weights[chosen].sum()
        self.labels, self.ranks = split.labels[chosen], rows.rank[chosen]

    def fit(self, name: str) -> list[BaseScore] | None:
        return self._student() if name == "student_t" else self._mixture()

    def _weights_without(self) -> list[Tensor]:
        """Return the weights of the other rows for each part that overlaps these."""
        parts = range(self.split.n_held_out) if self.split.in_folds else ()
        return [self.weights * (self.labels != part) for part in parts]

    def _student(self) -> list[BaseScore] | None:
        shrinkage = self.gaussian.shrinkage
        without = self._weights_without()
        heaviest = max(float(w.max() / w.sum()) for w in [self.weights, *without])
        full = fit_student(self.V, self.weights, shrinkage, heaviest)
        if full is None:
            return None
        others = [
            run_student_em(self.V, weights, full, full.freedom, shrinkage)
            for weights in without
        ] or [full] * self.split.n_held_out
        return [s.as_score() for s in (full, *others)]

    def _mixture(self) -> list[BaseScore] | None:
        target = torch.linalg.inv(self.gaussian.full.precision)
        few = self.ranks < torch.sort(self.ranks).values[:MOST_ROWS_OF_A_SEARCH][-1] + 1
        V, shares = self.V[few], self.weights[few]
        generator = torch.Generator().manual_seed(self.seed)
        found = fit_components(V, shares, target, generator)
        if found is None:
            return None
        some, tied = found
        fits = [self._on_all_rows(some, self.weights, target, few, tied)]
        for weights in self._weights_without():
            again = fit_like(some, V, weights[few], target, generator, tied=tied)
            fits.append(self._on_all_rows(again, weights, target, few, tied))
        full, *others = [c.as_score() for c in fits]
        return [full, *(others or [full] * self.split.n_held_out)]

    def _on_all_rows(
        self,
        start: Components,
        weights: Tensor,
        target: Tensor,
        few: Tensor,
        tied: bool,
    ) -> Components:
        """Return components of a few rows after EM on all of them."""
        if few.all():
            return start
        responsibilities = start.responsibilities(self.V)
        return run_em(self.V, weights, responsibilities, target, tied=tied)[0]
