"""Accuracy, growth and speed of score estimation.

``python benchmarks/score_estimation.py accuracy`` (or ``growth``, ``speed``) prints a
table and writes every run to a CSV file. The error is ``Σ‖ŝ − s‖² / Σ‖s‖²`` on fresh
rows: 1 is as bad as predicting zero. The truth is used to measure only; peers "at their
best" are tuned on it, over a grid of kernels, bandwidths and strengths.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import multiprocessing
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from score_peers import (
    FACTORS,
    PEERS,
    README_KERNEL,
    README_STRENGTH,
    predict,
    tuned,
)
from score_tasks import (
    Task,
    accuracy_tasks,
    banana,
    four_clusters,
    grid,
    held_out_tasks,
    spiral,
)

from sklearn_ilvae.stein import Report, ScoreModel, Settings, fit_score
from sklearn_ilvae.stein.bases.gaussian import fit_gaussian
from sklearn_ilvae.stein.kernels.radial import KERNELS
from sklearn_ilvae.stein.sample.reading import read_rows
from sklearn_ilvae.stein.sample.splits import split_rows

Row = dict[str, Any]
FRESH_ROWS = 2000
README = {peer: (README_KERNEL, 1.0, s) for peer, s in README_STRENGTH.items()}
COLUMNS = {
    "accuracy": ["task", "n", "seed", "method", "setting", "error", "seconds"],
    "growth": [
        *("task", "n", "bases", "error", "typical_error", "landmarks", "setting"),
        *("cpu_seconds", "floor_seconds", "peak_mib_beyond_data"),
    ],
    "speed": ["task", "n", "method", "cpu_seconds", "peak_mib"],
}


def gaussian_score(X: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """Return the Gaussian base score alone."""
    generator = torch.Generator().manual_seed(0)
    rows = read_rows(X, generator=generator, device=torch.device("cpu"))
    fit = fit_gaussian(rows, split_rows(rows))
    rows = fit.rows  # in coordinates of the plane that holds them
    model = ScoreModel(rows.center, rows.inverse_scale, fit.full, rows.axes)
    return model.score(queries)


def accuracy_of(
    task: Task,
    n: int,
    seed: int,
    methods: list[str],
    grid: list[tuple[str, float]],
) -> list[Row]:
    """Return the errors of methods, of peers at their best of a grid."""
    rng = np.random.default_rng([seed, n])
    sample, fresh = task.sample(n, rng), task.sample(FRESH_ROWS, rng)
    X, queries, truth = (
        torch.from_numpy(sample),
        torch.from_numpy(fresh),
        task.score(fresh),
    )

    def error(scores: torch.Tensor) -> float:
        return task.error(truth, scores.numpy())

    rows: list[Row] = []
    if "ours" in methods:
        start = time.perf_counter()
        model, report = fit_score(X, seed=seed)
        seconds = time.perf_counter() - start
        ours = {"setting": setting_of(report), "error": error(model.score(queries))}
        rows.append({"method": "ours", "seconds": seconds} | ours)
    if "Gaussian" in methods:
        rows.append({"method": "Gaussian", "error": error(gaussian_score(X, queries))})
    peers = [peer for peer in PEERS if peer in methods]
    readme, best = {}, {peer: {"error": np.inf, "setting": ""} for peer in peers}
    for kernel, factor in grid if peers else ():
        for peer, strength, scores in tuned(X, queries, kernel, factor, peers):
            found = error(scores)
            if found < best[peer]["error"]:
                setting = f"{kernel} {factor}x median {strength:g}"
                best[peer] = {"error": found, "setting": setting}
            if (kernel, factor, strength) == README.get(peer):
                readme.setdefault(peer, found)
    for peer in peers:
        if (README_KERNEL, 1.0) in grid:
            # The default of SSGE keeps another number of eigenvalues.
            found = readme.get(peer) or error(predict(peer, X, queries))
            rows.append({"method": f"{peer} README", "error": found})
        rows.append({"method": f"{peer} best"} | best[peer])
    return [{"task": task.name, "n": n, "seed": seed} | row for row in rows]


def accuracy(arguments: argparse.Namespace) -> Iterator[list[Row]]:
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    grid = list(itertools.product(arguments.kernels, arguments.factors))
    for n in arguments.sizes or [50, 200, 500]:
        for task in [*accuracy_tasks(), *held_out_tasks()]:
            if arguments.tasks and task.name not in arguments.tasks:
                continue
            rows = []
            for seed in seeds:
                rows += accuracy_of(task, n, seed, arguments.methods, grid)
            print_accuracy(rows, task.name, n)
            yield rows


def print_accuracy(rows: list[Row], task: str, n: int) -> None:
    """Print the median error of each method, and ours over that of the best peer."""
    errors = defaultdict(list)
    for row in rows:
        errors[row["method"]].append(row["error"])
    medians = {method: float(np.median(values)) for method, values in errors.items()}
    best = min((v for k, v in medians.items() if k.endswith("best")), default=np.nan)
    ratio = medians.get("ours", np.nan) / best
    cells = "  ".join(f"{method} {value:.4f}" for method, value in medians.items())
    print(f"{task:24s} n={n:<6d} ratio {ratio:5.2f}  {cells}", flush=True)


def growth(arguments: argparse.Namespace) -> Iterator[list[Row]]:
    tasks = [four_clusters(2), banana(), spiral(), four_clusters(10), grid(spacing=4.0)]
    for task in tasks:
        if arguments.tasks and task.name not in arguments.tasks:
            continue
        for n in arguments.sizes or [10_000, 100_000, 1_000_000]:
            rng = np.random.default_rng(n)
            sample, fresh = task.sample(n, rng), task.sample(FRESH_ROWS, rng)
            truth, queries = task.score(fresh), torch.from_numpy(fresh)
            X = mapped(sample)
            del sample
            for base in ("auto", "gaussian"):
                fit = partial(growth_of, X, base, queries)
                row = in_own_process(fit)
                found = row.pop("scores")
                row |= {
                    "task": task.name,
                    "n": n,
                    "error": task.error(truth, found),
                    "typical_error": task.typical_error(truth, found),
                }
                yield [row]
                cells = (
                    f"{k} {row[k]:.4g}"
                    if isinstance(row[k], float)
                    else f"{k} {row[k]}"
                    for k in COLUMNS["growth"]
                )
                print("  ".join(cells), flush=True)


def growth_of(X: torch.Tensor, base: str, queries: torch.Tensor) -> Row:
    """Return a fit and its cost; families beyond the Gaussian may need no kernel."""
    X.sum()  # memory that maps the file is no memory beyond the data
    (model, report), seconds, memory = cost_of(
        lambda: fit_score(X, Settings(base=base))
    )
    least = np.nan if report.form is None else floor(X, model.n_landmarks, report.form)
    return {
        "scores": model.score(queries).numpy(),
        "bases": base,
        "landmarks": model.n_landmarks,
        "setting": setting_of(report),
        "cpu_seconds": seconds,
        "floor_seconds": least,
        "peak_mib_beyond_data": memory,
    }


def setting_of(report: Report) -> str:
    strength = report.regularization
    return f"{report.base} {report.kernel} {report.form} {strength}"


def mapped(sample: np.ndarray) -> torch.Tensor:
    """Return the sample as a memory-mapped file, which a fit reads in chunks."""
    with tempfile.NamedTemporaryFile() as file:
        sample.tofile(file.name)
        # Copy on write: a read-only array would make torch warn.
        again = np.memmap(file.name, sample.dtype, mode="c", shape=sample.shape)
    return torch.from_numpy(again)


def floor(X: torch.Tensor, m: int, form: str) -> float:
    """Time the distances, exponentials and Gram products of all rows.

    The curl-free form needs a second product, which is not symmetric.
    """
    landmarks, step = X[:m].clone(), 2048
    half = (m + 1) // 2
    total = torch.zeros(m, m, dtype=torch.float64)
    start = time.process_time()
    for first in range(0, len(X), step):
        block = X[first : first + step] @ landmarks.T
        block.mul_(-1e-3).exp_()
        total[:half] += block[:, :half].T @ block
        total[half:, half:] += block[:, half:].T @ block[:, half:]
        if form == "curl_free":
            total += block.T @ block
    return time.process_time() - start


def cost_of(run: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return what a call returns, CPU seconds and by how many MiB the peak rises."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    result = run()
    seconds = time.process_time() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return result, seconds, (after - before) / 1024


def in_own_process(run: Callable[[], Any]) -> Any:
    """Return what a call returns in a process of its own, where the peak is its own."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(run()))
    process.start()
    sender.close()  # so that the end of the process is the end of waiting for it
    result = receiver.recv()
    process.join()
    return result


