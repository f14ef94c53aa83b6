"""Regularised solutions of the quadratic Hyvärinen loss, all from one decomposition.

Tikhonov, spectral cut-off, the ν-method and Landweber iteration are filters ``g(σ)`` of
the eigenvalues of the same operator (Zhou, Shi & Zhu 2020, section 3), so one
decomposition gives every method at every strength.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

ROUNDING = 1e-16
"""A pivot below this share of the trace of a kernel matrix is rounding error."""

ROUNDING_OF_SUMS = 1e-13
"""The same where a Gram matrix is whitened after it was summed and rounded."""

SMALLEST_PIVOT = 1e-5
"""Larger pivots, relative to the first, need no order but that of the landmarks."""

MOST_STEPS = 1_000_000
"""Steps of the ν-method, of which a processor makes some ten thousand a second."""


@dataclass(frozen=True)
class FilteredFields:
    """Fields of several filters, for each of several linear terms.

    Attributes
    ----------
    basis : Tensor of shape (m, r)
        Of a `Spectrum`.
    moments : Tensor of shape (v, r, q)
        The ``Bᵀ b`` of each linear term.
    gains : Tensor of shape (l, r)
        Values ``g(σ)`` of each filter.
    """

    basis: Tensor
    moments: Tensor
    gains: Tensor

    def coefficients(self) -> Tensor:
        """Return the ``−B g(σ) Bᵀ b``, of shape (v, l, m, q)."""
        return -self.basis @ (self.gains[..., None] * self.moments[:, None])


@dataclass(frozen=True)
class Spectrum:
    """The pencil ``(G, K)`` diagonalised: ``BᵀKB = I`` and ``BᵀGB = diag(σ)``.

    Attributes
    ----------
    basis : Tensor of shape (m, r)
        The matrix ``B``.
    eigenvalues : Tensor of shape (r,)
        The ``σ``, at least 0.
    """

    basis: Tensor
    eigenvalues: Tensor

    def filtered(self, linear: Tensor, gains: Tensor) -> FilteredFields:
        """Return the fields that filters make of linear terms.

        Parameters
        ----------
        linear : Tensor of shape (v, m, q)
            Linear terms ``b`` of losses.
        gains : Tensor of shape (l, r)
            Values ``g(σ)`` of each filter.

        Returns
        -------
        fields : FilteredFields
        """
        return FilteredFields(self.basis, self.basis.T @ linear, gains)


@dataclass(frozen=True)
class Whitening:
    """A penalty ``K`` and a Cholesky factor of it with pivots.

    It takes a fraction of the time of eigenvectors.

    Attributes
    ----------
    penalty : Tensor of shape (m, m)
    pivots : Tensor of shape (r,)
        Rows on which, up to rounding, the others depend linearly.
    root : Tensor of shape (r, r)
        The upper triangular ``R`` with ``RᵀR`` the penalty of the pivots.
    """

    penalty: Tensor
    pivots: Tensor
    root: Tensor

    @cached_property
    def basis(self) -> Tensor:
        """The ``W`` with ``WᵀKW = I``, of shape (m, r); only pivots are not 0."""
        identity = torch.eye(
            len(self.root), dtype=self.root.dtype, device=self.root.device
        )
        basis = self.penalty.new_zeros(len(self.penalty), len(self.root))
        basis[self.pivots] = torch.linalg.solve_triangular(
            self.root, identity, upper=True
        )
        return basis

    def leading(self, tolerance: float) -> "Whitening":
        """Return the factor of the pivots above a share of the trace.

        All of them where they have no order: the first would not be the largest.
        """
        if _are_large(self.root.diagonal()):
            return self
        count = int((self._squares > tolerance * self.penalty.trace()).sum())
        return Whitening(self.penalty, self.pivots[:count], self.root[:count, :count])

    def rounding(self, bound: float) -> float:
        """Return the order of rounding errors in a Gram matrix whitened afterwards.

        Those of its entries, divided by the smallest pivot.

        Parameters
        ----------
        bound : float
            An upper bound of its spectrum.

        Returns
        -------
        size : float
        """
        entry = bound * float(self.penalty.diagonal().max())
        smallest = float(self._squares.min())
        return torch.finfo(self.root.dtype).eps * entry / smallest

    @property
    def _squares(self) -> Tensor:
        """Squares of the sizes of the pivots, the largest first or in no order."""
        return self.root.diagonal().square()


def whiten(penalty: Tensor, tolerance: float = ROUNDING_OF_SUMS) -> Whitening:
    """Factorise a penalty, its null directions left out.

    Parameters
    ----------
    penalty : Tensor of shape (m, m)
        Positive definite up to rounding.
    tolerance : float, default=1e-13
        Share of the trace below which a pivot counts as null.

    Returns
    -------
    whitening : Whitening
    """
    factor, failed = torch.linalg.cholesky_ex(penalty)
    if not failed and _are_large(factor.diagonal()):
        everything = torch.arange(len(penalty), device=penalty.device)
        return Whitening(penalty, everything, factor.mT)
    pivots, root = _pivoted_cholesky(penalty.cpu(), tolerance)
    return Whitening(penalty, pivots.to(penalty.device), root.to(penalty.device))


def _are_large(pivots: Tensor) -> bool:
    """Tell whether pivots need no order."""
    return bool((pivots > SMALLEST_PIVOT * pivots[:1]).all())


def _pivoted_cholesky(matrix: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """Return pivots (r,) and the factor (r, r) of their rows and columns.

    The largest of what is left on the diagonal comes next, until all is rounding error
    (Higham 2002, "Accuracy and stability of numerical algorithms", section 10.3).
    """
    smallest = tolerance * float(matrix.trace())
    left = matrix.diagonal().clone()
    rows = torch.empty_like(matrix)
    pivots: list[int] = []
    for step in range(len(matrix)):
        pivot = int(left.argmax())
        size = float(left[pivot])
        if not size > smallest:
            break
        row = matrix[pivot] - rows[:step, pivot] @ rows[:step]
        rows[step] = row.div_(size**0.5)
        left -= row.square_()
        left[pivot] = -torch.inf
        pivots.append(pivot)
    return torch.tensor(pivots, device="cpu"), rows[: len(pivots), pivots].triu()


def decompose(whitened: Tensor, basis: Tensor) -> Spectrum:
    """Diagonalise the Gram matrix in the geometry of the penalty.

    Parameters
    ----------
    whitened : Tensor of shape (r, r)
        The ``WᵀGW``, from `whitened_gram` or that of whitened fields.
    basis : Tensor of shape (m, r)
        The ``W``, of a `Whitening`.

    Returns
    -------
    spectrum : Spectrum
    """
    eigenvalues, rotation = torch.linalg.eigh(whitened)
    return Spectrum(basis @ rotation, eigenvalues.clamp(min=0.0))


def whitened_gram(gram: Tensor, basis: Tensor) -> Tensor:
    """Return ``WᵀGW``, symmetric to the last digit."""
    inner = basis.T @ gram @ basis
    return (inner + inner.T) / 2


def filter_gains(
    method: str, eigenvalues: Tensor, regularization: Tensor, bound: float
) -> Tensor:
    """Return the filter ``g(σ)``, an approximation of ``1/σ``, of a method.

    Parameters
    ----------
    method : {"tikhonov", "spectral_cutoff", "nu", "landweber"}
        ``1/(σ + λ)``; ``1/σ`` where ``σ ≥ λ``, else 0 (the spectral Stein gradient
        estimator, SSGE, of Shi, Sun & Zhu 2018); the ν-method with ν = 1; Landweber
        iteration. The iterative methods run ``⌈(bound/λ)^½⌉`` and ``⌈bound/λ⌉`` steps,
        the numbers that match a Tikhonov strength ``λ`` (Zhou, Shi & Zhu 2020, theorems
        3.1, 3.2 and 3.4 and example C.4).
    eigenvalues : Tensor of shape (r,)
        The ``σ ≥ 0``.
    regularization : Tensor of shape (l,)
        The strengths ``λ > 0``.
    bound : float
        An upper bound of the eigenvalues, which sets the step of the iterations.

    Returns
    -------
    gains : Tensor of shape (l, r)
    """
    strength = regularization[:, None]
    if method == "tikhonov":
        return 1.0 / (eigenvalues + strength)
    if method == "spectral_cutoff":
        # The divisor is at least λ wherever the result is kept.
        return (eigenvalues >= strength) / torch.maximum(eigenvalues, strength)
    share = (eigenvalues / bound).clamp(max=1.0)
    if method == "landweber":
        return _landweber(share, torch.ceil(bound / strength)) / bound
    if method == "nu":
        steps = torch.ceil((bound / regularization).sqrt())
        if steps.max() > MOST_STEPS:
            raise ValueError(
                f"regularization={float(regularization.min()):.3g} would take "
                f"{float(steps.max()):.3g} steps of method='nu'; choose at least "
                f"{bound / MOST_STEPS**2:.3g}, or method='tikhonov'"
            )
        # Thousands of steps with few numbers: a GPU starts each longer than it takes.
        return _nu_method(share.cpu(), steps.cpu()).to(share) / bound
    raise ValueError(
        f"method={method!r} is unknown; choose 'tikhonov', 'spectral_cutoff', 'nu' or "
        "'landweber'"
    )


def solve(
    method: str,
    gram: Tensor,
    whitening: Whitening,
    linear: Tensor,
    strength: float,
    bound: float,
) -> Tensor | None:
    """Return ``−W g(WᵀGW) Wᵀ b``: the coefficients of one filter at one strength.

    Those of Tikhonov's, ``−(G + λK)⁻¹ b``, need no decomposition.

    Parameters
    ----------
    method : str
        As in `filter_gains`.
    gram : Tensor of shape (m, m)
    whitening : Whitening
    linear : Tensor of shape (m, q)
        The linear term ``b`` of the loss.
    strength : float
        The ``λ > 0``.
    bound : float
        As in `filter_gains`.

    Returns
    -------
    coefficients : Tensor of shape (m, q), or None
        None where the strength is below the rounding of the Gram matrix.
    """
    every_row = len(whitening.pivots) == len(whitening.penalty)
    plain = method == "tikhonov" and every_row
    if plain:
        inner = gram + strength * whitening.penalty
    else:
        inner = whitened_gram(gram, whitening.basis)
        inner.diagonal().add_(strength)
    factor, failed = torch.linalg.cholesky_ex(inner)
    if failed:
        return None
    if plain:
        return -torch.cholesky_solve(linear, factor)
    basis = whitening.basis
    if method == "tikhonov":
        return -basis @ torch.cholesky_solve(basis.T @ linear, factor)
    # Of tiny eigenvalues the factor keeps digits that are lost in the matrix.
    rotation, roots, _ = torch.linalg.svd(factor)
    eigenvalues = (roots.square() - strength).clamp(min=0.0)
    gains = filter_gains(method, eigenvalues, gram.new_tensor([strength]), bound)
    fields = Spectrum(basis @ rotation, eigenvalues).filtered(linear[None], gains)
    return fields.coefficients()[0, 0]


def _landweber(share: Tensor, steps: Tensor) -> Tensor:
    """Return ``Σ_{i<t} (1 − σ)ⁱ = (1 − (1 − σ)ᵗ)/σ``."""
    total = -torch.expm1(steps * torch.log1p(-share))
    return torch.where(share > 0, total / share, steps.expand_as(total))


def _nu_method(share: Tensor, steps: Tensor) -> Tensor:
    """Run the ν-method (Engl, Hanke & Neubauer 1996, section 6.3), here with ν = 1."""
    wanted = [int(step) for step in steps]
    results: dict[int, Tensor] = {}
    previous, gain = torch.zeros_like(share), torch.zeros_like(share)
    for t in range(1, max(wanted) + 1):
        divisor = (t + 1) * (2 * t + 3)
        omega = 4 * t * (2 * t + 1) / divisor
        mu = (t - 1) * (2 * t - 3) * (2 * t + 1) / (divisor * (2 * t - 1))
        step = mu * (gain - previous) + omega * (1.0 - share * gain)
        previous, gain = gain, gain + step
        if t in wanted:
            results[t] = gain
    return torch.stack([results[t] for t in wanted])
