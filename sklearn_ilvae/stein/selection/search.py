"""The search for kernel, form, bandwidth and base on a subset of the rows."""

from dataclasses import dataclass, replace

from ..sample.rows import Rows
from ..sample.splits import split_rows
from .bandwidths import median_distance_of
from .candidates import (
    FEW_ROWS,
    NARROWEST_FACTOR,
    NARROWEST_FACTOR_FOR_FEW_ROWS,
    Candidate,
    Neighbourhood,
)
from .comparison import Choice, choose, close_to, evidence_against, improves
from .cross_validation import cross_validate
from .frames import OWN_SCALES, in_all_scalings, make_frame
from .options import Options

SEARCH_LANDMARKS = 200
"""Landmarks of a search."""

NARROW_LANDMARKS = 500
"""Landmarks of a search from a narrow kernel, of which every row needs some nearby."""

SUBSET_ROWS = 2000
"""Rows of a search that does not see all."""


@dataclass(frozen=True)
class Found:
    """The outcome of a search.

    Attributes
    ----------
    candidate : Candidate
        The best.
    base : str
        The base that it corrects.
    alone : str
        The best base without a kernel part.
    leaders : list of Choice
        The best setting and those that it was not told from; none where no kernel part
        improves on the base.
    """

    candidate: Candidate
    base: str
    alone: str
    leaders: list[Choice]

    @property
    def bases(self) -> tuple[str, ...]:
        """Both bases, or the one that is both."""
        return tuple(dict.fromkeys((self.base, self.alone)))


class Search:
    """Coordinate descent over kernel, form, bandwidth, scaling and base.

    Parameters
    ----------
    rows : Rows
    options : Options
        What to compare.
    seed : int

    Attributes
    ----------
    frames : dict of Frame
        By scaling, of the rows that the search sees.
    landmarks : Tensor
        Their positions.
    neighbourhood : Neighbourhood
    choices : list of Choice
        All settings compared so far.
    """

    def __init__(self, rows: Rows, options: Options, seed: int) -> None:
        self.options = options
        seen = rows
        if not options.sees_all:
            seen = rows.take(rows.lowest_ranks(SUBSET_ROWS))
        frame = make_frame(seen, split_rows(seen), options.bases, seed)
        self.frames = {OWN_SCALES: frame}
        if options.any_bandwidth:
            self.frames = in_all_scalings(frame)
        self.seen = seen
        self.landmarks = seen.lowest_ranks(SEARCH_LANDMARKS)
        few = len(rows) < FEW_ROWS
        self.neighbourhood = Neighbourhood(
            options.kernels,
            options.forms,
            # Those of all rows, as a bandwidth is a multiple of them.
            {
                scaling: median_distance_of(rows.placed_like(frame.rows))
                for scaling, frame in self.frames.items()
            },
            options.any_bandwidth,
            NARROWEST_FACTOR_FOR_FEW_ROWS if few else NARROWEST_FACTOR,
        )
        self.choices: list[Choice] = []

    def run(self) -> Found:
        """Return what the rows of the search tell."""
        alone = self._best_base_alone()
        self._descend()
        on_alone = [each for each in self.choices if each.base == alone]
        # The best of all may gain too unsurely on the best base alone where a kernel
        # part on that base, which shares its losses, gains less but surely.
        for choices in (self.choices, on_alone):
            best = choose(choices)
            if alone == "none" or self._improves_on(alone, best):
                leaders = self._leaders(best, alone)
                return Found(best.candidate, best.base, alone, leaders)
        return Found(best.candidate, alone, alone, [])

    def _improves_on(self, base: str, choice: Choice) -> bool:
        """Tell whether a setting is better than a base alone by more than chance."""
        frame = self.frames[OWN_SCALES]
        return improves(
            choice.losses,
            frame.bases[base].losses,
            frame.weights,
            standard_errors=evidence_against(base),
        )

    def _leaders(self, best: Choice, alone: str) -> list[Choice]:
        """Return the best setting and those of both bases that it was not told from."""
        rivals = [each for each in self.choices if each.base in (best.base, alone)]
        weights = self.frames[OWN_SCALES].weights
        return [best, *close_to(best, rivals, weights, self.options.n_averaged - 1)]

    def _best_base_alone(self) -> str:
        """Return the simplest base that no other beats by a standard error."""
        frame = self.frames[OWN_SCALES]
        losses = {name: base.losses for name, base in frame.bases.items()}
        best, *others = losses
        for name in others:
            if improves(losses[name], losses[best], frame.weights, standard_errors=1.0):
                best = name
        return best

    def _descend(self) -> None:
        """Compare candidates until none next to the best is left."""
        self._descend_from(self.neighbourhood.first())
        if self.options.any_bandwidth:
            self._search_again_if_narrow()

    def _descend_from(self, waiting: list[list[Candidate]]) -> None:
        """Compare groups of candidates, then those next to the best until all were."""
        tried = {candidate for group in waiting for candidate in group}
        while waiting:
            for group in waiting:
                self.choices += self._compare(group)
            if not self.options.any_bandwidth:
                return
            # The best base and form at one bandwidth may not be those at another.
            near = self.neighbourhood.around(choose(self.choices).candidate)
            waiting = [[candidate] for candidate in near if candidate not in tried]
            tried.update(near)

    def _search_again_if_narrow(self) -> None:
        """Search again, with more landmarks, where a narrow kernel is surely better.

        The loss of a density with features much narrower than its spread has a minimum
        at the width of each, and a descent may end in the widest. One comparison, with
        the narrowest kernel, tells. Where it gains nothing, nothing of it is kept.
        """
        space = self.neighbourhood
        narrow = [each for each in self.choices if space.is_narrow(each.candidate)]
        wide = choose(
            [each for each in self.choices if not space.is_narrow(each.candidate)]
        )
        narrowest = space.narrowest_like(wide.candidate)
        if not any(each.candidate in narrowest for each in narrow):
            narrow += self._compare(narrowest)
        best = choose(narrow)
        if best.loss >= wide.loss:
            return  # without the loss of each row, which takes two more fits
        weights = self.frames[OWN_SCALES].weights
        if not improves(best.losses, wide.losses, weights, standard_errors=2.0):
            return
        # Few landmarks tell neither which width is the best nor how strong its ridge
        # must be.
        self.landmarks = self.seen.lowest_ranks(NARROW_LANDMARKS)
        self.neighbourhood = replace(space, narrowest=NARROWEST_FACTOR)
        self.choices = []
        starts = (best.candidate, wide.candidate)
        self._descend_from([space.in_all_forms(start) for start in starts])

    def _compare(self, group: list[Candidate]) -> list[Choice]:
        """Return the choices of one kernel and bandwidth."""
        return cross_validate(
            self.frames[group[0].scaling],
            group,
            self.landmarks,
            methods=self.options.methods,
            strength=self.options.strength,
        )
