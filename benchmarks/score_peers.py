"""Plain implementations of the formulas of other score estimators.

kscore (github.com/miskcoo/kscore, of Zhou, Shi & Zhu 2020) needs TensorFlow 1; these
are the same formulas with the same parametrisation, in torch and double precision.
Their curl-free products never form kscore's arrays of n·n·d numbers: they are faster.
`predict` runs one setting as kscore does, for its time; `tuned` runs a whole grid of
strengths from one decomposition, which gives the same scores for a fraction of it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

import torch
from torch import Tensor

from sklearn_ilvae.stein.kernels.published import fit_published
from sklearn_ilvae.stein.kernels.radial import (
    Kernel,
    kernel_matrix,
    make_kernel,
    squared_distances,
)

STRENGTHS = tuple(10.0 ** (-k) for k in range(1, 8))
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
PEERS = ("Stein", "SSGE", "KEF", "nu")
README_KERNEL = "inverse_multiquadric"
README_STRENGTH = {"Stein": 1e-3, "KEF": 1e-4, "nu": 1e-5}
# The share of the eigenvalues that SSGE keeps in the README.
SSGE_KEEP = 0.9
# Conjugate gradients stop there in kscore.
CG_STEPS, CG_TOLERANCE = 40, 1e-4
KRYLOV_STEPS, KRYLOV_TOLERANCE = 200, 1e-5
NU_START = -6.0 / 5.0

Fitted = tuple[str, float, Tensor]


def median(X: Tensor) -> float:
    """Return kscore's bandwidth: the median of all distances, zeros included."""
    return float(squared_distances(X, X).sqrt().flatten().median())


def third_derivative(kernel: Kernel, squared: Tensor) -> Tensor:
    """Return ``φ'''``."""
    value, _, second = kernel.derivatives(squared)
    h = kernel.bandwidth
    if type(kernel).__name__ == "RBF":
        return second * (-0.5 / h**2)
    return second * (-2.5 / h**2) * value**2


class CurlFree:
    """Products with ``−∇∇ᵀk`` of shape (n d, m d), never formed."""

    def __init__(self, kernel: Kernel, X: Tensor, Y: Tensor) -> None:
        self.X, self.Y, d = X, Y, X.shape[1]
        squared = squared_distances(X, Y)
        _, first, second = kernel.derivatives(squared)
        self.first, self.second = -2.0 * first, -4.0 * second
        third = third_derivative(kernel, squared)
        self.rate = 8.0 * third * squared + 4.0 * (d + 2) * second

    def apply(self, V: Tensor) -> Tensor:
        """Return the product with a vector of shape (m, d)."""
        inner = self.X @ V.T - (self.Y * V).sum(1)
        scaled = self.second * inner
        along = scaled.sum(1, keepdim=True) * self.X - scaled @ self.Y
        return along + self.first @ V

    def embedding(self) -> Tensor:
        """Return ``ζ``, the mean over the sample of the kernel's divergence."""
        total = self.rate.sum(1, keepdim=True) * self.X - self.rate @ self.Y
        return total / len(self.Y)


def curl_free_tikhonov(
    kernel: Kernel, X: Tensor, queries: Tensor, strength: float
) -> Tensor:
    """Kernel exponential family by conjugate gradients as in kscore (theorem 3.1)."""
    n = len(X)
    operator, outside = CurlFree(kernel, X, X), CurlFree(kernel, queries, X)
    right = operator.embedding() / strength
    solution = torch.zeros_like(right)
    residual, direction = right.clone(), right.clone()
    squared = residual.square().sum()
    limit = CG_TOLERANCE * squared.sqrt()
    for _ in range(CG_STEPS):
        product = operator.apply(direction) + n * strength * direction
        step = squared / (direction * product).sum()
        solution += step * direction
        residual -= step * product
        after = residual.square().sum()
        if after.sqrt() < limit:
            break
        direction = residual + after / squared * direction
        squared = after
    return outside.apply(solution) - outside.embedding() / strength


def nu_steps(strengths: Iterable[float]) -> Iterator[tuple[float | None, float, float]]:
    """Yield the strength that stops after each step (or None), and its ``u``, ``w``."""
    last = {int(s**-0.5) + 1: s for s in strengths}
    nu = 1.0
    for t in range(2, max(last) + 1):
        ahead, double = t + 2 * nu - 1, 2 * t + 4 * nu - 1
        u = (t - 1) * (2 * t - 3) * (2 * t + 2 * nu - 1)
        u /= ahead * double * (2 * t + 2 * nu - 3)
        w = 4 * (2 * t + 2 * nu - 1) * (t + nu - 1) / (ahead * double)
        yield last.get(t), u, w


