"""Weighted means and variances of columns with gaps."""

import torch
from torch import Tensor


def weighted_moments(
    rows: Tensor, missing: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the mean and the variance of every column over its observed values.

    Parameters
    ----------
    rows : Tensor of shape (n_rows, n_features)
        Values; what is missing is arbitrary.
    missing : Tensor of shape (n_rows, n_features), bool
        Where values are missing.
    weights : Tensor of shape (n_rows,)
        Non-negative weights with a positive sum.

    Returns
    -------
    mean, variance : Tensor of shape (n_features,)
        0 for columns without values.
    """
    shares = (weights.double() / weights.sum()).to(rows)
    if missing.any():
        present = shares[:, None] * ~missing
        present = present / present.sum(0).clamp(min=torch.finfo(rows.dtype).tiny)
        filled = rows.masked_fill(missing, 0)
        mean = (present * filled).sum(0)
        centred = filled - mean
        # The second term corrects the rounding of the mean, as below.
        correction = (present * centred).sum(0).square()
        return mean, (present * centred.square()).sum(0) - correction
    mean = shares @ rows
    centred = rows - mean
    # The second term corrects the rounding of the mean (Chan, Golub & LeVeque, 1983).
    return mean, shares @ centred.square() - (shares @ centred).square()
