"""Time and memory of large tables: one process a case, so that peaks are its own."""

import multiprocessing
import resource
import time
from functools import partial

import numpy as np
import pandas as pd
import torch

from sklearn_ilvae import ILVAETransformer


def people(n_rows: int, gaps: float) -> pd.DataFrame:
    """Return ten columns of six kinds that depend on one factor."""
    random = np.random.default_rng(0)
    factor = random.standard_normal(n_rows)

    def noisy() -> np.ndarray:
        return factor + random.standard_normal(n_rows)

    cities = np.array(["Oslo", "Rome", "Bonn", "Cork", "Kyiv"], dtype=object)
    frame = pd.DataFrame(
        {
            "height": 170 + 10 * noisy(),
            "weight": np.exp(4 + 0.2 * noisy()),
            "income": 1000 * np.exp(noisy()),
            "visits": random.poisson(np.exp(1 + factor / 2)).astype(float),
            "smoker": noisy() > 0,
            "member": noisy() > 1,
            "city": cities[np.clip(noisy() + 2, 0, 4.9).astype(int)],
            "grade": pd.Categorical.from_codes(
                np.clip(noisy() + 1.5, 0, 2.9).astype(int),
                ["low", "mid", "high"],
                ordered=True,
            ),
            "kind": pd.Categorical.from_codes(
                random.integers(0, 3, n_rows), list("abc")
            ),
            "joined": pd.Timestamp("2020-01-01")
            + pd.to_timedelta((100 * noisy()).astype(int), unit="D"),
        }
    )
    if gaps:
        frame = frame.astype({"smoker": "boolean", "member": "boolean"})
        frame = frame.mask(random.random(frame.shape) < gaps)
    return frame


def encode(n_rows: int, gaps: float) -> dict[str, float]:
    frame = people(n_rows, gaps)
    start = time.perf_counter()
    model = ILVAETransformer(max_iter=2, random_state=0).fit(frame[:20_000])
    fitted = time.perf_counter()
    model.transform(frame)
    encoded = time.perf_counter() - fitted
    return {
        "fit s": fitted - start,
        "transform s": encoded,
        "cells/s": frame.size / encoded,
    }


def fit_levels(n_levels: int) -> dict[str, float]:
    random = np.random.default_rng(0)
    names = np.array([f"level {each}" for each in range(n_levels)], dtype=object)
    codes = np.concatenate(
        [np.arange(n_levels), random.integers(0, n_levels, n_levels)]
    )
    frame = pd.DataFrame({"id": names[codes], "x": random.standard_normal(len(codes))})
    return fit_and_encode(frame)


def fit_binaries(n_columns: int) -> dict[str, float]:
    random = np.random.default_rng(0)
    factors = random.standard_normal((2000, 5))
    logits = factors @ random.standard_normal((5, n_columns)) - 2
    ones = random.random(logits.shape) < 1 / (1 + np.exp(-logits))
    return fit_and_encode(pd.DataFrame(ones).add_prefix("b"))


def fit_and_encode(frame: pd.DataFrame) -> dict[str, float]:
    start = time.perf_counter()
    model = ILVAETransformer(max_iter=5, random_state=0).fit(frame)
    fitted = time.perf_counter()
    model.transform(frame)
    encoded = time.perf_counter() - fitted
    return {
        "fit s": fitted - start,
        "transform s": encoded,
        "cells/s": frame.size / encoded,
    }


CASES = {
    "a million rows of ten columns": (partial(encode, gaps=0.0), 1_000_000),
    "the same with a tenth missing": (partial(encode, gaps=0.1), 1_000_000),
    "50,000 levels, 5 epochs": (fit_levels, 50_000),
    "1,500 binaries, 5 epochs": (fit_binaries, 1500),
}


def measured(case: str, scale: float) -> dict[str, float]:
    torch.set_num_threads(1)
    function, size = CASES[case]
    found = function(round(scale * size))
    found["peak MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


def in_own_process(case: str, scale: float) -> dict[str, float]:
    """Return seconds, cells encoded a second on one core, and the peak of memory.

    A scale below 1 makes the table of the case smaller.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measured, (case, scale))
