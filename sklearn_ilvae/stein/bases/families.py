"""Student t and mixture of a sample, and of the complements of its parts."""

from dataclasses import replace

import torch
from torch import Tensor

from ..sample.splits import N_FOLDS, Split
from .gaussian import SHRINKAGES, GaussianFit
from .mixture import (
    Components,
    MixtureScore,
    admits_components,
    fit_components,
    fit_like,
    run_em,
)
from .student import (
    StudentScore,
    best_shrinkage,
    fit_student,
    has_a_maximum,
    run_student_em,
)

MOST_ROWS = 20_000
"""Most rows that a family is fitted to."""

MOST_ROWS_OF_A_SEARCH = 1000
"""Most of them that the number of components of a mixture is searched on."""


class Families:
    """The rows that families beyond the Gaussian are fitted to.

    Each column has unit scale here, whatever the bandwidth: in units of that a column
    of small numbers would be lost in what a scatter shrinks to, and to k-means.

    Parameters
    ----------
    split : Split
    gaussian : GaussianFit
        Of all rows, with the same parts.
    seed : int
        Seed of the first centers of a mixture.
    """

    def __init__(self, split: Split, gaussian: GaussianFit, seed: int) -> None:
        rows = gaussian.rows
        self.gaussian, self.split, self.seed = gaussian, split, seed
        # Parts held out of a large sample have the highest ranks.
        most = len(rows) if split.in_folds else split.n_kept
        chosen = rows.lowest_ranks(min(MOST_ROWS, most))
        self.ratio = rows.ratio_to_own_scale()
        self.V = rows.read(chosen) * self.ratio
        varying = rows.inverse_scale > 0
        self.columns = replace(rows, axes=None).read(chosen)[:, varying]
        self.weights = rows.weights[chosen] / rows.weights[chosen].sum()
        self.labels, self.ranks = split.labels[chosen], rows.rank[chosen]

    def student(self) -> tuple[list[StudentScore], float] | None:
        """Return the score of all rows, then those without each part; the shrinkage.

        None where a Gaussian is no worse.
        """
        without = self._weights_without_parts()
        # A part that is held out of a large sample has no rows among these.
        rest = without or [self.weights * (self.ranks % N_FOLDS > 0)]
        heaviest = max(float(w.max() / w.sum()) for w in [self.weights, *rest])
        V, plane = self.V, None
        if len(V) < V.shape[1]:
            # The scatter shrinks to a multiple of the identity: it is one across the
            # plane of the rows, and EM goes on along it.
            origin = self.weights @ V
            basis, places = torch.linalg.qr((V - origin).T)
            V, plane = places.T, (origin, basis)
        n_across = self.V.shape[1] - V.shape[1]
        shrinkage = self.gaussian.shrinkage
        full = fit_student(V, self.weights, shrinkage, heaviest, n_across)
        if full is None:
            return None
        # Where many rows share a value, the less a scatter shrinks to the identity the
        # more to those rows, and the likelier it gets.
        heaviest = max(heaviest, self._share_of_a_value([self.weights, *rest]))
        if has_a_maximum(heaviest, full.freedom, full.dimension):
            own = best_shrinkage(V, self.weights, rest, full, SHRINKAGES)
            again = fit_student(V, self.weights, own, heaviest, n_across)
            # A scatter that follows few rows may hide their tails.
            if again is not None:
                full, shrinkage = again, own
        others = [
            run_student_em(V, weights, full, full.freedom, shrinkage)
            for weights in without
        ]
        score, *scores = [
            each.as_score() if plane is None else each.as_score_around(*plane)
            for each in (full, *others)
        ]
        score, *scores = [each.stretched(1.0 / self.ratio) for each in (score, *scores)]
        return [score, *(scores or [score] * self.split.n_held_out)], shrinkage

    def mixture(self) -> list[MixtureScore] | None:
        """Return the score of all rows, then those without each part.

        None where one component is best.
        """
        highest = torch.sort(self.ranks).values[:MOST_ROWS_OF_A_SEARCH][-1]
        few = self.ranks <= highest
        V, weights_of_few = self.V[few], self.weights[few]
        if not admits_components(*V.shape):
            return None
        target = torch.linalg.inv(self.gaussian.full.stretched(self.ratio).precision)
        generator = torch.Generator().manual_seed(self.seed)
        some = fit_components(V, weights_of_few, target, generator)
        if some is None:
            return None
        without = self._weights_without_parts()
        fits = [
            some,
            *(fit_like(some, V, each[few], target, generator) for each in without),
        ]
        if not few.all():
            fits = [
                self._after_em(fit, weights, target)
                for fit, weights in zip(fits, [self.weights, *without], strict=True)
            ]
        score, *scores = [fit.as_score().stretched(1.0 / self.ratio) for fit in fits]
        return [score, *(scores or [score] * self.split.n_held_out)]

    def _weights_without_parts(self) -> list[Tensor]:
        """Return the weights of the other rows for each part that overlaps these."""
        parts = range(self.split.n_held_out) if self.split.in_folds else ()
        return [self.weights * (self.labels != part) for part in parts]

    def _share_of_a_value(self, samples: list[Tensor]) -> float:
        """Return the largest share of one value in a column, by any of some weights."""
        ordered, order = self.columns.sort(0)
        changes = torch.ones_like(ordered, dtype=torch.bool)
        changes[1:] = ordered[1:] != ordered[:-1]
        largest = 0.0
        for weights in samples:
            shares = weights[order] / weights.sum()
            sums = shares.cumsum(0)
            before = (sums - shares).masked_fill(~changes, 0.0).cummax(0).values
            largest = max(largest, float((sums - before).max()))
        return largest

    def _after_em(
        self, start: Components, weights: Tensor, target: Tensor
    ) -> Components:
        """Return components of a few rows after EM on all of them."""
        responsibilities = start.responsibilities(self.V)
        return run_em(self.V, weights, responsibilities, target, tied=start.tied)[0]
