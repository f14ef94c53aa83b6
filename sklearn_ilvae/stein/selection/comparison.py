"""The best of several settings by their held-out losses, and what is as good."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from .candidates import Candidate


@dataclass(frozen=True)
class Setting:
    """All that a fit needs to know.

    Attributes
    ----------
    candidate : Candidate
    base, method : str
    strength : float
    """

    candidate: Candidate
    base: str
    method: str
    strength: float


@dataclass(frozen=True)
class Choice(Setting):
    """A setting with its losses on rows held out.

    Attributes
    ----------
    loss : float
        The mean loss.
    degrees_of_freedom : float
    evaluate : callable
        Computes `losses`, which only few settings are asked for.
    """

    loss: float
    degrees_of_freedom: float
    evaluate: Callable[[], Tensor]

    @cached_property
    def losses(self) -> Tensor:
        """Loss of each validated row, of shape (n_validated,)."""
        return self.evaluate()


def choose(choices: list[Choice]) -> Choice:
    """Choose the setting of least mean loss.

    A rule of one standard error, which pays where a simpler model is an end in itself,
    here mostly smooths too much: neighbouring settings differ by less than the noise
    of either. It decides about families and about the kernel part as a whole.
    """
    return min(choices, key=lambda choice: choice.loss)


def close_to(
    best: Choice, choices: list[Choice], weights: Tensor, count: int
) -> list[Choice]:
    """Return the next best candidates of the same form, from the best.

    Only such whose loss is within two standard errors: the rows held out do not tell
    them from the best.

    Parameters
    ----------
    best : Choice
    choices : list of Choice
    weights : Tensor of shape (n_validated,)
    count : int
        The most to return.

    Returns
    -------
    choices : list of Choice
    """
    others: dict[Candidate, list[Choice]] = {}
    for choice in choices:
        candidate = choice.candidate
        if candidate != best.candidate and candidate.form == best.candidate.form:
            others.setdefault(candidate, []).append(choice)
    rivals = [choose(each) for each in others.values()]
    rivals.sort(key=lambda rival: rival.loss)
    return [
        rival
        for rival in rivals[:count]
        if not improves(best.losses, rival.losses, weights, standard_errors=2.0)
    ]


def improves(
    losses: Tensor,
    other_losses: Tensor,
    weights: Tensor,
    *,
    standard_errors: float | None = None,
) -> bool:
    """Tell whether a gain over other losses exceeds so many standard errors.

    By default ``√log n``: at that value of its t-statistic the Bayesian information
    criterion admits a parameter. It guards against the best of many settings.
    """
    if standard_errors is None:
        standard_errors = math.sqrt(math.log(len(losses)))
    gain, error = mean_and_error((other_losses - losses)[:, None], weights)
    return bool(gain > standard_errors * error)


def evidence_against(base: str) -> float | None:
    """Return the standard errors by which a kernel part must beat a base alone.

    A family of few parameters has to be refuted, by the default of `improves`. A
    mixture has about as much freedom as a kernel part, and no better claim to be true;
    the best of many kernel parts is ahead of it by one standard error by chance.
    """
    return 2.0 if base == "mixture" else None


def mean_and_error(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted mean of each column and its standard error."""
    share = weights / weights.sum()
    mean = share @ values
    return mean, (share.square() @ (values - mean).square()).sqrt()