def curl_free_nu(kernel: Kernel, X: Tensor, queries: Tensor, strength: float) -> Tensor:
    """Run the ν-method with ν = 1 (example C.4)."""
    n = len(X)
    operator, outside = CurlFree(kernel, X, X), CurlFree(kernel, queries, X)
    target = operator.embedding()
    a, before_a = NU_START, 0.0
    c, before_c = torch.zeros_like(X), torch.zeros_like(X)
    for _, u, w in nu_steps([strength]):
        slope = (a * target + operator.apply(c)) / n
        c, before_c = (1 + u) * c - w * slope - u * before_c, c
        a, before_a = (1 + u) * a - u * before_a - w, a
    return outside.apply(c) + a * outside.embedding()


def krylov(operator: CurlFree, target: Tensor, n_rows: int) -> tuple[Tensor, Tensor]:
    """Return the Krylov basis (k, n, d) of a target, and the operator in it (k, k).

    Conjugate gradients and the ν-method stay in this space, at every strength. It ends
    where the solution at the weakest strength hardly reaches its last direction.
    """
    basis = [target / target.norm()]
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    for step in range(1, min(KRYLOV_STEPS, target.numel()) + 1):
        product = operator.apply(basis[-1])
        diagonal.append((product * basis[-1]).sum())
        # Twice is enough (Parlett 1998, section 6.9).
        found = torch.stack(basis).flatten(1)
        for _ in range(2):
            product = product - ((found @ product.flatten()) @ found).view_as(product)
        beside.append(product.norm())
        matrix = torch.diag(torch.stack(diagonal))
        if step > 1:
            off = torch.stack(beside[:-1])
            matrix += torch.diag(off, 1) + torch.diag(off, -1)
        if step % 20 == 0:
            reached = solve_first(matrix, n_rows * STRENGTHS[-1])
            if reached[-1].abs() < KRYLOV_TOLERANCE * reached.norm():
                break
        basis.append(product / beside[-1])
    return torch.stack(basis[:step]), matrix


def nu_runs(matrix: Tensor, n_rows: int) -> Iterator[tuple[float, Tensor, float]]:
    """Yield strength, ``c`` and ``a`` of the ν-method on the first unit vector."""
    values, vectors = torch.linalg.eigh(matrix)
    start = vectors[0]
    a, before_a = NU_START, 0.0
    c, before_c = torch.zeros_like(start), torch.zeros_like(start)
    # The longest run is left out: it takes hours with kscore.
    for strength, u, w in nu_steps(STRENGTHS[:-1]):
        slope = (a * start + values * c) / n_rows
        c, before_c = (1 + u) * c - w * slope - u * before_c, c
        a, before_a = (1 + u) * a - u * before_a - w, a
        if strength is not None:
            yield strength, vectors @ c, a


def solve_first(matrix: Tensor, ridge: float) -> Tensor:
    """Return the first column of the inverse of ``matrix + ridge I``."""
    identity = torch.eye(len(matrix), dtype=matrix.dtype)
    found: Tensor = torch.linalg.solve(matrix + ridge * identity, identity[0])
    return found


def cg_run(matrix: Tensor, ridge: float, most: int) -> Tensor:
    """Return what so many steps of conjugate gradients find."""
    for step in range(1, min(most, len(matrix)) + 1):
        found = solve_first(matrix[:step, :step], ridge)
        beyond = matrix[step - 1, step] if step < len(matrix) else 0.0
        if abs(float(beyond * found[-1])) < CG_TOLERANCE:
            break
    return found


def tuned_curl_free(kernel: Kernel, X: Tensor, queries: Tensor) -> Iterator[Fitted]:
    """Yield peer, strength and scores of KEF and the ν-method from one Krylov space."""
    n = len(X)
    operator, outside = CurlFree(kernel, X, X), CurlFree(kernel, queries, X)
    target, query_part = operator.embedding(), outside.embedding()
    basis, matrix = krylov(operator, target, n)
    size = target.norm()
    for strength in STRENGTHS:
        # As far as kscore goes, and to the end, which is sometimes better.
        for most in (CG_STEPS, len(matrix)):
            found = cg_run(matrix, n * strength, most) * (size / strength)
            solution = torch.tensordot(found, basis[: len(found)], 1)
            yield "KEF", strength, outside.apply(solution) - query_part / strength
    for strength, c, a in nu_runs(matrix, n):
        solution = torch.tensordot(c * size, basis, 1)
        yield "nu", strength, outside.apply(solution) + a * query_part


