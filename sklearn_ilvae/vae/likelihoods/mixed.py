"""Likelihood of a row whose columns belong to several families: the sum of heads."""

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ..observed import any_missing
from .continuous import GaussianHead, StudentTHead
from .counts import NegativeBinomialHead, PoissonHead
from .heads import Head
from .layout import EMPTY, Block, Layout
from .levels import BernoulliHead, CategoricalHead, OrdinalHead


def make_head(block: Block) -> Head:
    """Build the head of the columns of one family."""
    n_columns = len(block.columns)
    if block.family == "categorical":
        return CategoricalHead(n_columns, block.n_levels)
    if block.family == "ordinal":
        return OrdinalHead(n_columns, block.n_levels)
    heads = {
        "gaussian": GaussianHead,
        "student_t": StudentTHead,
        "bernoulli": BernoulliHead,
        "poisson": PoissonHead,
        "negative_binomial": NegativeBinomialHead,
    }
    return heads[block.family](n_columns)


class MixedLikelihood(nn.Module):
    """Columns of several families, independent given their natural parameters.

    A row holds one number a column: a standardised value, a count or a level 0, 1, …;
    NaN stands for a missing value, which adds nothing to the likelihood.

    Parameters
    ----------
    likelihood : sequence of str, length n_features
        Family of every column: ``"gaussian"``, ``"student_t"``, ``"bernoulli"``,
        ``"categorical"``, ``"ordinal"``, ``"poisson"``, ``"negative_binomial"``, or
        ``"none"`` for a column without parameters.
    n_levels : sequence of int, default=()
        Number of levels of every column; may be left out where no column has levels.
    """

    parameter_columns: Tensor

    def __init__(self, likelihood: Sequence[str], n_levels: Sequence[int] = ()) -> None:
        super().__init__()
        self.layout = Layout(likelihood, n_levels)
        blocks = self.layout.blocks()
        self.families = [block.family for block in blocks]
        self.heads = nn.ModuleList(make_head(block) for block in blocks)
        self.sizes: dict[str, list[int]] = {}
        for name in ("columns", "parameters", "statistics"):
            found = [getattr(block, name) for block in blocks]
            self.sizes[name] = [len(positions) for positions in found]
            self.register_buffer(f"{name}_by_head", torch.cat(found), persistent=False)
        widths = torch.tensor(self.layout.widths)
        columns = torch.arange(self.n_features).repeat_interleave(widths)
        self.register_buffer("parameter_columns", columns, persistent=False)
        # One family in all columns needs no indexing.
        self.single = len(blocks) == 1 and EMPTY not in self.layout.likelihood

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return self.layout.n_features

    @property
    def n_parameters(self) -> int:
        """Number of natural parameters."""
        return self.layout.n_parameters

    def columns(self, family: str) -> Tensor:
        """Return the positions of the columns of a family."""
        kinds = self.layout.likelihood
        found = [j for j, kind in enumerate(kinds) if kind == family]
        return torch.tensor(found, dtype=torch.long)

    def have_counts_far_above(self, rows: Tensor, parameters: Tensor) -> Tensor:
        """Tell which rows hold counts far above their rates: shape (n_rows,)."""
        found = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
        for head, values, natural in self._observations(rows, parameters):
            if isinstance(head, PoissonHead):
                found |= head.are_far_above(values, natural).any(-1)
        return found

    def expected_information(self) -> Tensor:
        """Return ``E s²`` of the score s of every Gaussian and Student t column."""
        found = [
            head.expected_information()
            for head in self.heads
            if isinstance(head, GaussianHead | StudentTHead)
        ]
        return torch.cat(found) if found else torch.zeros(0)

    @torch.no_grad()
    def start_at(self, noise: Tensor, rows: Tensor, shares: Tensor) -> None:
        """Start every column at its own distribution in the table.

        Parameters
        ----------
        noise : Tensor of shape (n_parameters,)
            Noise variances around a linear model.
        rows : Tensor of shape (n_rows, n_features)
            Rows of the table.
        shares : Tensor of shape (n_rows,)
            Their weights, which sum to 1.
        """
        for head, values, own in self._observations(rows, noise):
            head.start_at(own, values, shares)

    def log_prob(
        self, rows: Tensor, parameters: Tensor, gaps: bool | None = None
    ) -> Tensor:
        """Return log p(x | f) in nats, summed over observed columns: shape (…,).

        `gaps` says whether rows may hold NaN; None looks.
        """
        if any_missing(rows) if gaps is None else gaps:
            return self._observed_terms(rows, parameters).sum(-1)
        total = rows.new_zeros(())
        for head, values, natural in self._observations(rows, parameters):
            total = total + head.total_log_prob(values, natural)
        return total

    def column_log_prob(self, rows: Tensor, parameters: Tensor) -> Tensor:
        """Return log p(x_j | f) in nats of every column: shape (…, n_features)."""
        if not any_missing(rows):
            return self._terms(rows, parameters)
        return self._observed_terms(rows, parameters)

    def _observed_terms(self, rows: Tensor, parameters: Tensor) -> Tensor:
        """Return the terms of rows with gaps, 0 where a value is missing."""
        missing = rows.isnan()
        terms = self._terms(rows.masked_fill(missing, 0), parameters)
        return terms.masked_fill(missing, 0)

    def _terms(self, rows: Tensor, parameters: Tensor) -> Tensor:
        """Return the terms of rows without gaps."""
        found = [
            head.log_prob(values, natural)
            for head, values, natural in self._observations(rows, parameters)
        ]
        return self._joined(found, "columns", self.n_features)

    def score(self, rows: Tensor, parameters: Tensor) -> Tensor:
        """Return ``∂ log p(x | f) / ∂f``: T(x) − ∇A in natural units."""
        missing = rows.isnan()
        filled = rows.masked_fill(missing, 0)
        found = [
            head.score(values, natural)
            for head, values, natural in self._observations(filled, parameters)
        ]
        score = self._joined(found, "parameters", self.n_parameters)
        return score.masked_fill(missing[..., self.parameter_columns], 0)

    def information(
        self, rows: Tensor, parameters: Tensor, slopes: Tensor, gaps: bool
    ) -> Tensor:
        """Return what observed columns say about what the parameters depend on.

        Parameters
        ----------
        rows : Tensor of shape (n_rows, n_features)
            The rows, NaN where missing.
        parameters : Tensor of shape (n_rows, n_parameters)
            Their natural parameters.
        slopes : Tensor of shape (n_slopes, n_rows, n_parameters)
            By how much the parameters change along each direction.
        gaps : bool
            Whether rows may hold NaN.

        Returns
        -------
        Tensor of shape (n_rows, n_slopes, n_slopes)
            ``S I Sᵀ`` with I as in `Head.scaled_slopes`; positive semidefinite.
        """
        if gaps:
            missing = rows.isnan()
            rows = rows.masked_fill(missing, 0)
            slopes = slopes.masked_fill(missing[..., self.parameter_columns], 0)
        total = slopes.new_zeros(len(rows), len(slopes), len(slopes))
        for (head, values, natural), along in zip(
            self._observations(rows, parameters),
            self._parts(slopes, "parameters"),
            strict=True,
        ):
            total = total + head.information(values, natural, along)
        return total

    def statistics(self, parameters: Tensor) -> Tensor:
        """Return means, and probabilities of all levels: shape (…, n_statistics).

        They may be averaged over codes, which values decided on may not.
        """
        parts = zip(self._heads(), self._parts(parameters, "parameters"), strict=True)
        found = [head.statistics(natural) for head, natural in parts]
        return self._joined(found, "statistics", self.layout.n_statistics)

    def decide(self, statistics: Tensor, shares: Tensor | None = None) -> Tensor:
        """Return rows: the means, and the most probable levels.

        Parameters
        ----------
        statistics : Tensor of shape (…, n_statistics)
            What `statistics` returned, or averages of it.
        shares : Tensor of shape (n_statistics,), default=None
            For a level that stands for several, the share of the most frequent of them:
            it is that one which must be more probable than the others. 1 elsewhere.

        Returns
        -------
        Tensor of shape (…, n_features)
        """
        if shares is not None:
            statistics = statistics * shares.to(statistics)
        parts = zip(self._heads(), self._parts(statistics, "statistics"), strict=True)
        found = [head.decide(own) for head, own in parts]
        return self._joined(found, "columns", self.n_features, torch.nan)

    def mean(self, parameters: Tensor, shares: Tensor | None = None) -> Tensor:
        """Return the expected row: the mean, the probability of a one, or the mode.

        `shares` is as in `decide`.
        """
        return self.decide(self.statistics(parameters), shares)

    def sample(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one row for each row of parameters."""
        parts = zip(self._heads(), self._parts(parameters, "parameters"), strict=True)
        found = [head.sample(natural, generator) for head, natural in parts]
        return self._joined(found, "columns", self.n_features, torch.nan)

    def _heads(self) -> Iterator[Head]:
        return iter(cast("Iterable[Head]", self.heads))

    def _observations(
        self, rows: Tensor, parameters: Tensor
    ) -> Iterator[tuple[Head, Tensor, Tensor]]:
        """Return every head with the values and natural parameters of its columns."""
        values = self._parts(rows, "columns")
        return zip(
            self._heads(), values, self._parts(parameters, "parameters"), strict=True
        )

    def _parts(self, array: Tensor, name: str) -> tuple[Tensor, ...]:
        """Return the part of every head.

        All are picked at once: the gradients of picks apart would each fill an array
        as large as the whole.
        """
        if self.single:
            return (array,)
        return array[..., self._order(name)].split(self.sizes[name], dim=-1)

    def _joined(
        self, parts: list[Tensor], name: str, size: int, empty: float = 0.0
    ) -> Tensor:
        """Return the parts of all heads in the order of the table, others filled."""
        if self.single:
            return parts[0]
        joined = torch.cat(parts, dim=-1)
        whole = joined.new_full((*joined.shape[:-1], size), empty)
        whole[..., self._order(name)] = joined
        return whole

    def _order(self, name: str) -> Tensor:
        positions: Tensor = getattr(self, f"{name}_by_head")
        return positions