def speed(arguments: argparse.Namespace) -> Iterator[list[Row]]:
    fixed = {"bandwidth": "median", "regularization": 1e-4}
    for task in [four_clusters(2), four_clusters(10)]:
        for n in arguments.sizes or [1000, 2000, 5000]:
            X = torch.from_numpy(task.sample(n, np.random.default_rng(n)))
            few = X[:1]
            runs: dict[str, Callable[[], object]] = {
                f"{peer} fixed": lambda peer=peer, X=X, few=few: predict(peer, X, few)
                for peer in PEERS
                if peer in arguments.methods
            }
            for form in ("diagonal", "curl_free"):
                settings = Settings(kernel="rbf", form=form, **fixed)
                runs[f"ours fixed {form}"] = lambda s=settings, X=X: fit_score(X, s)
            runs["ours choosing all"] = lambda X=X: fit_score(X)
            for name, run in runs.items():
                seconds, memory = in_own_process(lambda run=run: cost_of(run)[1:])
                row = {"task": task.name, "n": n, "method": name}
                yield [row | {"cpu_seconds": seconds, "peak_mib": memory}]
                print(
                    f"{task.name} n={n} {name:24s} {seconds:7.2f} s {memory:7.0f} MiB"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = {"accuracy": accuracy, "growth": growth, "speed": speed}
    parser.add_argument("command", choices=commands)
    parser.add_argument("--sizes", type=int, nargs="*", help="numbers of rows")
    parser.add_argument("--seeds", type=int, default=5, help="number of samples each")
    names = [task.name for task in (*accuracy_tasks(), *held_out_tasks())]
    parser.add_argument(
        "--tasks",
        nargs="*",
        choices=names,
        metavar="NAME",
        help=f"only these distributions: {', '.join(names)}",
    )
    parser.add_argument("--first-seed", type=int, default=0)
    everyone = ["ours", "Gaussian", *PEERS]
    parser.add_argument("--methods", nargs="*", choices=everyone, default=everyone)
    # The whole grid takes half an hour for each sample of 5000 rows.
    several = {"nargs": "*", "help": "the grid of peers at their best"}
    parser.add_argument("--kernels", choices=list(KERNELS), default=KERNELS, **several)
    parser.add_argument("--factors", type=float, default=FACTORS, **several)
    parser.add_argument("--output", type=Path, help="CSV file to append to")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    output = arguments.output or Path(f"score_{arguments.command}.csv")
    fresh = not output.exists()
    with output.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS[arguments.command])
        if fresh:
            writer.writeheader()
        for rows in commands[arguments.command](arguments):
            writer.writerows(rows)
            file.flush()


if __name__ == "__main__":
    main()
