"""The plane that holds a sample whose columns depend linearly on each other.

Off the plane there is no density. Its score along the plane is a gradient in the units
of the sample, so the plane gets axes that are orthogonal there.
"""

import torch
from torch import Tensor

from ..products import gram_matrix
from .rows import Rows, slices

RANK_TOLERANCE = 1e-12
"""Below this share of the largest eigenvalue rows do not vary along a direction.

It is an exact linear combination of others, up to the rounding of float32 input.
"""

ROWS_OF_A_PLANE = 1000
"""Rows that tell rounding from a spread."""


def axes_of_plane(covariance: Tensor, squares: Tensor, rows: Rows) -> Tensor | None:
    """Return the axes, see `Rows`, of the plane that holds more rows than columns.

    Parameters
    ----------
    covariance : Tensor of shape (d, d)
        Of the rows.
    squares : Tensor of shape (d,)
        Mean squares of the columns: how large the numbers are that it came from.
    rows : Rows

    Returns
    -------
    axes : Tensor of shape (d, r) or None
        None where the sample varies along every column and combination of columns.
    """
    inverse_scale = rows.inverse_scale
    deviations, unit = _deviations(covariance.diagonal(), squares)
    eigenvalues, vectors = torch.linalg.eigh(covariance * torch.outer(unit, unit))
    inside = eigenvalues > RANK_TOLERANCE * eigenvalues[-1]
    if inside.all():
        return None
    Z = rows.read(rows.lowest_ranks(ROWS_OF_A_PLANE)) * unit
    offset = rows.center * inverse_scale * unit
    found = _told_from_rounding(Z, offset, vectors[:, ~inside])
    vectors[:, ~inside], inside[~inside] = found
    if inside.all():
        return None
    return _axes_of(vectors[:, inside], deviations, inverse_scale)


def axes_of_few_rows(V: Tensor, rows: Rows) -> Tensor | None:
    """Return the axes, see `Rows`, of the plane that holds no more rows than columns.

    Any n rows lie in a plane of ``n − 1`` dimensions, which says nothing. One of fewer
    holds rows that it need not hold; it counts where these are most of them, not a few
    that nearly repeat each other.

    Parameters
    ----------
    V : Tensor of shape (n, d)
        All of the rows.
    rows : Rows

    Returns
    -------
    axes : Tensor of shape (d, r) or None
        None where the sample varies along every column, and as n rows can.
    """
    weights, inverse_scale = rows.weights, rows.inverse_scale
    difference = V - weights @ V
    variances = weights @ difference.square()
    deviations, unit = _deviations(variances, weights @ V.square())
    varying = torch.nonzero(deviations > 0).squeeze(1)
    most = min(len(V) - 1, len(varying))
    Z = difference * weights.sqrt()[:, None] * unit
    shares = torch.linalg.eigvalsh(gram_matrix(Z.T))
    if int((shares > RANK_TOLERANCE * shares[-1]).sum()) < most:
        points, offset = V * unit, rows.center * inverse_scale * unit
        basis = _span(Z, points, offset)
        if basis.shape[1] < most and _told_by_others(points, offset, basis):
            return _axes_of(basis, deviations, inverse_scale)
    if len(varying) == len(deviations):
        return None
    return torch.diag(torch.ones_like(deviations))[:, varying]


def _deviations(variances: Tensor, squares: Tensor) -> tuple[Tensor, Tensor]:
    """Return standard deviations and their inverse, 0 for columns that do not vary.

    Some of the rows may not vary where all of them do.
    """
    still = variances <= RANK_TOLERANCE * squares
    deviations = variances.clamp(min=0.0).sqrt().masked_fill(still, 0.0)
    return deviations, (1.0 / deviations).masked_fill(deviations == 0, 0.0)


def _axes_of(basis: Tensor, deviations: Tensor, inverse_scale: Tensor) -> Tensor:
    """Return the axes of the plane of a basis in coordinates of unit variance."""
    varying = deviations > 0
    if basis.shape[1] == int(varying.sum()):
        return torch.diag(torch.ones_like(deviations))[:, varying]
    lengths = (deviations / inverse_scale).masked_fill(deviations == 0, 0.0)
    # Small decompositions, up to one for each column: a GPU would take longer.
    place = [each.cpu() for each in (basis, lengths, inverse_scale)]
    return _orthogonal_axes(*place).to(basis)


