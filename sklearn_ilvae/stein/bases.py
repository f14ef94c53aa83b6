"""Base scores: parametric estimates that the kernel part corrects.

A parametric start with a nonparametric correction (Hjort & Glad 1995) has little left
to learn where the family fits, and loses nothing where it does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .gaussian import GaussianFit, GaussianScore
from .mixture import Components, MixtureScore, fit_components, fit_like, run_em
from .rows import Split
from .student import LARGEST_FREEDOM, StudentScore, fit_student, run_student_em

# From the simplest: a later one must be better by a standard error.
BASE_NAMES = ("gaussian", "student_t", "mixture")
_MOST_ROWS = 20_000
_MOST_ROWS_OF_A_SEARCH = 1000


class BaseScore(Protocol):
    """The score of a parametric density."""

    def score(self, U: Tensor) -> Tensor:
        """Return the score (n, d)."""

    def divergence(self, U: Tensor, metric: Tensor) -> Tensor:
        """Return the trace of the Jacobian, weighted by the metric, of shape (n,)."""

    def log_density(self, U: Tensor) -> Tensor:
        """Return the log-density up to a constant, of shape (n,)."""

    def stretched(self, ratio: Tensor) -> BaseScore:
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
    """

    name: str
    full: BaseScore
    without: list[BaseScore]

    def stretched(self, ratio: Tensor) -> Base:
        """Return the same scores in coordinates ``u' = ratio · u``."""
        full = self.full.stretched(ratio)
        # A score shared by all parts stays one, and is evaluated once.
        without = [
            full if score is self.full else score.stretched(ratio)
            for score in self.without
        ]
        return Base(self.name, full, without)


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
    bases: dict[str, Base] = {}
    plain = Base("gaussian", gaussian.full, [*gaussian.without])
    for name in names:
        found: Base | None = plain
        if name == "none":
            silent = gaussian.silent()
            found = Base("none", silent.full, [*silent.without])
        elif name != "gaussian" and gaussian.without:
            found = _Families(split, gaussian, seed).fit(name)
        if found is None and len(names) == 1:
            found = plain
        if found is not None:
            bases[found.name] = found
    return bases


class _Families:
    """The rows that families beyond the Gaussian are fitted to."""

    def __init__(self, split: Split, gaussian: GaussianFit, seed: int) -> None:
        rows = gaussian.rows
        self.gaussian, self.split, self.seed = gaussian, split, seed
        # Parts held out of a large sample have the highest ranks.
        most = len(rows) if split.in_folds else split.n_kept
        chosen = rows.lowest_ranks(min(_MOST_ROWS, most))
        self.V = rows.read(chosen)
        self.weights = rows.weights[chosen] / rows.weights[chosen].sum()
        self.labels, self.ranks = split.labels[chosen], rows.rank[chosen]

    def fit(self, name: str) -> Base | None:
        student = name == "student_t"
        scores = self._student() if student else self._mixture()
        return None if scores is None else Base(name, scores[0], scores[1:])

    def _weights_without(self) -> list[Tensor]:
        """Return the weights of the other rows for each part that overlaps these."""
        parts = range(self.split.n_held_out) if self.split.in_folds else ()
        return [self.weights * (self.labels != part) for part in parts]

    def _student(self) -> list[BaseScore] | None:
        shrinkage = self.gaussian.shrinkage
        full = fit_student(self.V, self.weights, shrinkage)
        if full.freedom == LARGEST_FREEDOM:
            return None
        others = [
            run_student_em(self.V, weights, full, full.freedom, shrinkage)
            for weights in self._weights_without()
        ] or [full] * self.split.n_held_out
        return [s.as_score() for s in (full, *others)]

    def _mixture(self) -> list[BaseScore] | None:
        target = torch.linalg.inv(self.gaussian.full.precision)
        few = (
            self.ranks < torch.sort(self.ranks).values[:_MOST_ROWS_OF_A_SEARCH][-1] + 1
        )
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
