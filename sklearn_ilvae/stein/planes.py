"""The plane that holds a sample whose columns depend linearly on each other.

Off the plane there is no density. Its score along the plane is a gradient in the units
of the sample, so the plane gets axes that are orthogonal there.
"""

import torch
from torch import Tensor

from .rows import Rows

RANK_TOLERANCE = 1e-12
"""Below this share of the largest eigenvalue rows do not vary along a direction.

It is an exact linear combination of others, up to the rounding of float32 input.
"""

ROWS_OF_A_PLANE = 1000
"""Rows that tell rounding from a spread."""


def axes_of_plane(covariance: Tensor, squares: Tensor, rows: Rows) -> Tensor | None:
    """Return the axes, see `Rows`, of the plane that holds the sample.

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
    identity = torch.diag(torch.ones_like(inverse_scale))
    # With fewer rows than columns every sample lies in a plane, which says nothing.
    if len(rows) <= len(identity):
        constant = inverse_scale == 0
        return identity[:, ~constant] if constant.any() else None
    # Some of the rows may not vary where all of them do.
    variances = covariance.diagonal()
    still = variances <= RANK_TOLERANCE * squares
    deviations = variances.clamp(min=0.0).sqrt().masked_fill(still, 0.0)
    unit = (1.0 / deviations).masked_fill(deviations == 0, 0.0)
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
    if int(inside.sum()) == int((deviations > 0).sum()):
        return identity[:, deviations > 0]
    basis = vectors[:, inside]
    lengths = (deviations / inverse_scale).masked_fill(deviations == 0, 0.0)
    # Small decompositions, up to one for each column: a GPU would take longer.
    place = [each.cpu() for each in (basis @ basis.T, lengths, inverse_scale)]
    return _orthogonal_axes(*place).to(basis)


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
    place = Z @ directions
    size = (Z.abs() + offset.abs()).sum(1, keepdim=True)
    # A linear combination of columns that is constant is so from any row on.
    relative = (place - place[size.argmin()]) / size
    shares, turn = torch.linalg.eigh(relative.T @ relative / len(Z))
    return directions @ turn, shares > RANK_TOLERANCE


def _orthogonal_axes(
    projector: Tensor, lengths: Tensor, inverse_scale: Tensor
) -> Tensor:
    """Return the axes of a plane given where columns have unit variance.

    Columns that share no linear combination are kept apart: together the rounding of
    columns of small numbers would tilt the plane along those of large ones.

    Parameters
    ----------
    projector : Tensor of shape (d, d)
        On the plane, in coordinates of unit variance.
    lengths : Tensor of shape (d,)
        Standard deviations in the units of X; 0 for constant columns.
    inverse_scale : Tensor of shape (d,)

    Returns
    -------
    axes : Tensor of shape (d, r)
    """
    linked = projector.abs() > RANK_TOLERANCE**0.5
    group, before = torch.arange(len(linked)), None
    while before is None or not torch.equal(group, before):
        before = group
        group = torch.where(linked, group, len(linked)).amin(1)
    axes = []
    for members in (group == g for g in group[lengths > 0].unique()):
        shares, vectors = torch.linalg.eigh(projector[members][:, members])
        largest = lengths[members].max()
        span = vectors[:, shares > 0.5] * (lengths[members] / largest)[:, None]
        basis = torch.linalg.qr(span).Q
        # Of all orthonormal bases in X, one that the scales leave orthogonal.
        scale = (inverse_scale[members] * largest)[:, None]
        _, stretch, turn = torch.linalg.svd(scale * basis, full_matrices=False)
        block = projector.new_zeros(len(lengths), len(stretch))
        block[members] = basis @ turn.T * stretch / scale
        axes.append(block)
    return torch.cat(axes, 1)
