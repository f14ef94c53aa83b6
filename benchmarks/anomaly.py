"""Outlier detection on ADBench's tables: our default against its peers.

Two protocols, with the same rows for every detector:

one-class
    Fit to a random half of the normal rows; score the other half and all anomalies.
unsupervised
    Fit to all rows, anomalies included; score the same rows.

Tables have at most 10,000 rows: a stratified subsample that keeps at least 30 anomalies
where there are that many. Ours takes columns as they are, and finds those of zeros and
ones; peers get them standardised by the training rows. Labels are read to measure only.
ECOD, COPOD, HBOS, INNE and the deep detectors are PyOD's (``pip install pyod==3.6.7``).
Every fit adds a line to the output as it ends; ``--resume`` goes on where an
interrupted run stopped. A fit that takes longer than ``--most-seconds`` is reported as
failed; means and ranks are over the tables that all detectors finished.

    python benchmarks/anomaly.py --data FOLDER
    python benchmarks/anomaly.py --data FOLDER --models default classical --seeds 1
    python benchmarks/anomaly.py --data FOLDER --part calibration
"""

import argparse
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _commands import (
    add_fit_options,
    add_output,
    changed_settings,
    run_jobs,
    write_table,
)
from _datasets import (
    PROTOCOLS,
    SOURCE,
    adbench_names,
    labelled_table,
    split_labelled,
)
from _detectors import DEFAULT, DETECTORS, GROUPS, OURS, chosen_models
from joblib import Parallel, delayed
from scipy.stats import kstest, wilcoxon
from sklearn.metrics import average_precision_score, roc_auc_score

from sklearn_ilvae import ILVAEOutlierDetector

RATE = 0.1


@dataclass(frozen=True)
class Job:
    """One fit."""

    table: str
    protocol: str
    model: str
    seed: int


@dataclass
class Measurement:
    """What one fit gives; scores in percent."""

    n_rows: int | None = None
    n_columns: int | None = None
    auroc: float | None = None
    average_precision: float | None = None
    fit_seconds: float | None = None
    score_seconds: float | None = None
    error: str = ""


