"""Levels of a category that a network tells apart.

The rare levels form one level of the network; which of them it is has the frequencies
of the table, whatever the rest of the row, so that likelihoods stay exact.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from ..vae.observed import level_frequencies
from .arrays import to_tensor


@dataclass(frozen=True)
class LevelGroups:
    """Which level of the network each level of a column belongs to.

    Parameters
    ----------
    group : Tensor of shape (n_levels,), int64
        Level of the network.
    log_share : Tensor of shape (n_levels,), float64
        Log-probability of the level within its group.
    """

    group: Tensor
    log_share: Tensor

    @property
    def n_groups(self) -> int:
        """Number of levels of the network."""
        return int(self.group.max()) + 1

    def to_state(self) -> dict[str, Any]:
        """Return arrays by name."""
        return {
            "group": self.group.cpu().numpy(),
            "log_share": self.log_share.cpu().numpy(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild what `to_state` returned."""
        return cls(to_tensor(state["group"]), to_tensor(state["log_share"]))

    def representatives(self) -> Tensor:
        """Return the most frequent level of every group."""
        order = self.log_share.argsort(stable=True)
        order = order[self.group[order].argsort(stable=True)]
        return order[self.group.bincount().cumsum(0) - 1]

    def largest_shares(self) -> Tensor:
        """Return the probability of the most frequent level within every group."""
        return self.log_share[self.representatives()].exp()

    def draw(self, groups: Tensor, generator: torch.Generator) -> Tensor:
        """Draw a level for each group."""
        levels = self.representatives()[groups]
        rare = torch.bincount(self.group) > 1
        for group in rare.nonzero()[:, 0]:
            here = (groups == group).nonzero()[:, 0]
            members = (self.group == group).nonzero()[:, 0]
            if len(here):
                shares = self.log_share[members].exp()
                chosen = shares.multinomial(
                    len(here), replacement=True, generator=generator
                )
                levels[here] = members[chosen]
        return levels


def group_levels(
    codes: Tensor, weights: Tensor, n_levels: int, most: int
) -> LevelGroups:
    """Group the levels of a category: the rarest form one of the network.

    Parameters
    ----------
    codes : Tensor of shape (n_rows,)
        Positions of levels, NaN where missing.
    weights : Tensor of shape (n_rows,)
        Non-negative weights with a positive sum.
    n_levels, most : int
        Number of levels, and the most that the network tells apart.

    Returns
    -------
    LevelGroups
    """
    group = torch.arange(n_levels)
    if n_levels <= most:
        return LevelGroups(group, torch.zeros(n_levels, dtype=torch.float64))
    frequency = level_frequencies(codes[:, None], weights, n_levels)[0].cpu()
    # Levels that keep their own place stay in the order of the column.
    kept = frequency.argsort(descending=True, stable=True)[: most - 1].sort().values
    group = torch.full((n_levels,), most - 1)
    group[kept] = torch.arange(most - 1)
    totals = torch.zeros(most, dtype=torch.float64).index_add(0, group, frequency)
    return LevelGroups(group, (frequency / totals[group]).log())
