"""What a fit compares: the settings, with what they leave open spelled out."""

from dataclasses import dataclass

from ..bases.fitted import BASES
from ..kernels.forms import FORMS
from ..kernels.radial import KERNELS
from ..settings import Settings
from .candidates import Candidate

COMPARED_METHODS = ("tikhonov", "spectral_cutoff")
"""Filters to compare.

Tikhonov's is safer; the cut-off does not shrink what it keeps, and so follows scores
that are as smooth as the kernel. In searches of a subset it gained nothing.
"""

MANY_ROWS = 10_000
"""From here on a search sees a subset.

What it finds is searched again with more rows and all landmarks.
"""


@dataclass(frozen=True)
class Options:
    """What is compared in a fit to one sample.

    Attributes
    ----------
    kernels, forms, methods : tuple of str
    bases : tuple of str
        From the simplest.
    strength : float or None
        The strength ``λ`` of regularisation; None to compare a grid.
    any_bandwidth : bool
        Whether bandwidths are compared; otherwise it is 1.
    candidate : Candidate or None
        The kernel, form and bandwidth where all are given.
    n_averaged : int
        Most estimates to average.
    sees_all : bool
        Whether a search compares on all rows, not on a subset.
    published : bool
        Whether the estimator is that of Li & Turner.
    """

    kernels: tuple[str, ...]
    forms: tuple[str, ...]
    methods: tuple[str, ...]
    bases: tuple[str, ...]
    strength: float | None
    any_bandwidth: bool
    candidate: Candidate | None
    n_averaged: int
    sees_all: bool
    published: bool

    @property
    def need_search(self) -> bool:
        """Whether more is compared than strengths and filters."""
        return self.candidate is None or len(self.bases) > 1


def options_of(settings: Settings, n_distinct: int, n_rows: float) -> Options:
    """Return what settings compare.

    Parameters
    ----------
    settings : Settings
    n_distinct : int
        Number of distinct rows.
    n_rows : float
        Number of rows, repeated ones included.

    Returns
    -------
    Options
    """
    published = settings.method == "stein"
    sees_all = n_distinct < MANY_ROWS
    given = settings.regularization
    strength = None if isinstance(given, str) else float(given)
    if published and strength is not None:
        # The ridge of the published estimator is η = n λ.
        strength /= n_rows

    form = "diagonal" if published else settings.form
    forms = tuple(FORMS) if form == "auto" else (form,)
    kernel = settings.kernel
    kernels = tuple(KERNELS) if kernel == "auto" else (kernel,)
    any_bandwidth = isinstance(settings.bandwidth, str) and settings.bandwidth == "auto"
    candidate = None
    if not any_bandwidth and len(kernels) == len(forms) == 1:
        candidate = Candidate(kernels[0], forms[0], 1.0)

    return Options(
        kernels=kernels,
        forms=forms,
        methods=_methods(settings.method, several=sees_all and strength is None),
        bases=_bases(settings, several=candidate is None or strength is None),
        strength=strength,
        any_bandwidth=any_bandwidth,
        candidate=candidate,
        n_averaged=settings.n_averaged,
        sees_all=sees_all,
        published=published,
    )


def _methods(method: str, *, several: bool) -> tuple[str, ...]:
    if method == "stein":
        return ("tikhonov",)  # its ridge
    if method != "auto":
        return (method,)
    return COMPARED_METHODS if several else COMPARED_METHODS[:1]


def _bases(settings: Settings, *, several: bool) -> tuple[str, ...]:
    if settings.base is None or settings.method == "stein":
        return ("none",)
    if settings.base != "auto":
        return (settings.base,)
    return tuple(BASES) if several else tuple(BASES)[:1]
