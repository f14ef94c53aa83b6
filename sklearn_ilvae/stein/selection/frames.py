"""Coordinates with their rows and base scores."""

from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor

from ..bases.fitted import Base, fit_bases
from ..bases.gaussian import fit_gaussian
from ..sample.atoms import where_scores_exist
from ..sample.rows import Rows
from ..sample.splits import Split

OWN_SCALES = "own_scales"
"""Coordinates in which each column has unit scale."""

COMMON_SCALE = "common_scale"
"""Coordinates in which columns share a scale, for kernels that suit clusters."""

ALIKE = 1.2
"""Scales that differ by less make no other kernel when they become one."""


@dataclass(frozen=True)
class Frame:
    """Coordinates in which a kernel is isotropic.

    Attributes
    ----------
    rows : Rows
        In coordinates of the plane that holds the sample.
    split : Split
    bases : dict of Base
        The base scores to compare.
    metric : Tensor of shape (r,)
        Weight of each coordinate in the loss, so that frames can be compared; 0 where
        there is no score along it.
    """

    rows: Rows
    split: Split
    bases: dict[str, Base]
    metric: Tensor

    @property
    def weights(self) -> Tensor:
        """The weights of the validated rows."""
        return self.rows.weights[self.split.validated]

    def only(self, *names: str) -> Self:
        """Return the frame with some of its bases."""
        kept = {name: base for name, base in self.bases.items() if name in names}
        return replace(self, bases=kept)

    def in_scaling(self, scaling: str) -> Self:
        """Return the frame in the coordinates of a name."""
        if scaling == OWN_SCALES:
            return self
        ratio = self.rows.ratio_to_common_scale()
        return replace(
            self,
            rows=self.rows.on_common_scale(ratio),
            bases={name: base.stretched(ratio) for name, base in self.bases.items()},
            metric=self.metric * ratio.square(),
        )


def make_frame(rows: Rows, split: Split, names: tuple[str, ...], seed: int) -> Frame:
    """Return the frame of some rows with base scores fitted to them.

    Parameters
    ----------
    rows : Rows
    split : Split
        Of these rows.
    names : tuple of str
        As in `fit_bases`.
    seed : int

    Returns
    -------
    Frame
    """
    gaussian = fit_gaussian(rows, split)
    metric = where_scores_exist(gaussian.rows)
    bases = fit_bases(split, gaussian, names, seed, metric)
    return Frame(gaussian.rows, split, bases, metric)


def in_all_scalings(frame: Frame) -> dict[str, Frame]:
    """Return a frame of scaled columns and, where sensible, that of one scale."""
    frames = {OWN_SCALES: frame}
    scale = frame.rows.scale
    if frame.rows.commensurable and float(scale.max() / scale.min()) > ALIKE:
        frames[COMMON_SCALE] = frame.in_scaling(COMMON_SCALE)
    return frames