KEYS = [field.name for field in fields(Job)]
COLUMNS = KEYS + [field.name for field in fields(Measurement)]


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"not finished in {seconds} s")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def run(
    job: Job, folder: Path, n_rows: int, most_seconds: int, settings: dict[str, int]
) -> tuple[Job, Measurement]:
    torch.set_num_threads(1)
    random = np.random.RandomState(job.seed)
    X, y = labelled_table(job.table, folder, n_rows, random)
    first, second = split_labelled(y, job.protocol, random)
    training = X[first]
    # Some detectors know their training rows again.
    rows = training if second is first else X[second]
    found = Measurement(len(training), X.shape[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with time_limit(most_seconds):
                measure(found, job, training, rows, y[second], settings)
        except Exception as error:  # a peer that fails is reported, not hidden
            found.error = f"{type(error).__name__}: {error}".replace("\n", " ")
    return job, found


def measure(
    found: Measurement,
    job: Job,
    training: np.ndarray,
    rows: np.ndarray,
    labels: np.ndarray,
    settings: dict[str, int],
) -> None:
    own = settings if job.model in OURS else {}
    model = DETECTORS[job.model](job.seed, training.shape[1], **own)
    start = time.process_time()
    model.fit(training)
    found.fit_seconds = time.process_time() - start
    start = time.process_time()
    abnormality = model.abnormality(rows)
    found.score_seconds = time.process_time() - start
    found.auroc = 100 * roc_auc_score(labels, abnormality)
    found.average_precision = 100 * average_precision_score(labels, abnormality)


def make_jobs(arguments: argparse.Namespace) -> Iterator[Job]:
    for seed in range(arguments.seeds):
        for table in arguments.tables or adbench_names(arguments.data):
            for protocol in arguments.protocols:
                for model in chosen_models(arguments.models):
                    yield Job(table, protocol, model, seed)


def print_protocol(results: pd.DataFrame, protocol: str) -> None:
    results = results[results["protocol"] == protocol]
    by_table = {
        column: results.pivot_table(column, "table", "model", sort=False)
        for column in ("auroc", "average_precision", "fit_seconds", "score_seconds")
    }
    everything = by_table["auroc"]
    fits = results.pivot_table("auroc", "table", "model", aggfunc="count", sort=False)
    # A detector that failed for one seed would be compared on fewer rows than others.
    finished = fits.index[(fits == results["seed"].nunique()).all(axis=1)]
    by_table = {column: table.loc[finished] for column, table in by_table.items()}
    auroc, precision = by_table["auroc"], by_table["average_precision"]
    ranked = [model for model in auroc if model not in GROUPS["ablations"]]
    summary = pd.DataFrame(
        {
            "AUROC": auroc.mean(),
            "median": auroc.median(),
            "rank": auroc[ranked].rank(axis=1, ascending=False).mean(),
            "AP": precision.mean(),
            "AP median": precision.median(),
            "AP rank": precision[ranked].rank(axis=1, ascending=False).mean(),
            "fit s": by_table["fit_seconds"].mean(),
            "score s": by_table["score_seconds"].mean(),
        }
    )
    if DEFAULT in auroc:
        for name, scores in {"AUROC": auroc, "AP": precision}.items():
            summary[f"p {name}"] = [
                compare(scores[DEFAULT], scores[model]) for model in summary.index
            ]
    print(
        f"\n{protocol}: means over {len(finished)} of {len(everything)} tables; "
        f"p: Wilcoxon test against {DEFAULT}"
    )
    summary = summary.sort_values("AUROC", ascending=False)
    print(summary.to_string(float_format="{:.3g}".format, na_rep=""))
    print(f"\n{protocol}: AUROC by table")
    print(everything.T.reindex(summary.index).T.to_string(float_format="{:.1f}".format))


def compare(first: pd.Series, second: pd.Series) -> float:
    gain = (first - second).dropna()
    return float(wilcoxon(gain).pvalue) if (gain != 0).any() else np.nan


def print_summary(path: Path) -> None:
    results = pd.read_csv(path)
    failed = results["error"].notna()
    for _, row in results[failed].iterrows():
        print("failed:", *row[KEYS], row["error"])
    for protocol in PROTOCOLS:
        if (results["protocol"] == protocol).any():
            print_protocol(results[~failed], protocol)


def calibration(
    name: str, folder: Path, n_rows: int, repetitions: int, settings: dict[str, int]
) -> dict[str, object]:
    """Return how uniform p-values of normal rows are, and the realised rate.

    Trains once on a quarter of the normal rows; every repetition draws other
    calibration and test rows from the rest, and adds the anomalies to the test.
    p-values are multiples of 1 / (n + 1): for the test of uniformity each is spread
    over the step below it, and over its ties if rows are repeated.
    """
    torch.set_num_threads(1)
    random = np.random.RandomState(0)
    X, y = labelled_table(name, folder, n_rows, random)
    normal = random.permutation(np.flatnonzero(y == 0))
    model = ILVAEOutlierDetector(random_state=0, device="cpu", **settings)
    training, rest = np.split(normal, [len(normal) // 4])
    model.fit(X[training])
    p_of_normal, spread, false, found = [], [], [], []
    anomalies = np.flatnonzero(y == 1)
    for _ in range(repetitions):
        calibrating, new = np.array_split(random.permutation(rest), 2)
        model.calibrate(X[calibrating])
        p_of_normal.append(model.p_values(X[new[:1]])[0])
        ties = model.calibration_scores_ == model.score_samples(X[new[:1]])
        step = (1 + ties.sum()) / (1 + len(ties))
        spread.append(p_of_normal[-1] - step * random.uniform())
        rows = np.concatenate([new, anomalies])
        chosen = model.select(X[rows], RATE)
        false.append(chosen[: len(new)].sum() / max(1, chosen.sum()))
        found.append(chosen[len(new) :].mean())
    return {
        "table": name,
        "KS p-value": kstest(spread, "uniform").pvalue,
        "KS, too small": kstest(p_of_normal, "uniform", alternative="greater").pvalue,
        "mean p-value": np.mean(p_of_normal),
        "false discoveries": np.mean(false),
        "its error": np.std(false) / np.sqrt(repetitions),
        "anomalies found": np.mean(found),
        "calibration rows": len(calibrating),
    }


def run_calibration(arguments: argparse.Namespace) -> None:
    names = arguments.tables or adbench_names(arguments.data)
    sizes = (arguments.rows, arguments.repetitions)
    settings = changed_settings(arguments)
    found = Parallel(arguments.jobs, return_as="generator")(
        delayed(calibration)(name, arguments.data, *sizes, settings) for name in names
    )
    measured = []
    for each in found:
        print(*each.values(), file=sys.stderr)
        measured.append(each)
    table = pd.DataFrame(measured)
    output = arguments.output.with_stem(f"{arguments.output.stem}_calibration")
    write_table(table, output)
    print(
        f"\nCalibration: {arguments.repetitions} repetitions; selections at a rate of "
        f"{RATE}"
    )
    print(table.to_string(index=False, float_format="{:.3f}".format))
    print(table.mean(numeric_only=True).to_string(float_format="{:.3f}".format))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"{SOURCE.split(';')[0]}; labels are read to measure only.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="ADBench's tables")
    parser.add_argument(
        "--part", choices=["detection", "calibration", "both"], default="both"
    )
    add_fit_options(parser, rows=10_000, seeds=3)
    parser.add_argument(
        "--models",
        nargs="+",
        choices=[*GROUPS, *DETECTORS],
        default=list(GROUPS),
        metavar="NAME",
        help=f"groups {', '.join(GROUPS)}, or names: {', '.join(DETECTORS)}",
    )
    parser.add_argument(
        "--protocols", nargs="+", choices=PROTOCOLS, default=list(PROTOCOLS)
    )
    parser.add_argument(
        "--repetitions", type=int, default=200, help="of the calibration"
    )
    parser.add_argument(
        "--most-seconds", type=int, default=600, help="of a fit, by the clock"
    )
    parser.add_argument("--resume", action="store_true", help="add to the output")
    add_output(
        parser,
        "anomaly",
        "of the detection; the calibration adds _calibration to the name",
    )
    arguments = parser.parse_args()
    if arguments.part != "calibration":
        one = partial(
            run,
            folder=arguments.data,
            n_rows=arguments.rows,
            most_seconds=arguments.most_seconds,
            settings=changed_settings(arguments),
        )
        run_jobs(one, list(make_jobs(arguments)), KEYS, COLUMNS, arguments)
        print_summary(arguments.output)
    if arguments.part != "detection":
        run_calibration(arguments)


if __name__ == "__main__":
    main()
