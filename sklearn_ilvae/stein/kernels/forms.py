"""The two forms of the kernel part of a score: diagonal and curl-free.

Both write it as ``f(u) = Σⱼ ψⱼ(u) aⱼ`` over landmarks ``zⱼ``, and for both the
Hyvärinen loss ``E[½‖s₀ + f‖² + ∇·(s₀ + f)]`` is quadratic, ``½ tr(aᵀ G a) + tr(bᵀ a)``
up to a constant, with the Gram matrix ``G`` and linear term ``b`` of `accumulate`. The
squared norm of ``f`` in its reproducing kernel Hilbert space is ``tr(aᵀ K a)`` (Zhou,
Shi & Zhu 2020).
"""

from typing import Protocol

from torch import Tensor

from .curl_free import CurlFreeForm
from .diagonal import DiagonalForm
from .radial import Kernel
from .solvers import FilteredFields


class Form(Protocol):
    """A space of vector fields spanned by landmarks."""

    @property
    def kernel(self) -> Kernel:
        """Return the kernel."""

    @property
    def landmarks(self) -> Tensor:
        """Return the points ``zⱼ``."""

    def linear_width(self) -> int:
        """Return ``q``, how many numbers each landmark carries."""

    def trace(self) -> float:
        """Return an upper bound of the spectrum of the Gram matrix in this penalty."""

    def penalty(self) -> Tensor:
        """Return the matrix ``K`` of the squared norm, of shape (m, m).

        A field of unit norm is nowhere longer than 1.
        """

    def field_width(self) -> int:
        """Return how many numbers a field of one landmark has at a row."""

    def accumulate(
        self,
        U: Tensor,
        weights: Tensor,
        base_scores: Tensor,
        basis: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the Gram matrix (m, m) and linear terms (v, m, q) of some rows.

        With a `basis` (m, r) the Gram matrix is that of its fields, (r, r).
        """

    def field(self, U: Tensor, coefficients: Tensor) -> Tensor:
        """Return fields (l, n, d) of coefficients (l, m, q)."""

    def evaluate(
        self, U: Tensor, coefficients: Tensor, metric: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return fields (l, n, d) and divergences (l, n) of coefficients (l, m, q)."""

    def changes(
        self,
        U: Tensor,
        weights: Tensor,
        base_scores: Tensor,
        metric: Tensor,
        fields: FilteredFields,
    ) -> Tensor:
        """Return by how much fields change the loss of base scores, of shape (v, l)."""

    def pull_back(self, U: Tensor, coefficients: Tensor, vectors: Tensor) -> Tensor:
        """Return ``(∇f)ᵀ v`` (n, d) of one field at a vector ``v`` for each row."""


FORMS: dict[str, type[DiagonalForm] | type[CurlFreeForm]] = {
    "diagonal": DiagonalForm,
    "curl_free": CurlFreeForm,
}
