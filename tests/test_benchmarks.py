"""The benchmarks run through, on data that ships with scikit-learn."""

import runpy
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

SMALL = "--rows 60 --max-iter 1"
COMMANDS = {
    f"collapse.py --part sweep --tables wine --seeds 1 {SMALL}": "fisher",
    f"collapse.py --part defaults --tables wine --seeds 1 {SMALL}": "log_likelihood",
    f"tables.py --part likelihood --tables iris {SMALL}": "row, one-hot",
    f"tables.py --part imputation --tables iris --methods ilvae {SMALL}": "ilvae",
    "tables.py --part overhead --repetitions 1": "ratio",
    "score_estimation.py accuracy --sizes 50 --seeds 1 --tasks banana --methods ours": (
        "error"
    ),
}
"""Commands, and a column of what they write that holds a number in every line."""


@pytest.fixture(autouse=True)
def same_torch():
    """Benchmarks set one thread and no gradients for good; tests after them do not."""
    threads = torch.get_num_threads()
    with torch.enable_grad():
        yield
    torch.set_num_threads(threads)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("command", "column"), COMMANDS.items())
def test_commands_measure(command, column, tmp_path, monkeypatch):
    script, *arguments = command.split()
    output = tmp_path / "found.csv"
    monkeypatch.setattr(sys, "argv", [script, *arguments, "--output", str(output)])
    monkeypatch.syspath_prepend(BENCHMARKS)
    runpy.run_path(str(BENCHMARKS / script), run_name="__main__")
    assert pd.read_csv(output)[column].notna().all()
