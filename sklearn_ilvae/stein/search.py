"""The search for kernel, form, bandwidth and base on a subset of the rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .comparison import (
    Choice,
    choose,
    close_to,
    evidence_against,
    improves,
)
from .frames import Candidate, Frame, make_frame
from .kernels import median_distance
from .rows import Rows, Split, hold_out, split_rows
from .selection import cross_validate
from .settings import Settings

KERNEL_NAMES = ("rbf", "inverse_multiquadric")
FORM_NAMES = ("diagonal", "curl_free")

_SEARCH_LANDMARKS = 200
_MEDIAN_ROWS = 1000
# Scales that differ by less make no other kernel.
_ALIKE = 1.2
# Multiples of the median distance to begin with, and the limits of the search. With
# few rows the held-out loss of a narrow kernel is mostly noise.
_FIRST_FACTORS = (0.5, 2.0)
_NARROWEST_FACTOR, _WIDEST_FACTOR = 1 / 16, 16.0
_FEW_ROWS = 1000
_NARROWEST_FOR_FEW_ROWS = 0.25
# From here on a search sees a subset, and what it found is searched again with more
# rows and all landmarks.
_MANY_ROWS = 10_000
_SUBSET_ROWS = 2000
_REFINEMENT_ROWS = 20_000
_REFINEMENT_HELD_OUT = 4000


def sees_all(rows: Rows) -> bool:
    """Return whether a search compares its settings on all rows, not on a subset."""
    return len(rows) < _MANY_ROWS


def frames_of(
    rows: Rows, split: Split, settings: Settings, names: tuple[str, ...], seed: int
) -> dict[bool, Frame]:
    """Return the frame of scaled columns and, where sensible, that of one scale."""
    frame = make_frame(rows, split, names, seed)
    frames = {False: frame}
    # Kernels with one scale for all columns suit clusters.
    ratio = frame.rows.ratio_to_common_scale()
    if settings.bandwidth != "auto" or ratio is None:
        return frames
    if float(ratio.max() / ratio.min()) > _ALIKE:
        frames[True] = frame.on_common_scale(ratio)
    return frames


def median_of(rows: Rows) -> float:
    """Return the median distance of at most a thousand distinct rows; 1 for one row."""
    U = rows.read(rows.lowest_ranks(_MEDIAN_ROWS))
    median = 1.0 if len(U) < 2 else median_distance(U)
    if median > 0:
        return median
    raise ValueError(
        "most rows of X are equal up to rounding beside its largest values; remove or "
        "transform those, or pass bandwidth, kernel, form and regularization as numbers"
    )


@dataclass(frozen=True)
class Found:
    """The outcome of a search.

    Attributes
    ----------
    candidate : Candidate
        The best.
    names : list of str
        Its base, and the best base to stand alone.
    leaders : list of Choice
        The best setting and those that it was not told from; none where no kernel part
        improves on the base.
    """

    candidate: Candidate
    names: list[str]
    leaders: list[Choice]


class Search:
    """Coordinate descent over kernel, form, bandwidth, scaling and base.

    Parameters
    ----------
    rows : Rows
    settings : Settings
        What is given and what is searched.
    names : tuple of str
        Names of the bases to compare, from the simplest.
    strength : float or None
        The strength of regularisation where it is given.
    methods : tuple of str
        Filters to compare.
    seed : int
    """

    def __init__(
        self,
        rows: Rows,
        settings: Settings,
        names: tuple[str, ...],
        strength: float | None,
        methods: tuple[str, ...],
        seed: int,
    ) -> None:
        self.settings, self.seed = settings, seed
        self.rows, self.names, self.methods = rows, names, methods
        self.whole = sees_all(rows)
        few = len(rows) < _FEW_ROWS
        self.narrowest = _NARROWEST_FOR_FEW_ROWS if few else _NARROWEST_FACTOR
        self.strengths = (
            None if strength is None else rows.weights.new_tensor([strength])
        )
        self.searched = settings.bandwidth == "auto"
        sample = rows
        if not self.whole:
            sample = rows.take(rows.lowest_ranks(_SUBSET_ROWS))
        split = split_rows(sample)
        self.frames = frames_of(sample, split, settings, names, seed)
        # Medians are those of all rows, as a bandwidth is a multiple of them.
        self.medians = {
            isotropic: median_of(rows.placed_like(frame.rows))
            for isotropic, frame in self.frames.items()
        }
        self.landmarks = sample.lowest_ranks(_SEARCH_LANDMARKS)
        self.choices: list[Choice] = []

    def first_groups(self) -> list[list[Candidate]]:
        """Return the candidates to begin with, grouped by kernel and bandwidth."""
        factors = _FIRST_FACTORS if self.searched else (1.0,)
        kernels = self._kernels()[:1] if self.searched else self._kernels()
        return [
            self._group(kernel, factor, isotropic)
            for kernel in kernels
            for isotropic in self.frames
            for factor in factors
        ]

    def run(self) -> Found:
        """Return what the subset tells."""
        alone = self._best_base()
        self._descend()
        weights = self.frames[False].weights
        best = choose(self.choices)
        rival = self.frames[False].bases[alone].losses
        evidence = evidence_against(alone)
        if alone == "none" or improves(
            best.losses, rival, weights, standard_errors=evidence
        ):
            names = list(dict.fromkeys([best.base, alone]))
            known = [c for c in self.choices if c.base in names]
            others = close_to(best, known, weights, self.settings.n_averaged - 1)
            return Found(best.candidate, names, [best, *others])
        best = choose([c for c in self.choices if c.base == alone])
        return Found(best.candidate, [alone], [])

    def refine(
        self, candidate: Candidate, names: list[str], n_landmarks: int
    ) -> tuple[Candidate | None, list[str]]:
        """Search form, bandwidth and base again with more rows and landmarks.

        Few landmarks favour the diagonal form, which has more freedom at each, and
        families that do much of the work. No candidate is returned where none improves
        on the bases by one standard error here: the t-statistic grows with the root of
        the number of rows held out, so what all rows show by `improves` shows already.
        """
        if not self.searched:
            return candidate, names
        count = min(len(self.rows), _REFINEMENT_ROWS)
        sample = self.rows.take(self.rows.lowest_ranks(count))
        split = hold_out(sample, min(_REFINEMENT_HELD_OUT, count // 5))
        frames = frames_of(sample, split, self.settings, self.names, self.seed)
        frame = frames[candidate.isotropic]
        landmarks = sample.lowest_ranks(min(n_landmarks, split.n_kept))
        choices: list[Choice] = []
        tried: set[float] = set()
        waiting = [
            replace(self._candidate_at(candidate, factor), form=form)
            for factor in self._factors_near(candidate, 0.5, 1.0)
            for form in self._forms()
        ]
        while waiting:
            for bandwidth in dict.fromkeys(c.bandwidth for c in waiting):
                group = [c for c in waiting if c.bandwidth == bandwidth]
                tried.add(bandwidth)
                choices += cross_validate(
                    frame,
                    group,
                    landmarks,
                    methods=self.methods,
                    strengths=self.strengths,
                )
            best = choose(choices)
            frame = frame.only({best.base})
            near = self._factors_near(best.candidate, 0.5, 2.0)
            waiting = [self._candidate_at(best.candidate, factor) for factor in near]
            waiting = [c for c in waiting if c.bandwidth not in tried]
        chosen = list(dict.fromkeys([best.base, names[-1]]))
        if self.strengths is None and "none" not in chosen:
            losses = [
                frames[False].bases[n].losses
                for n in chosen
                if n in frames[False].bases
            ]
            rival = min(losses, key=lambda loss: float(frame.weights @ loss))
            if not improves(best.losses, rival, frame.weights, standard_errors=1.0):
                return None, chosen
        return best.candidate, chosen

    def _factors_near(self, candidate: Candidate, *steps: float) -> list[float]:
        factors = [self._factor(candidate) * step for step in steps]
        return [f for f in factors if self.narrowest <= f <= _WIDEST_FACTOR]

    def _best_base(self) -> str:
        """Return the simplest base that no other beats by a standard error."""
        frame = self.frames[False]
        losses = {name: base.losses for name, base in frame.bases.items()}
        best, *others = losses
        for name in others:
            if improves(losses[name], losses[best], frame.weights, standard_errors=1.0):
                best = name
        return best

    def _descend(self) -> None:
        waiting = self.first_groups()
        tried = {candidate for group in waiting for candidate in group}
        while waiting:
            for group in waiting:
                self.choices += cross_validate(
                    self.frames[group[0].isotropic],
                    group,
                    self.landmarks,
                    methods=self.methods,
                    strengths=self.strengths,
                )
            if not self.searched:
                return
            # The best base and form at one bandwidth may not be those at another.
            near = self._neighbours(choose(self.choices).candidate)
            waiting = [[candidate] for candidate in near if candidate not in tried]
            tried.update(near)

    def _neighbours(self, candidate: Candidate) -> list[Candidate]:
        """Return the next bandwidths, those of the other kernel, and the other form."""
        factor, kernel = self._factor(candidate), candidate.kernel
        places = [(kernel, factor / 2), (kernel, factor * 2)]
        for other in self._kernels():
            if other != kernel:
                # The inverse multiquadric bends more at the same bandwidth.
                step = 0.5 if other == "rbf" else 2.0
                places += [(other, factor), (other, factor * step)]
        beside = [
            replace(self._candidate_at(candidate, f), kernel=name)
            for name, f in places
            if self.narrowest <= f <= _WIDEST_FACTOR
        ]
        return beside + [replace(candidate, form=form) for form in self._forms()]

    def _kernels(self) -> tuple[str, ...]:
        name = self.settings.kernel
        return KERNEL_NAMES if name == "auto" else (name,)

    def _forms(self) -> tuple[str, ...]:
        if self.settings.method == "stein":
            return ("diagonal",)
        form = self.settings.form
        return FORM_NAMES if form == "auto" else (form,)

    def _group(self, kernel: str, factor: float, isotropic: bool) -> list[Candidate]:
        """Return the candidates of one kernel and bandwidth."""
        unit = self.medians[isotropic] if self.searched else 1.0
        return [
            Candidate(kernel, form, unit * factor, isotropic) for form in self._forms()
        ]

    def _factor(self, candidate: Candidate) -> float:
        return candidate.bandwidth / self.medians[candidate.isotropic]

    def _candidate_at(self, candidate: Candidate, factor: float) -> Candidate:
        bandwidth = factor * self.medians[candidate.isotropic]
        return replace(candidate, bandwidth=bandwidth)
