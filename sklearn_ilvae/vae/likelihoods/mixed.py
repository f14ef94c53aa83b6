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

    def __init__(self, likelihood: Sequence[str], n_levels: Sequence[int] = ()) -> None:
        super().__init__()
        self.layout = Layout(likelihood, n_levels)
        blocks = self.layout.blocks()
        self.families = [block.family for block in blocks]
        self.heads = nn.ModuleList(make_head(block) for block in blocks)
        for number, block in enumerate(blocks):
            for name in ("columns", "parameters", "statistics"):
                positions = getattr(block, name)
                self.register_buffer(f"{name}_{number}", positions, persistent=False)
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
        for number, head in self._numbered():
            if isinstance(head, PoissonHead):
                values = self._pick(rows, "columns", number)
                natural = self._pick(parameters, "parameters", number)
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
        for number, head in self._numbered():
            values = rows[:, self._at("columns", number)]
            head.start_at(noise[self._at("parameters", number)], values, shares)

    def log_prob(
        self, rows: Tensor, parameters: Tensor, gaps: bool | None = None
    ) -> Tensor:
        """Return log p(x | f) in nats, summed over observed columns: shape (…,).

        `gaps` says whether rows may hold NaN; None looks.
        """
        if any_missing(rows) if gaps is None else gaps:
            return self._observed_terms(rows, parameters).sum(-1)
        total = rows.new_zeros(())
        for number, head in self._numbered():
            values = self._pick(rows, "columns", number)
            natural = self._pick(parameters, "parameters", number)
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
        if self.single:
            ((_, head),) = self._numbered()
            return head.log_prob(rows, parameters)
        shape = torch.broadcast_shapes(rows.shape[:-1], parameters.shape[:-1])
        terms = parameters.new_zeros(*shape, self.n_features)
        for number, head in self._numbered():
            values = self._pick(rows, "columns", number)
            natural = self._pick(parameters, "parameters", number)
            terms[..., self._at("columns", number)] = head.log_prob(values, natural)
        return terms

    def score(self, rows: Tensor, parameters: Tensor) -> Tensor:
        """Return ``∂ log p(x | f) / ∂f``: T(x) − ∇A in natural units."""
        missing = rows.isnan()
        filled = rows.masked_fill(missing, 0)
        score = torch.empty_like(parameters)
        for number, head in self._numbered():
            values = self._pick(filled, "columns", number)
            natural = self._pick(parameters, "parameters", number)
            found = head.score(values, natural)
            absent = self._pick(missing, "columns", number)
            absent = absent.repeat_interleave(head.width, dim=-1)
            score[..., self._at("parameters", number)] = found.masked_fill(absent, 0)
        return score

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
        missing = rows.isnan() if gaps else None
        if missing is not None:
            rows = rows.masked_fill(missing, 0)
        total = slopes.new_zeros(len(rows), len(slopes), len(slopes))
        for number, head in self._numbered():
            values = self._pick(rows, "columns", number)
            natural = self._pick(parameters, "parameters", number)
            along = self._pick(slopes, "parameters", number)
            if missing is not None:
                absent = self._pick(missing, "columns", number)
                absent = absent.repeat_interleave(head.width, dim=-1)
                along = along.masked_fill(absent, 0)
            total = total + head.information(values, natural, along)
        return total

    def statistics(self, parameters: Tensor) -> Tensor:
        """Return means, and probabilities of all levels: shape (…, n_statistics).

        They may be averaged over codes, which values decided on may not.
        """
        shape = (*parameters.shape[:-1], self.layout.n_statistics)
        statistics = parameters.new_zeros(shape)
        for number, head in self._numbered():
            natural = self._pick(parameters, "parameters", number)
            found = head.statistics(natural)
            if self.single:
                return found
            statistics[..., self._at("statistics", number)] = found
        return statistics

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
        shape = (*statistics.shape[:-1], self.n_features)
        rows = statistics.new_full(shape, torch.nan)
        for number, head in self._numbered():
            values = head.decide(self._pick(statistics, "statistics", number))
            if self.single:
                return values
            rows[..., self._at("columns", number)] = values
        return rows

    def mean(self, parameters: Tensor, shares: Tensor | None = None) -> Tensor:
        """Return the expected row: the mean, the probability of a one, or the mode.

        `shares` is as in `decide`.
        """
        return self.decide(self.statistics(parameters), shares)

    def sample(self, parameters: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one row for each row of parameters."""
        rows = parameters.new_full((*parameters.shape[:-1], self.n_features), torch.nan)
        for number, head in self._numbered():
            natural = self._pick(parameters, "parameters", number)
            rows[..., self._at("columns", number)] = head.sample(natural, generator)
        return rows

    def _numbered(self) -> Iterator[tuple[int, Head]]:
        return enumerate(cast("Iterable[Head]", self.heads))

    def _at(self, name: str, number: int) -> Tensor:
        positions: Tensor = getattr(self, f"{name}_{number}")
        return positions

    def _pick(self, array: Tensor, name: str, number: int) -> Tensor:
        return array if self.single else array[..., self._at(name, number)]
