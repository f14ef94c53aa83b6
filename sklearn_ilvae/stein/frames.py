"""Coordinates with their rows and base scores, and the kernels to try in them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .bases import Base, fit_bases
from .forms import FORMS, Form
from .gaussian import fit_gaussian
from .kernels import make_kernel
from .rows import Rows, Split


@dataclass(frozen=True)
class Candidate:
    """A kernel, its form, and its bandwidth in the coordinates of a frame."""

    kernel: str
    form: str
    bandwidth: float
    isotropic: bool = False

    def build(self, landmarks: Tensor) -> Form:
        """Return the form over `landmarks`."""
        return FORMS[self.form](make_kernel(self.kernel, self.bandwidth), landmarks)


@dataclass(frozen=True)
class Frame:
    """Coordinates in which a kernel is isotropic.

    Attributes
    ----------
    rows : Rows
        In coordinates of the plane that holds the sample.
    split : Split
    shrinkage : float
        Of the covariance of the base scores.
    bases : dict of Base
        The base scores to compare.
    metric : Tensor of shape (r,)
        Weight of each coordinate in the loss, so that frames can be compared.
    """

    rows: Rows
    split: Split
    shrinkage: float
    bases: dict[str, Base]
    metric: Tensor

    @property
    def weights(self) -> Tensor:
        """Return the weights of the validated rows."""
        return self.rows.weights[self.split.validated]

    def only(self, names: set[str]) -> Frame:
        """Return the frame with some of its bases."""
        kept = {name: base for name, base in self.bases.items() if name in names}
        return replace(self, bases=kept)

    def on_common_scale(self, ratio: Tensor) -> Frame:
        """Return the frame of coordinates stretched by `ratio_to_common_scale`."""
        return Frame(
            self.rows.on_common_scale(ratio),
            self.split,
            self.shrinkage,
            {name: base.stretched(ratio) for name, base in self.bases.items()},
            self.metric * ratio.square(),
        )


def make_frame(rows: Rows, split: Split, names: tuple[str, ...], seed: int) -> Frame:
    """Return the frame of some rows with base scores fitted to them."""
    gaussian = fit_gaussian(rows, split)
    bases = fit_bases(split, gaussian, names, seed)
    metric = torch.ones_like(gaussian.full.mean)
    return Frame(gaussian.rows, split, gaussian.shrinkage, bases, metric)
