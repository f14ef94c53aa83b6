"""Options and output that benchmarks of several fits share."""

import argparse
from pathlib import Path

import pandas as pd
import torch


def add_fit_options(
    parser: argparse.ArgumentParser, rows: int = 1000, seeds: int = 1
) -> None:
    """Add what says which fits to make; the numbers are defaults."""
    parser.add_argument("--tables", nargs="+", help="only these, by name")
    parser.add_argument("--rows", type=int, default=rows, help="most rows of a table")
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument(
        "--max-iter", type=int, help="of ours; default: that of the estimator"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes")


def changed_settings(arguments: argparse.Namespace) -> dict[str, int]:
    """Return parameters of our estimators that are not at their defaults."""
    return {} if arguments.max_iter is None else {"max_iter": arguments.max_iter}


def check_devices(parser: argparse.ArgumentParser, devices: list[str]) -> None:
    """End with an error, before anything is measured, where there is no GPU."""
    if not torch.cuda.is_available() and any(each != "cpu" for each in devices):
        parser.error(
            f"torch finds no GPU for {', '.join(devices)} on this machine: choose cpu "
            "alone"
        )


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, in a folder that need not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)
