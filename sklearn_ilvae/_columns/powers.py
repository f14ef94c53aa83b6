"""Power transforms of skewed columns, chosen by their likelihood.

The transform of Yeo & Johnson (2000) bends one side of a column more than the other.
At λ = 0 positive values are on the scale of ``log(1 + x)``, at λ = 2 negative ones, and
λ = 1 leaves all as they are.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .moments import weighted_moments

POWERS = torch.linspace(0, 2, 21, dtype=torch.float64)
"""Where λ is sought. Beyond, some values are the transform of no number."""

LEAST_GAIN = 0.1
"""Nats a value by which the likelihood of a Gaussian must gain."""

FEWEST_VALUES = 11
"""Different values, of those that have a say, of a column to be transformed."""

TRIMMED = 0.01
"""Share of the values at either end that have no say in λ: they may be wrong."""

MOST_ROWS = 10_000
"""Rows that λ is found from."""


@dataclass(frozen=True)
class PowerScale:
    """A power transform of standardised columns, which are standardised again after it.

    Parameters
    ----------
    power : Tensor of shape (n_features,), float64
        λ, from 0 to 2; columns of λ = 1 stay exactly as they are.
    centre, spread : Tensor of shape (n_features,), float64
        Mean and standard deviation of the transformed values.
    """

    power: Tensor
    centre: Tensor
    spread: Tensor

    def __getitem__(self, columns: slice | list[int]) -> "PowerScale":
        """Return the transform of some columns."""
        return PowerScale(
            self.power[columns], self.centre[columns], self.spread[columns]
        )

    def to_state(self) -> Tensor:
        """Return the parameters as rows, in their order."""
        return torch.stack([self.power, self.centre, self.spread])

    @property
    def bent(self) -> Tensor:
        """Which columns are transformed."""
        return self.power != 1

    def transform(self, values: Tensor) -> Tensor:
        """Return standardised values on the transformed scale."""
        found = yeo_johnson(values, self.power.to(values)) - self.centre.to(values)
        found = found / self.spread.to(values)
        return torch.where(self.bent.to(values.device), found, values)

    def inverse_transform(self, values: Tensor) -> Tensor:
        """Undo `transform`."""
        found = values * self.spread.to(values) + self.centre.to(values)
        found = inverse_yeo_johnson(found, self.power.to(values))
        return torch.where(self.bent.to(values.device), found, values)

    def log_slopes(self, values: Tensor) -> Tensor:
        """Return ``log |d transform / d values|`` of every value; 0 for NaN."""
        power = _power_of_side(values, self.power.to(values))
        found = (power - 1) * values.abs().log1p() - self.spread.to(values).log()
        return torch.where(self.bent.to(values.device), found, 0).nan_to_num(0)


def yeo_johnson(values: Tensor, power: Tensor) -> Tensor:
    """Return the transform of Yeo & Johnson (2000, eq. 2.1), NaN where missing.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae._columns.powers import yeo_johnson
    >>> yeo_johnson(torch.tensor([-1.0, 0.0, 1.0]), torch.tensor(0.0))
    tensor([-1.5000,  0.0000,  0.6931])
    """
    side, size = _power_of_side(values, power), values.abs().log1p()
    bent = torch.where(side == 0, size, (side * size).expm1() / _not_zero(side))
    return torch.copysign(bent, values)


def inverse_yeo_johnson(values: Tensor, power: Tensor) -> Tensor:
    """Return the values that `yeo_johnson` takes to these."""
    side, size = _power_of_side(values, power), values.abs()
    logarithm = torch.where(side == 0, size, (side * size).log1p() / _not_zero(side))
    return torch.copysign(logarithm.expm1(), values)


def _power_of_side(values: Tensor, power: Tensor) -> Tensor:
    return torch.where(values < 0, 2 - power, power)


def _not_zero(side: Tensor) -> Tensor:
    return torch.where(side == 0, 1, side)


def find_powers(rows: Tensor, weights: Tensor, allowed: Tensor) -> PowerScale:
    """Find the power transforms that the likelihood of a Gaussian asks for.

    Parameters
    ----------
    rows : Tensor of shape (n_rows, n_features), float64
        Standardised columns, NaN where missing.
    weights : Tensor of shape (n_rows,)
        Positive weights.
    allowed : Tensor of shape (n_features,), bool
        Columns that may be transformed.

    Returns
    -------
    PowerScale
        λ is 1 where a column gains too little by another.
    """
    step = -(-len(rows) // MOST_ROWS)
    some, shares = rows[::step], weights[::step].to(rows)
    power = torch.ones(rows.shape[1]).to(rows)
    for j in allowed.nonzero()[:, 0].tolist():
        present = ~some[:, j].isnan()
        power[j] = _best_power(some[present, j], shares[present])
    bent = yeo_johnson(rows, power)
    mean, variance = weighted_moments(bent, rows.isnan(), weights)
    chosen = power != 1
    return PowerScale(
        power, torch.where(chosen, mean, 0), torch.where(chosen, variance.sqrt(), 1)
    )


def _best_power(values: Tensor, weights: Tensor) -> float:
    """Return λ of one column, 1 where the likelihood gains too little by another."""
    order = values.argsort()
    share = weights[order].cumsum(0) / weights.sum()
    kept = order[(share > TRIMMED) & (share < 1 - TRIMMED)]
    if len(values[kept].unique()) < FEWEST_VALUES:
        return 1.0
    values, weights, powers = values[kept, None], weights[kept], POWERS.to(values)
    bent = yeo_johnson(values, powers)
    _, variance = weighted_moments(bent, bent.isnan(), weights)
    slope = weights @ (values.sign() * values.abs().log1p()) / weights.sum()
    likelihood = (powers - 1) * slope - variance.log() / 2
    gain = (likelihood - likelihood[len(POWERS) // 2]).nan_to_num(0)
    best = int(gain.argmax())
    return float(POWERS[best]) if gain[best] > LEAST_GAIN else 1.0
