"""Kernels with their forms and bandwidths, and which of them a search tries next."""

from dataclasses import dataclass, replace

from torch import Tensor

from ..kernels.forms import FORMS, Form
from ..kernels.radial import make_kernel
from .frames import OWN_SCALES

FIRST_FACTORS = (0.5, 2.0)
"""Multiples of the median distance to begin with."""

NARROWEST_FACTOR = 1 / 16
"""Smallest multiple of the median distance to try."""

NARROWEST_FACTOR_FOR_FEW_ROWS = 1 / 4
"""The same for few rows, whose held-out loss by a narrow kernel is mostly noise.

Where it is surely less than that by others, the limit is that of many rows.
"""

FEW_ROWS = 1000
"""With fewer rows kernels are not tried as narrow as with more."""

WIDEST_FACTOR = 16.0
"""Largest multiple of the median distance to try."""


@dataclass(frozen=True)
class Candidate:
    """A kernel, its form, and its bandwidth in the coordinates of a frame.

    The `scaling` says of which frame: see `in_all_scalings`.
    """

    kernel: str
    form: str
    bandwidth: float
    scaling: str = OWN_SCALES

    def build(self, landmarks: Tensor) -> Form:
        """Return the form over `landmarks`."""
        return FORMS[self.form](make_kernel(self.kernel, self.bandwidth), landmarks)


@dataclass(frozen=True)
class Neighbourhood:
    """Which candidates a search begins with, and which are next to others.

    Attributes
    ----------
    kernels, forms : tuple of str
    medians : dict of float
        The median distance between rows by scaling; bandwidths are multiples of it.
    any_bandwidth : bool
        Whether bandwidths are compared; otherwise it is 1.
    narrowest : float
        The smallest multiple.
    """

    kernels: tuple[str, ...]
    forms: tuple[str, ...]
    medians: dict[str, float]
    any_bandwidth: bool
    narrowest: float

    def first(self) -> list[list[Candidate]]:
        """Return the candidates to begin with, grouped by kernel and bandwidth."""
        if self.any_bandwidth:
            places = [
                (self.kernels[0], factor * median, scaling)
                for scaling, median in self.medians.items()
                for factor in FIRST_FACTORS
            ]
        else:
            places = [(kernel, 1.0, OWN_SCALES) for kernel in self.kernels]
        return [
            [Candidate(kernel, form, bandwidth, scaling) for form in self.forms]
            for kernel, bandwidth, scaling in places
        ]

    def is_narrow(self, candidate: Candidate) -> bool:
        """Tell whether a bandwidth is below the smallest multiple for few rows."""
        median = self.medians[candidate.scaling]
        return candidate.bandwidth / median < NARROWEST_FACTOR_FOR_FEW_ROWS

    def narrowest_like(self, candidate: Candidate) -> list[Candidate]:
        """Return the narrowest kernel in the scaling of a candidate, in every form."""
        bandwidth = NARROWEST_FACTOR * self.medians[candidate.scaling]
        first = replace(candidate, kernel=self.kernels[0], bandwidth=bandwidth)
        return self.in_all_forms(first)

    def around(self, candidate: Candidate) -> list[Candidate]:
        """Return the next bandwidths, those of other kernels, and the other forms."""
        found = self.at_multiples(candidate, 0.5, 2.0)
        for kernel in self.kernels:
            if kernel != candidate.kernel:
                # The inverse multiquadric bends more at the same bandwidth.
                step = 0.5 if kernel == "rbf" else 2.0
                others = self.at_multiples(candidate, 1.0, step)
                found += [replace(other, kernel=kernel) for other in others]
        return found + self.in_all_forms(candidate)

    def in_all_forms(self, candidate: Candidate) -> list[Candidate]:
        """Return a candidate in every form."""
        return [replace(candidate, form=form) for form in self.forms]

    def at_multiples(self, candidate: Candidate, *steps: float) -> list[Candidate]:
        """Return a candidate at multiples of its bandwidth, none beyond the limits."""
        median = self.medians[candidate.scaling]
        factors = [candidate.bandwidth / median * step for step in steps]
        return [
            replace(candidate, bandwidth=factor * median)
            for factor in factors
            if self.narrowest <= factor <= WIDEST_FACTOR
        ]