def _span(Z: Tensor, points: Tensor, offset: Tensor) -> Tensor:
    """Return an orthonormal basis (d, r) of the directions along which rows vary.

    Parameters
    ----------
    Z : Tensor of shape (n, d)
        Rows of mean 0, each times the root of its weight.
    points : Tensor of shape (n, d)
        The same rows as `_told_from_rounding` takes them.
    offset : Tensor of shape (d,)
    """
    _, sizes, right = torch.linalg.svd(Z, full_matrices=False)
    basis = right[sizes > RANK_TOLERANCE**0.5 * sizes[0]].T
    relative = _relative(points, offset)
    relative = relative - relative @ basis @ basis.T
    _, sizes, right = torch.linalg.svd(relative, full_matrices=False)
    more = right[sizes.square() > RANK_TOLERANCE * len(points)].T
    return torch.cat([basis, more], 1)


def _told_from_rounding(
    Z: Tensor, offset: Tensor, directions: Tensor
) -> tuple[Tensor, Tensor]:
    """Turn directions so that rows vary along some of them, and tell along which.

    A row far from all others hides how these vary: each counts relative to its own
    size, and varies where it moves by more than the rounding of that.

    Parameters
    ----------
    Z : Tensor of shape (n, d)
        Some rows.
    offset : Tensor of shape (d,)
        What was subtracted from them.
    directions : Tensor of shape (d, q)

    Returns
    -------
    directions : Tensor of shape (d, q)
    vary : Tensor of shape (q,)
    """
    relative = _relative(Z, offset) @ directions
    shares, turn = torch.linalg.eigh(relative.T @ relative / len(Z))
    return directions @ turn, shares > RANK_TOLERANCE


def _told_by_others(points: Tensor, offset: Tensor, basis: Tensor) -> bool:
    """Tell whether most rows lie in the plane through the others.

    The leverage of a row is 1 where it alone reaches into some direction.
    """
    ones = torch.ones_like(points[:, :1])
    places = torch.cat([ones, points @ basis], 1) / _size(points, offset)
    leverage = torch.linalg.qr(places).Q.square().sum(1)
    return bool((leverage < 1.0 - RANK_TOLERANCE**0.5).double().mean() >= 0.5)


def _size(Z: Tensor, offset: Tensor) -> Tensor:
    """Return how large the numbers of each row are, of shape (n, 1)."""
    return (Z.abs() + offset.abs()).sum(1, keepdim=True)


def _relative(Z: Tensor, offset: Tensor) -> Tensor:
    """Return rows less the one of least size, each relative to its own."""
    size = _size(Z, offset)
    # A linear combination of columns that is constant is so from any row on.
    return (Z - Z[size.argmin()]) / size


def _orthogonal_axes(basis: Tensor, lengths: Tensor, inverse_scale: Tensor) -> Tensor:
    """Return the axes of a plane given where columns have unit variance.

    Columns that share no linear combination are kept apart: together the rounding of
    columns of small numbers would tilt the plane along those of large ones.

    Parameters
    ----------
    basis : Tensor of shape (d, r)
        Orthonormal, in coordinates of unit variance.
    lengths : Tensor of shape (d,)
        Standard deviations in the units of X; 0 for constant columns.
    inverse_scale : Tensor of shape (d,)

    Returns
    -------
    axes : Tensor of shape (d, r)
    """
    group = _linked_columns(basis)
    axes = []
    for members in (group == g for g in group[lengths > 0].unique()):
        vectors, roots, _ = torch.linalg.svd(basis[members], full_matrices=False)
        largest = lengths[members].max()
        span = vectors[:, roots.square() > 0.5] * (lengths[members] / largest)[:, None]
        local = torch.linalg.qr(span).Q
        # Of all orthonormal bases in X, one that the scales leave orthogonal.
        scale = (inverse_scale[members] * largest)[:, None]
        _, stretch, turn = torch.linalg.svd(scale * local, full_matrices=False)
        block = basis.new_zeros(len(lengths), len(stretch))
        block[members] = local @ turn.T * stretch / scale
        axes.append(block)
    return torch.cat(axes, 1)


def _linked_columns(basis: Tensor) -> Tensor:
    """Return for each column the first that it is linked with; their number if none."""
    d = len(basis)
    group, before = torch.arange(d, device=basis.device), None
    while before is None or not torch.equal(group, before):
        before = group
        # The projector on the plane, in blocks: it is as large as a covariance.
        linked = (
            (basis[part] @ basis.T).abs() > RANK_TOLERANCE**0.5 for part in slices(d, d)
        )
        group = torch.cat([torch.where(each, before, d).amin(1) for each in linked])
    return group
