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

    def build(self, landmarks: Tensor, extent: Tensor) -> Form:
        """Return the form over `landmarks`."""
        return FORMS[self.form](
            make_kernel(self.kernel, self.bandwidth), landmarks, extent
        )


@dataclass(frozen=True)
class Frame:
    """Coordinates in which a kernel is isotropic.

    Attributes
    ----------
    rows : Rows
    split : Split
    basis : Tensor of shape (d, rank)
        Orthonormal basis of the plane that holds the sample.
    shrinkage : float
        Of the covariance of the base scores.
    bases : dict of Base
        The base scores to compare.
    metric : Tensor of shape (d,)
        Weight of each coordinate in the loss, so that frames can be compared.
    """

    rows: Rows
    split: Split
    basis: Tensor
    shrinkage: float
    bases: dict[str, Base]
    metric: Tensor

    @property
    def weights(self) -> Tensor:
        """Return the weights of the validated rows."""
        return self.rows.weights[self.split.validated]

    @property
    def projector(self) -> Tensor:
        """Return the orthogonal projector on the plane of the sample."""
        return self.basis @ self.basis.T

    @property
    def extent(self) -> Tensor:
        """Return the diagonal of the projector."""
        return self.basis.square().sum(1)

    def only(self, names: set[str]) -> Frame:
        """Return the frame with some of its bases."""
        kept = {name: base for name, base in self.bases.items() if name in names}
        return replace(self, bases=kept)

    def stretched(self, ratio: Tensor) -> Frame:
        """Return the frame of coordinates ``u' = ratio · u``."""
        return Frame(
            self.rows.rescaled(self.rows.inverse_scale * ratio),
            self.split,
            torch.linalg.qr(self.basis * ratio[:, None]).Q,
            self.shrinkage,
            {name: base.stretched(ratio) for name, base in self.bases.items()},
            self.metric * ratio.square(),
        )


def make_frame(rows: Rows, split: Split, names: tuple[str, ...], seed: int) -> Frame:
    """Return the frame of some rows with base scores fitted to them."""
    gaussian = fit_gaussian(rows, split)
    bases = fit_bases(rows, split, gaussian, names, seed)
    metric = torch.ones_like(rows.inverse_scale)
    return Frame(rows, split, gaussian.basis, gaussian.shrinkage, bases, metric)
