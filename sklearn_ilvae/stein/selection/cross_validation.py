"""Held-out Hyvärinen losses of kernels, forms, bandwidths and strengths.

The loss ``½‖ŝ(x)‖² + ∇·ŝ(x)`` of held-out rows estimates half the squared error of the
score, up to a constant that no choice changes, without the truth (Hyvärinen 2005).
"""

import functools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ..kernels.forms import Form
from .candidates import Candidate
from .comparison import Choice
from .folds import Fold, Parts
from .frames import Frame
from .quadratic import QuadraticLoss

STRENGTHS = tuple(10.0 ** (-0.5 - 0.6 * step) for step in range(16))
"""Strengths to compare, relative to the trace of a form, strongest first."""

WEAKEST_ITERATED = 1e-7
"""Weakest strength of the ν-method, whose (bound/λ)^½ steps must stay affordable."""


def cross_validate(
    frame: Frame,
    candidates: list[Candidate],
    landmarks: Tensor,
    *,
    methods: tuple[str, ...],
    strength: float | None = None,
    losses: list[QuadraticLoss] | None = None,
) -> list[Choice]:
    """Choose the strength for each form of one kernel, on every base, by rows held out.

    A landmark is left out with its own part: a kernel centred at a validated row would
    see it at distance 0, where the loss says nothing about other rows.

    Parameters
    ----------
    frame : Frame
    candidates : list of Candidate
        All of the same kernel and bandwidth, so that they share a decomposition.
    landmarks : Tensor of shape (m,)
        Positions of the landmarks among the rows.
    methods : tuple of str
        Filters to compare, see `filter_gains`.
    strength : float or None, default=None
        The only strength; None to compare the default grid of each filter.
    losses : list of QuadraticLoss, default=None
        The `losses_of_parts` of the only candidate for the `scores_without` a part,
        where they are known.

    Returns
    -------
    choices : list of Choice
        The best strength of each candidate, base and filter.
    """
    start = functools.partial(Parts, landmarks=landmarks, first=candidates[0])
    parts = start(frame)
    choices: list[Choice] = []
    for candidate in candidates:
        form = candidate.build(parts.points)
        grids = {
            method: strengths_of(method, form, len(frame.rows), strength)
            for method in methods
        }
        folds = parts.folds(candidate, grids, losses)
        # Of all settings compared few are asked for the loss of each row. To fit these
        # again, on their base alone, takes less than to keep the folds of all.
        evaluate = functools.partial(
            _held_out_losses, frame, start, candidate, grids, losses
        )
        choices += _best_of_each_filter(frame, candidate, grids, folds, evaluate)
    return choices


def strengths_of(method: str, form: Form, n_rows: int, given: float | None) -> Tensor:
    """Return the regularisation strengths to compare, strongest first.

    None is weaker than ``n^(−5/2)``: far below the rates at which ``λ`` must fall for
    scores as rough as the kernel (Zhou, Shi & Zhu 2020, theorem 3.1). Smoother ones, a
    polynomial for one, are best with wide kernels and less than ``1/n²``; still weaker
    ones extrapolate without bound.
    """
    if given is not None:
        return form.landmarks.new_tensor([given])
    weakest = max(WEAKEST_ITERATED if method == "nu" else 0.0, n_rows**-2.5)
    grid = [strength for strength in STRENGTHS if strength >= weakest]
    return form.landmarks.new_tensor(grid) * form.trace()


def _best_of_each_filter(
    frame: Frame,
    candidate: Candidate,
    grids: dict[str, Tensor],
    folds: list[Fold],
    evaluate: Callable[[str, int], Tensor],
) -> Iterator[Choice]:
    """Yield the best strength of each filter on each base."""
    weights = frame.weights
    changes = torch.stack([fold.changes(frame) for fold in folds]).sum(0)
    degrees = torch.stack([fold.degrees_of_freedom() for fold in folds]).mean(0)
    for place, base in enumerate(frame.bases.values()):
        losses = (weights @ base.losses + changes[place]) / weights.sum()
        start = 0
        for method, grid in grids.items():
            best = int(losses[start : start + len(grid)].argmin())
            fit = start + best
            yield Choice(
                candidate,
                base.name,
                method,
                strength=float(grid[best]),
                loss=float(losses[fit]),
                degrees_of_freedom=float(degrees[fit]),
                evaluate=functools.partial(evaluate, base.name, fit),
            )
            start += len(grid)


def _held_out_losses(
    frame: Frame,
    start: Callable[[Frame], Parts],
    candidate: Candidate,
    grids: dict[str, Tensor],
    losses: list[QuadraticLoss] | None,
    base: str,
    fit: int,
) -> Tensor:
    """Return the loss of each validated row by one fit on one base."""
    frame = frame.only(base)
    folds = start(frame).folds(candidate, grids, losses)
    found = torch.cat([fold.losses(frame, fit) for fold in folds])
    # The rows of one part come after those of another.
    return found[torch.argsort(torch.cat([fold.positions for fold in folds]))]