def diagonal_embedding(kernel: Kernel, X: Tensor, Y: Tensor) -> Tensor:
    """Return ``Σⱼ ∇_{yʲ} k(x, yʲ)``."""
    slopes = 2.0 * kernel.first_derivative(kernel_matrix(kernel, X, Y))
    return slopes @ Y - slopes.sum(1, keepdim=True) * X


def ssge(kernel: Kernel, X: Tensor, queries: Tensor) -> Tensor:
    """Spectral Stein gradient estimator (theorem 3.2), by the share kept."""
    n = len(X)
    values, vectors = torch.linalg.eigh(kernel_matrix(kernel, X, X) / n)
    target = vectors.T @ diagonal_embedding(kernel, X, X) / n**2
    top = slice(n - max(int(n * SSGE_KEEP), 1), n)
    outside = kernel_matrix(kernel, queries, X) @ vectors[:, top]
    return -outside @ (target[top] / values[top, None].square())


def stein(kernel: Kernel, X: Tensor, queries: Tensor, strength: float) -> Tensor:
    """Run the estimator of Li & Turner with kscore's ``η = n² λ``."""
    model = fit_published(kernel, X, strength * len(X) ** 2)
    matrix = kernel_matrix(kernel, X, queries)
    solved = torch.cholesky_solve(matrix, model.root)
    return equation_18(
        kernel, X, queries, matrix, solved, model.in_sample, model.regularization
    )


def equation_18(
    kernel: Kernel,
    X: Tensor,
    queries: Tensor,
    matrix: Tensor,
    solved: Tensor,
    in_sample: Tensor,
    ridge: float,
) -> Tensor:
    """Return the scores of Li & Turner at new points."""
    c = 1.0 + ridge - (matrix * solved).sum(0)
    slopes = 2.0 * kernel.first_derivative(matrix) * (solved + 1.0)
    along = slopes.sum(0)[:, None] * queries - slopes.T @ X
    return -(matrix.T @ in_sample - along) / c[:, None]


def tuned_diagonal(
    kernel: Kernel, X: Tensor, queries: Tensor, peers: Container[str]
) -> Iterator[Fitted]:
    """Yield peer, strength and scores of SSGE and Stein from one decomposition."""
    n = len(X)
    values, vectors = torch.linalg.eigh(kernel_matrix(kernel, X, X))
    target = vectors.T @ diagonal_embedding(kernel, X, X)
    matrix = kernel_matrix(kernel, X, queries)
    turned = vectors.T @ matrix
    for strength in STRENGTHS:
        if "SSGE" in peers:
            # At least one eigenvalue is kept.
            kept = values >= torch.minimum(values[-1], values.new_tensor(n * strength))
            gain = target[kept] / values[kept, None].square()
            yield "SSGE", strength, -turned[kept].T @ gain
        if "Stein" in peers:
            ridge = strength * n**2
            inverse = 1.0 / (values + ridge)
            solved = vectors @ (inverse[:, None] * turned)
            in_sample = -vectors @ (inverse[:, None] * target)
            yield (
                "Stein",
                strength,
                equation_18(kernel, X, queries, matrix, solved, in_sample, ridge),
            )


def predict(peer: str, X: Tensor, queries: Tensor) -> Tensor:
    """Return the scores at the queries of a peer that runs as its README does."""
    kernel = make_kernel(README_KERNEL, median(X))
    if peer == "SSGE":
        return ssge(kernel, X, queries)
    run = {"Stein": stein, "KEF": curl_free_tikhonov, "nu": curl_free_nu}[peer]
    return run(kernel, X, queries, README_STRENGTH[peer])


def tuned(
    X: Tensor, queries: Tensor, kernel: str, factor: float, peers: Container[str]
) -> Iterator[Fitted]:
    """Yield peer, strength and scores at the queries for one kernel and bandwidth."""
    function = make_kernel(kernel, factor * median(X))
    if "KEF" in peers or "nu" in peers:
        yield from (f for f in tuned_curl_free(function, X, queries) if f[0] in peers)
    if "SSGE" in peers or "Stein" in peers:
        yield from tuned_diagonal(function, X, queries, peers)
