"""The score of a distribution from a sample: tensors in, a `ScoreModel` out."""

import math
import operator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from .fitting import (
    KernelFit,
    base_alone,
    best_base_alone,
    fit_cross_validated,
    fit_published_estimator,
)
from .model import AveragedScore, Score
from .sample.reading import read_rows
from .sample.rows import Rows
from .sample.splits import N_FOLDS, Split, split_rows
from .selection.bandwidths import in_bandwidths
from .selection.candidates import Candidate
from .selection.comparison import Setting
from .selection.frames import OWN_SCALES, Frame, make_frame
from .selection.options import Options, options_of
from .selection.refinement import refine
from .selection.search import Found, Search
from .settings import Report, Settings
from .state import model_to

FEWEST_ROWS_FOR_A_KERNEL = 2 * N_FOLDS
"""Fewer rows are not split into folds."""


def fit_score(
    X: Tensor,
    settings: Settings | None = None,
    *,
    weights: Tensor | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> tuple[Score, Report]:
    """Estimate the score ``∇ₓ log q(x)`` of the distribution of a sample.

    Parameters
    ----------
    X : Tensor of shape (n, d)
        The sample, finite, in any floating type and on any device. It is read in chunks
        and never copied whole.
    settings : Settings, default=None
        What to fit; by default everything is chosen from the sample.
    weights : Tensor of shape (n,), default=None
        How often each row counts: a weight of 2 is that of a row that occurs twice, and
        rows of weight 0 take no part. By default once. But for ``method="stein"`` only
        their ratios matter.
    seed : int, default=0
        Seed of the random folds, subsets and landmarks.
    device : str or torch.device, default="cpu"
        Where to compute, in float64.

    Returns
    -------
    model : ScoreModel or AveragedScore
    report : Report

    Raises
    ------
    TypeError, ValueError
        For a sample, weights or settings that mean nothing, and for a sample whose
        score is no number in double precision.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae.stein import fit_score
    >>> X = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    >>> model, report = fit_score(X)
    >>> model.score(torch.zeros(1, 2)).shape
    torch.Size([1, 2])
    """
    settings = Settings() if settings is None else settings
    if not isinstance(settings, Settings):
        raise TypeError(
            f"settings is of type {type(settings).__name__}; pass stein.Settings, for "
            "example stein.Settings(kernel='rbf')"
        )
    seed = operator.index(seed)  # torch takes no integers of NumPy
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        device = torch.device(device)
        rows = read_rows(X, weights, generator=generator, device=device)
        n_rows = float(len(X) if weights is None else weights.double().sum())
        model, report = _estimate(
            _Sample(
                in_bandwidths(rows, settings.bandwidth),
                n_rows,
                settings,
                options_of(settings, len(rows), n_rows),
                seed,
            )
        )
        return model_to(model, device), report


@dataclass(frozen=True)
class _Sample:
    """A sample, and how it is to be fitted.

    Attributes
    ----------
    rows : Rows
        In coordinates in which a given bandwidth is 1.
    n_rows : float
        Their number, repeated ones included.
    settings : Settings
    options : Options
        Of these settings.
    seed : int
    """

    rows: Rows
    n_rows: float
    settings: Settings
    options: Options
    seed: int

    @cached_property
    def split(self) -> Split:
        """Folds, or a part held out and the rest."""
        return split_rows(self.rows)

    @cached_property
    def landmarks(self) -> Tensor:
        """Positions of the landmarks of the fit."""
        n, wanted = len(self.rows), self.settings.n_landmarks
        if wanted == "auto":
            wanted = min(1000, max(500, math.ceil(5 * math.sqrt(n))))
        elif wanted == "all":
            wanted = n
        # A part held out of a large sample gives no landmarks.
        most = n if self.split.in_folds else self.split.n_kept
        return self.rows.lowest_ranks(min(most, int(wanted)))

    def frame(self, bases: tuple[str, ...], scaling: str = OWN_SCALES) -> Frame:
        """Return the frame of all rows with some bases."""
        frame = make_frame(self.rows, self.split, bases, self.seed)
        return frame.in_scaling(scaling)

    def allows_a_kernel(self) -> bool:
        """Tell whether the sample varies, and has rows enough for what is compared."""
        if bool((self.rows.inverse_scale == 0).all()):
            return False
        compares = self.options.need_search or self.options.strength is None
        if not compares or len(self.rows) >= FEWEST_ROWS_FOR_A_KERNEL:
            return True
        if self.options.bases[0] != "none":
            return False
        raise ValueError(
            f"X has {len(self.rows)} distinct rows, but choosing the kernel or the "
            f"regularization needs {FEWEST_ROWS_FOR_A_KERNEL}; give kernel, form, "
            "bandwidth and regularization, or take the Gaussian base"
        )


def _estimate(sample: _Sample) -> tuple[Score, Report]:
    """Return the estimate of a sample, after a search where one is needed."""
    options = sample.options
    if not sample.allows_a_kernel():
        simplest = options.bases[:1]
        return base_alone(sample.frame(simplest), *simplest)
    if options.candidate is not None and not options.need_search:
        frame = sample.frame(options.bases)
        return _fit(sample, frame, options.candidate, next(iter(frame.bases)))
    search = Search(sample.rows, options, sample.seed)
    found = search.run()
    if _is_settled(sample, search):
        return _average(sample, search, found)
    if options.sees_all:
        frame = search.frames[found.candidate.scaling].only(*found.bases)
        return _fit(sample, frame, found.candidate, found.base)
    if options.any_bandwidth:
        found = refine(
            found,
            search.neighbourhood,
            sample.rows,
            options,
            len(sample.landmarks),
            sample.seed,
        )
        if not found.leaders:
            return best_base_alone(sample.frame(found.bases))
    frame = sample.frame(found.bases, found.candidate.scaling)
    return _fit(sample, frame, found.candidate, found.base)


def _is_settled(sample: _Sample, search: Search) -> bool:
    """Tell whether a search saw all that the fit will, but for more landmarks."""
    options = sample.options
    open_strength = options.strength is None and not options.published
    enough = len(sample.landmarks) >= len(search.landmarks)
    return options.sees_all and options.any_bandwidth and open_strength and enough


def _average(sample: _Sample, search: Search, found: Found) -> tuple[Score, Report]:
    """Return the mean of the leaders of a search, each at its strength."""
    alone, report = best_base_alone(search.frames[OWN_SCALES].only(*found.bases))
    if not found.leaders:
        return alone, report
    fits = [
        KernelFit(
            search.frames[leader.candidate.scaling], leader.candidate, sample.landmarks
        ).at(leader)
        for leader in found.leaders
    ]
    models = tuple(model for model, _ in fits)
    best = found.leaders[0]
    report = replace(
        fits[0][1],
        loss=best.loss,
        base_loss=report.base_loss,
        degrees_of_freedom=best.degrees_of_freedom,
        n_averaged=len(models),
    )
    return models[0] if len(models) == 1 else AveragedScore(models), report


def _fit(
    sample: _Sample, frame: Frame, candidate: Candidate, base: str
) -> tuple[Score, Report]:
    """Return the fit of one candidate, at a given strength with the given base.

    Where the strength is chosen, so is one of the frame's bases.
    """
    options, landmarks = sample.options, sample.landmarks
    if options.published:
        return _fit_published(sample, frame, candidate)
    if options.strength is None:
        return fit_cross_validated(frame, candidate, landmarks, options.methods)
    if base not in frame.bases:  # it turned out to be the Gaussian with more rows
        base = next(iter(frame.bases))
    setting = Setting(candidate, base, options.methods[0], options.strength)
    return KernelFit(frame, candidate, landmarks).at(setting)


def _fit_published(
    sample: _Sample, frame: Frame, candidate: Candidate
) -> tuple[Score, Report]:
    """Return the published estimator, its ridge chosen as ``η = n λ`` or given."""
    ridge = sample.settings.regularization
    if sample.options.strength is None:
        fit = KernelFit(frame, candidate, sample.landmarks)
        choice = fit.choose_strength(sample.options.methods, fit.losses_of_parts())
        ridge = choice.strength * sample.n_rows
    return fit_published_estimator(frame, candidate, float(ridge), sample.n_rows)
