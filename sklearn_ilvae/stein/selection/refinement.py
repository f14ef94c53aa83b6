"""The search of form, bandwidth and base again, with more rows and all landmarks.

Few landmarks favour the diagonal form, which has more freedom at each, and families
that do much of the work.
"""

from dataclasses import replace

from torch import Tensor

from ..sample.rows import Rows
from ..sample.splits import hold_out
from .candidates import Candidate, Neighbourhood
from .comparison import Choice, choose, improves
from .cross_validation import cross_validate
from .frames import Frame, make_frame
from .options import Options
from .search import Found

REFINEMENT_ROWS = 20_000
"""Most rows of a refinement."""

REFINEMENT_HELD_OUT = 4000
"""Most rows of them that are held out, and at most a fifth."""


def refine(
    found: Found,
    neighbourhood: Neighbourhood,
    rows: Rows,
    options: Options,
    n_landmarks: int,
    seed: int,
) -> Found:
    """Return what more rows and landmarks tell about a candidate and those near it.

    Parameters
    ----------
    found : Found
        By a search of a subset.
    neighbourhood : Neighbourhood
        Of that search.
    rows : Rows
        All of them.
    options : Options
    n_landmarks : int
        Of the fit that follows.
    seed : int

    Returns
    -------
    Found
        With the best setting as only leader, if any.
    """
    count = min(len(rows), REFINEMENT_ROWS)
    seen = rows.take(rows.lowest_ranks(count))
    split = hold_out(seen, min(REFINEMENT_HELD_OUT, count // 5))
    frame = make_frame(seen, split, options.bases, seed)
    frame = frame.in_scaling(found.candidate.scaling)
    landmarks = seen.lowest_ranks(min(n_landmarks, split.n_kept))
    best = _best_near(found.candidate, neighbourhood, frame, landmarks, options)
    again = Found(best.candidate, best.base, found.alone, [best])
    if options.strength is None and _bases_suffice(frame.only(*again.bases), best):
        return replace(again, leaders=[])
    return again


def _bases_suffice(frame: Frame, best: Choice) -> bool:
    """Tell whether a kernel part does not improve on the bases of a frame.

    The t-statistic grows with the root of the number of rows held out: what all rows
    show by the default of `improves` shows here by one standard error already.
    """
    if "none" in frame.bases:
        return False
    weights = frame.weights
    losses = [base.losses for base in frame.bases.values()]
    rival = min(losses, key=lambda each: float(weights @ each))
    return not improves(best.losses, rival, weights, standard_errors=1.0)


def _best_near(
    start: Candidate,
    neighbourhood: Neighbourhood,
    frame: Frame,
    landmarks: Tensor,
    options: Options,
) -> Choice:
    """Return the best form, bandwidth and base on the way from a candidate."""
    choices: list[Choice] = []
    tried: set[float] = set()
    waiting = [
        candidate
        for nearby in neighbourhood.at_multiples(start, 0.5, 1.0)
        for candidate in neighbourhood.in_all_forms(nearby)
    ]
    while waiting:
        for bandwidth in dict.fromkeys(each.bandwidth for each in waiting):
            tried.add(bandwidth)
            choices += cross_validate(
                frame,
                [each for each in waiting if each.bandwidth == bandwidth],
                landmarks,
                methods=options.methods,
                strength=options.strength,
            )
        best = choose(choices)
        frame = frame.only(best.base)
        nearby = neighbourhood.at_multiples(best.candidate, 0.5, 2.0)
        waiting = [each for each in nearby if each.bandwidth not in tried]
    return choose(choices)
