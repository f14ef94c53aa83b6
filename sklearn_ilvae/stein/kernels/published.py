"""The V-statistic Stein estimator exactly as published (Li & Turner 2018)."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .radial import Kernel, kernel_gradient, kernel_matrix

NUMBERS_AT_ONCE = 2**20
"""Numbers of the arrays of an evaluation at once: 8 MiB of float64, half a chunk."""


@dataclass(frozen=True)
class PublishedStein:
    """The estimator of Li & Turner (2018, arXiv 1705.07107), equations 9 and 18.

    A point that occurs ``w`` times stands in them once, its row and its column of every
    kernel matrix times ``√w``: the other eigenvectors of the matrix of all occurrences
    tell equal points apart, and nothing that is multiplied with it does.

    Attributes
    ----------
    kernel : Kernel
    sample : Tensor of shape (n, d)
        The points ``xⁱ``.
    in_sample : Tensor of shape (n, d)
        ``G = −(K + ηI)⁻¹ ⟨∇, K⟩`` (equation 9), the scores at the sample.
    root : Tensor of shape (n, n)
        The lower Cholesky factor of ``K + ηI``.
    regularization : float
        The ridge ``η``.
    counts : Tensor of shape (n,)
        The ``w``.
    """

    kernel: Kernel
    sample: Tensor
    in_sample: Tensor
    root: Tensor
    regularization: float
    counts: Tensor

    def evaluate(self, Y: Tensor, metric: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores (equation 18) and their divergences at new points.

        ``s(y) = −N/c`` with ``c = k(y, y) + η − kᵀ(K + η)⁻¹k`` and
        ``N = kᵀG − (kᵀ(K + η)⁻¹ + 1ᵀ) ∇ᵧK(X, y)``: the score that the in-sample
        formula gives ``y`` when it joins the sample.

        Parameters
        ----------
        Y : Tensor of shape (n_queries, d)
        metric : Tensor of shape (d,)
            Weight of each coordinate in the divergence.

        Returns
        -------
        score : Tensor of shape (n_queries, d)
        divergence : Tensor of shape (n_queries,)
        """
        parts = [self._evaluate(block, metric) for block in self._blocks(Y)]
        return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])

    def score(self, Y: Tensor) -> Tensor:
        """Return the scores alone, for about a ``d``-th of the time."""
        quotients = map(self._quotient, self._blocks(Y))
        return torch.cat([-each.N / each.c for each in quotients])

    def _blocks(self, Y: Tensor) -> tuple[Tensor, ...]:
        return Y.split(max(1, NUMBERS_AT_ONCE // self.sample.numel()))

    def _quotient(self, Y: Tensor) -> "_Quotient":
        often = self.counts.sqrt()[:, None]
        # Value k, gradient ∇ᵧk and score G of each point of the sample, times √w.
        values = often * kernel_matrix(self.kernel, self.sample, Y)
        slopes = often * kernel_gradient(self.kernel, Y, self.sample)
        solved = torch.cholesky_solve(values, self.root)  # (K + η)⁻¹k
        c = (1.0 + self.regularization - (values * solved).sum(0))[:, None]
        N = values.T @ (often * self.in_sample)
        N -= torch.einsum("jq,qja->qa", solved + often, slopes)
        return _Quotient(N, c, slopes, solved)

    def _evaluate(self, Y: Tensor, metric: Tensor) -> tuple[Tensor, Tensor]:
        q, d = Y.shape
        n = len(self.sample)
        often = self.counts.sqrt()[:, None]
        N, c, slopes, solved = self._quotient(Y)

        # The quotient rule, with ∂N_a/∂y_a and ∂c/∂y_a of each coordinate a. The
        # squared length of `half` is (∂k/∂y_a)ᵀ(K + η)⁻¹ ∂k/∂y_a.
        columns = slopes.permute(1, 0, 2).reshape(n, q * d)
        half = torch.linalg.solve_triangular(self.root, columns, upper=False)
        slope_of_N = (slopes * (often * self.in_sample)).sum(1)
        slope_of_N -= half.square().sum(0).reshape(q, d)
        curvatures = often * self._curvatures(Y)
        slope_of_N -= torch.einsum("jq,qja->qa", solved + often, curvatures)
        slope_of_c = -2.0 * torch.einsum("jq,qja->qa", solved, slopes)
        rises = -slope_of_N / c + N * slope_of_c / c.square()
        return -N / c, rises @ metric

    def _curvatures(self, Y: Tensor) -> Tensor:
        """Return ``∂²k(yᵢ, xⱼ)/∂y_a² = 4 φ'' (y − x)_a² + 2 φ'`` of shape (q, n, d)."""
        squares = (Y[:, None, :] - self.sample).square()
        # Times a kernel that vanishes there infinity would not be 0.
        squares.clamp_(max=torch.finfo(squares.dtype).max)
        _, first, second = self.kernel.derivatives(squares.sum(-1))
        return 4.0 * second[..., None] * squares + 2.0 * first[..., None]


class _Quotient(NamedTuple):
    """What equation 18 divides, of some new points, see `PublishedStein.evaluate`.

    Attributes
    ----------
    N : Tensor of shape (q, d)
    c : Tensor of shape (q, 1)
    slopes : Tensor of shape (q, n, d)
        The ``√w ∇ᵧk``.
    solved : Tensor of shape (n, q)
        The ``(K + η)⁻¹k``.
    """

    N: Tensor
    c: Tensor
    slopes: Tensor
    solved: Tensor


def summed_gradients(kernel: Kernel, X: Tensor, counts: Tensor | float = 1.0) -> Tensor:
    """Return ``⟨∇, K⟩ᵢ = Σₖ ∇_{xᵏ} k(xⁱ, xᵏ)`` of Li & Turner (2018).

    Parameters
    ----------
    kernel : Kernel
    X : Tensor of shape (..., n, d)
    counts : Tensor of shape (n,) or float, default=1.0
        How often each point occurs.

    Returns
    -------
    gradients : Tensor of shape (..., n, d)
    """
    slopes = 2.0 * counts * kernel.first_derivative(kernel_matrix(kernel, X, X))
    return slopes @ X - slopes.sum(-1, keepdim=True) * X


def fit_published(
    kernel: Kernel, X: Tensor, regularization: float, counts: Tensor | None = None
) -> PublishedStein:
    """Fit the published V-statistic Stein estimator.

    Parameters
    ----------
    kernel : Kernel
    X : Tensor of shape (n, d)
    regularization : float
        The ridge ``η > 0``.
    counts : Tensor of shape (n,), default=None
        How often each row occurs; by default once.

    Returns
    -------
    model : PublishedStein
    """
    # A pickle keeps the rows alone, in this order: in another the fit rounds otherwise.
    X = X.contiguous()
    counts = X.new_ones(len(X)) if counts is None else counts
    often = counts.sqrt()
    matrix = kernel_matrix(kernel, X, X) * torch.outer(often, often)
    matrix.diagonal().copy_(counts + regularization)
    root, info = torch.linalg.cholesky_ex(matrix)
    summed = often[:, None] * summed_gradients(kernel, X, counts)
    scores = -torch.cholesky_solve(summed, root) / often[:, None]
    vanishes = 1.0 + regularization == 1.0  # and with it the c of a point of the sample
    if vanishes or int(info) != 0 or not torch.isfinite(scores).all():
        raise ValueError(
            f"regularization={regularization!r} is too small to invert the kernel "
            f"matrix of {len(X)} rows in double precision; choose a larger one"
        )
    return PublishedStein(kernel, X, scores, root, regularization, counts)
