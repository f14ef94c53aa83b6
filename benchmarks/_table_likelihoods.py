"""Likelihoods of tables of categories, and of their one-hot codes, in one unit.

A density of one-hot codes is no probability of categories. Two measures make the two
models comparable, in nats a row of the units of the table:

row
    The log-likelihood of the whole row. The density over codes is restricted to the
    codes that can occur and divided by its total over them, ``Z = Σ_levels ∫ p dx``. As
    columns are independent given the latent code z, ``Z = E_z Π_j Σ_k p(code k | z)``
    over the columns j of codes: a mean over draws of z, whose logarithm is too small
    rather than too large, which favours the one-hot model.
rest
    The sum over the columns of levels of log p(level | rest of the row), by the scores
    of the row with every level in its place.
"""

from math import log

import numpy as np
import pandas as pd
import torch
from _mixed_tables import is_number
from torch import Tensor

from sklearn_ilvae import ILVAETransformer

DRAWS, CHUNK = 1 << 15, 1 << 12


def log_total(model: ILVAETransformer, n_features: int, blocks: list[slice]) -> float:
    """Return log Z of a model of one-hot codes."""
    generator = torch.Generator().manual_seed(0)
    module, scaling = model.module_.double(), model._scaling()
    ends = torch.zeros(2, n_features, dtype=torch.float64)
    ends[1] = 1
    rows = scaling.transform(ends)
    slopes = scaling.log_slopes(ends, rows) - scaling.unit.log()
    totals = []
    with torch.no_grad():
        for codes in module.prior.sample(DRAWS, generator).double().split(CHUNK):
            natural = module.decoder(codes)
            off, on = (
                module.likelihood.column_log_prob(row, natural) + slope
                for row, slope in zip(rows, slopes, strict=True)
            )
            total: Tensor = sum(
                off[:, block].sum(1) + (on - off)[:, block].logsumexp(1)
                for block in blocks
            )
            totals.append(total)
    return float(torch.cat(totals).logsumexp(0)) - log(DRAWS)


def codes_given_rest(
    model: ILVAETransformer, rows: np.ndarray, blocks: list[slice]
) -> float:
    """Return the mean over rows of Σⱼ log p(levelⱼ | rest), from one-hot codes."""
    own = model.score_samples(rows)
    gain = np.zeros(len(rows))
    for block in blocks:
        scores = []
        for code in np.eye(block.stop - block.start):
            other = rows.copy()
            other[:, block] = code
            scores.append(model.score_samples(other))
        gain += own - np.logaddexp.reduce(scores)
    return float(gain.mean())


def levels_given_rest(model: ILVAETransformer, frame: pd.DataFrame) -> float:
    """Return the mean over rows of Σⱼ log p(levelⱼ | rest)."""
    own = model.score_samples(frame)
    gain = np.zeros(len(frame))
    for name in frame:
        if is_number(frame[name]):
            continue
        column = next(c for c in model._table_schema().columns if c.name == name)
        levels = [False, True] if column.levels is None else column.levels
        scores = []
        for level in levels:
            values = pd.Series([level] * len(frame), frame.index)
            other = frame.assign(**{name: values.astype(frame[name].dtype)})
            scores.append(model.score_samples(other))
        gain += own - np.logaddexp.reduce(scores)
    return float(gain.mean())
