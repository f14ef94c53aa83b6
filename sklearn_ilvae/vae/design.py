"""What an encoder sees of a row, in one coordinate for each natural parameter.

A column enters as its score at the column's own distribution, the gradient of its
log-likelihood in its natural parameters, in units in which the scores have unit
variance: a standardised column for numbers, the row scores of multiple correspondence
analysis (Greenacre, 1984) for categories, ridit scores (Bross, 1958) for ordered
levels, and standardised logarithms for counts. So the principal axes of the
coordinates serve as those of a linear model of the natural parameters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .likelihoods import CONTINUOUS, COUNTS, LEVELS, NUMBERS, Layout, zero_sum_basis
from .observed import any_missing, level_frequencies, observed_mean

LARGEST_UNIT = 5.0
"""Largest natural unit of a standardised coordinate.

Rare levels would have larger units, estimated from few rows.
"""


@dataclass(frozen=True)
class NaturalUnits:
    """The symmetric matrix S that takes coordinates to natural parameters.

    Parameters
    ----------
    diagonal : Tensor of shape (n_parameters,)
        Units of the parameters that stand alone.
    blocks : tuple of (int, Tensor)
        Where a category's parameters start, and their matrix.
    discrete : Tensor of shape (n_parameters,), bool
        Which parameters have a noise variance given by their likelihood, not learned.
    """

    diagonal: Tensor
    blocks: tuple[tuple[int, Tensor], ...]
    discrete: Tensor

    @property
    def trivial(self) -> bool:
        """Whether S is the identity."""
        return not self.blocks and bool((self.diagonal == 1).all())

    def to_natural(self, vectors: Tensor) -> Tensor:
        """Return S times vectors (n_parameters, n_vectors)."""
        result = vectors * self.diagonal[:, None]
        for start, matrix in self.blocks:
            part = slice(start, start + len(matrix))
            result[part] = matrix @ vectors[part]
        return result

    def from_natural(self, vectors: Tensor) -> Tensor:
        """Return S⁻¹ times vectors (n_parameters, n_vectors)."""
        result = vectors / self.diagonal[:, None]
        for start, matrix in self.blocks:
            part = slice(start, start + len(matrix))
            result[part] = torch.linalg.solve(matrix, vectors[part])
        return result


class Design(nn.Module):
    """Map rows (…, n_features) to the encoder's inputs (…, width).

    A missing value has the coordinate 0, which is the mean; `GaussianEncoder` replaces
    it by an expectation. Columns that had missing values in training have an additional
    input, which is 1 where the value is missing.

    Parameters
    ----------
    likelihood : sequence of str, length n_features
        Family of every column.
    n_levels : sequence of int, default=()
        Number of levels of every column.
    gaps : sequence of bool, default=()
        Which columns had missing values in training.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae.vae import Design
    >>> design = Design(["gaussian", "categorical"], n_levels=[1, 3])
    >>> rows = torch.tensor([[-1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    >>> units = design.fit(rows, torch.full((3,), 1 / 3))
    >>> design(rows).shape
    torch.Size([3, 3])
    """

    gap_columns: Tensor

    def __init__(
        self,
        likelihood: Sequence[str],
        n_levels: Sequence[int] = (),
        gaps: Sequence[bool] = (),
    ) -> None:
        super().__init__()
        self.layout = Layout(likelihood, n_levels)
        gap_columns = [column for column, gap in enumerate(gaps) if gap]
        self.register_buffer(
            "gap_columns", torch.tensor(gap_columns, dtype=torch.long), persistent=False
        )
        self.n_parameters = self.layout.n_parameters
        self.width = self.n_parameters + len(gap_columns)
        self.plain = self.layout.numbers_only
        self.blocks = self.layout.blocks()
        for number, block in enumerate(self.blocks):
            for name in ("columns", "parameters"):
                positions = getattr(block, name)
                self.register_buffer(f"{name}_{number}", positions, persistent=False)
            n_columns = len(block.columns)
            if block.family in COUNTS:
                start = torch.tensor([0.0, 1.0]).repeat(n_columns, 1)
                self.register_buffer(f"values_{number}", start)
            elif block.family in LEVELS:
                width = len(block.parameters) // n_columns
                start = torch.zeros(n_columns, block.n_levels, width)
                self.register_buffer(f"values_{number}", start)

    def forward(self, rows: Tensor) -> Tensor:
        """Return inputs (…, width): coordinates, then what is missing."""
        coordinates = self.coordinates(rows)
        if any_missing(rows):
            missing = coordinates.isnan()
            coordinates = coordinates.masked_fill(missing, 0)
        return self.with_gaps(rows, coordinates)

    def with_gaps(self, rows: Tensor, coordinates: Tensor) -> Tensor:
        """Return coordinates (…, n_parameters) and what is missing: (…, width)."""
        if self.width == self.n_parameters:
            return coordinates
        indicators = rows[..., self.gap_columns].isnan().to(coordinates)
        return torch.cat([coordinates, indicators], dim=-1)

    def coordinates(self, rows: Tensor) -> Tensor:
        """Return coordinates (…, n_parameters), NaN where a value is missing."""
        if self.plain:
            return rows
        found = rows.new_empty(*rows.shape[:-1], self.n_parameters)
        for number, block in enumerate(self.blocks):
            values = rows[..., getattr(self, f"columns_{number}")]
            parameters = getattr(self, f"parameters_{number}")
            if block.family in NUMBERS:
                found[..., parameters] = values
                continue
            stored = getattr(self, f"values_{number}").to(rows.dtype)
            if block.family in COUNTS:
                centre, spread = stored.unbind(-1)
                found[..., parameters] = (values.log1p() - centre) / spread
                continue
            missing = values.isnan()
            levels = values.masked_fill(missing, 0).long()
            columns = torch.arange(len(stored), device=rows.device)
            points = stored[columns, levels].masked_fill(missing[..., None], torch.nan)
            found[..., parameters] = points.flatten(-2)
        return found

    @torch.no_grad()
    def fit(self, rows: Tensor, shares: Tensor) -> NaturalUnits:
        """Find the coordinates of counts and levels, and the unit of every parameter.

        Parameters
        ----------
        rows : Tensor of shape (n_rows, n_features)
            Rows of the table.
        shares : Tensor of shape (n_rows,)
            Their weights, which sum to 1.

        Returns
        -------
        NaturalUnits
            In float64.
        """
        diagonal = torch.ones(self.n_parameters, dtype=torch.float64)
        discrete = torch.zeros(self.n_parameters, dtype=torch.bool)
        blocks: list[tuple[int, Tensor]] = []
        for number, block in enumerate(self.blocks):
            if block.family in CONTINUOUS:
                continue
            values = rows[:, block.columns.to(rows.device)]
            if block.family in COUNTS:
                logs = values.double().log1p()
                centre = observed_mean(logs, shares.double())
                squares = observed_mean((logs - centre).square(), shares.double())
                # The mean of equal logarithms is rounded, which is no spread.
                rounding = len(logs) * torch.finfo(logs.dtype).eps * centre
                varies = squares > rounding.square()
                spread = torch.where(varies, squares.sqrt(), 1.0).cpu()
                stored = torch.stack([centre.cpu(), spread], dim=-1)
                diagonal[block.parameters] = spread
                getattr(self, f"values_{number}").copy_(stored)
                continue
            discrete[block.parameters] = True
            if block.family == "bernoulli":
                ones = (values > 0).double().masked_fill(values.isnan(), torch.nan)
                frequency = observed_mean(ones, shares.double()).cpu()
                information = frequency * (1 - frequency)
                diagonal[block.parameters] = _unit(information)
                continue
            frequencies = level_frequencies(values, shares, block.n_levels).cpu()
            stored = getattr(self, f"values_{number}")
            if block.family == "ordinal":
                scores, units = _ordered_scores(frequencies)
                diagonal[block.parameters] = units
                stored.copy_(scores[..., None])
                continue
            starts = block.parameters.view(len(block.columns), -1)
            for column, frequency in enumerate(frequencies):
                scores, matrix = _category_scores(frequency)
                stored[column] = scores.to(stored)
                if len(matrix):
                    blocks.append((int(starts[column, 0]), matrix))
        return NaturalUnits(diagonal, tuple(blocks), discrete)


def _unit(information: Tensor) -> Tensor:
    return information.clamp(min=LARGEST_UNIT**-2).rsqrt()


def _ordered_scores(frequencies: Tensor) -> tuple[Tensor, Tensor]:
    """Return scaled scores of the levels at f = 0, and the units of the columns."""
    cumulative = frequencies.cumsum(-1)
    scores = cumulative + (cumulative - frequencies) - 1
    unit = _unit((frequencies * scores.square()).sum(-1))
    return scores * unit[:, None], unit


def _category_scores(frequency: Tensor) -> tuple[Tensor, Tensor]:
    """Return scaled scores of the levels at f = 0, and the matrix of units."""
    basis = zero_sum_basis(len(frequency))
    information = basis.T @ (frequency.diag() - frequency.outer(frequency)) @ basis
    sizes, axes = torch.linalg.eigh(information)
    matrix = (axes * _unit(sizes)) @ axes.T
    centred = torch.eye(len(frequency)).to(frequency) - frequency
    return centred @ basis @ matrix, matrix
