"""Options and output that benchmarks of several fits share."""

import argparse
import csv
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from joblib import Parallel, delayed

RESULTS = Path("benchmarks/results")


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


def add_output(
    parser: argparse.ArgumentParser, name: str, description: str | None = None
) -> None:
    """Add what says where results go, by default to a file of the folder of results."""
    parser.add_argument(
        "--output", type=Path, default=RESULTS / f"{name}.csv", help=description
    )


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


def write_rows(
    rows: Iterable[dict[str, Any]],
    columns: list[str],
    path: Path,
    line: Callable[[dict[str, Any]], str],
) -> None:
    """Write rows as CSV and print a line for each, as they are measured."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for row in rows:
            writer.writerow(row)
            file.flush()
            print(line(row), flush=True)


def run_jobs(
    run: Callable[[Any], tuple[Any, Any]],
    jobs: list[Any],
    keys: list[str],
    columns: list[str],
    arguments: argparse.Namespace,
) -> None:
    """Run fits and write a line for each as it ends.

    To resume leaves out jobs whose keys the output holds. `run` returns a job with what
    it measured, both of them dataclasses.
    """
    output = arguments.output
    output.parent.mkdir(parents=True, exist_ok=True)
    resume = arguments.resume and output.exists()
    done = set()
    if resume:
        with output.open(newline="") as file:
            done = {tuple(row[key] for key in keys) for row in csv.DictReader(file)}
    jobs = [job for job in jobs if tuple(map(str, astuple(job))) not in done]
    results = Parallel(arguments.jobs, return_as="generator_unordered")(
        delayed(run)(job) for job in jobs
    )
    with output.open("a" if resume else "w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        if not resume:
            writer.writeheader()
        for number, (job, found) in enumerate(results, start=1):
            writer.writerow(asdict(job) | asdict(found))
            file.flush()
            print(f"\r{number} of {len(jobs)} fits", end="", file=sys.stderr)
    print(file=sys.stderr)
