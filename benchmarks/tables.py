"""Tables as they are, in six parts.

likelihood
    Test log-likelihood of mixed tables against one-hot codes with Gaussian noise.
imputation
    Error of imputed values against imputers of scikit-learn.
gaps
    AUROC of the detector with values removed at random.
codes
    AUROC of the detector on discrete tables: their kinds against one-hot codes.
speed
    Time and memory of large tables, on one core.
overhead
    CPU time of fits to numbers alone, with and without what serves other tables.

    python benchmarks/tables.py --part likelihood --data FOLDER --australian FILE
    python benchmarks/tables.py --part imputation --data FOLDER
    python benchmarks/tables.py --part gaps --data FOLDER
    python benchmarks/tables.py --part codes --data FOLDER
    python benchmarks/tables.py --part speed
    python benchmarks/tables.py --part overhead

Values are removed completely at random (MCAR), or the more the larger they are (MNAR):
with a probability that rises linearly with the rank of the value in its column. The
error is the root mean square of standardised values over what was removed.

Every measurement adds a line to the output as it ends; ``--resume`` goes on where an
interrupted run stopped.
"""

import argparse
import itertools
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from _commands import RESULTS, changed_settings
from _datasets import PROTOCOLS, SOURCE
from _mixed_tables import AUSTRALIAN, mixed_table, numbers, one_hot
from _table_detectors import with_codes, with_gaps
from _table_likelihoods import codes_given_rest, levels_given_rest, log_total
from _table_overhead import overhead
from _table_speed import CASES, in_own_process
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.model_selection import train_test_split

from sklearn_ilvae import ILVAETransformer

CONTINUOUS = ["2_annthyroid", "22_magic.gamma", "27_PageBlocks", "39_vertebral"]
DISCRETE = ["21_Lymphography", "4_breastw", "42_WBC", "8_celeba", "17_InternetAds"]
TABLES = {
    "likelihood": [
        AUSTRALIAN,
        *("wine", "iris", "diabetes", "breast_cancer", "digits"),
        *(*CONTINUOUS, *DISCRETE[:3]),
    ],
    "imputation": [
        *("wine", "iris", "diabetes", "breast_cancer"),
        *(*CONTINUOUS, "41_Waveform", "44_Wilt"),
    ],
    "gaps": [
        *(*CONTINUOUS, "38_thyroid", "4_breastw", "18_Ionosphere", "44_Wilt"),
        *("30_satellite", "31_satimage-2", "41_Waveform", "42_WBC"),
    ],
    "codes": DISCRETE,
    "speed": list(CASES),
    "overhead": ["5", "20", "100"],
}
SHARES, RULES = (0.1, 0.3, 0.5), ("MCAR", "MNAR")
GAP_METHODS = ("auroc", "filled", "learned complete")


def likelihood_jobs(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for table, seed in itertools.product(arguments.tables, range(arguments.seeds)):
        yield {"table": table, "seed": seed}


def compare_likelihoods(
    arguments: argparse.Namespace, table: str, seed: int
) -> dict[str, float]:
    folders = (arguments.data, arguments.australian)
    frame = mixed_table(table, *folders, arguments.rows, seed)
    coded, blocks = one_hot(frame)
    train, test = train_test_split(
        np.arange(len(frame)), test_size=0.3, random_state=seed
    )
    settings = {"random_state": seed, "n_importance_samples": 200}
    settings |= arguments.settings
    mixed = ILVAETransformer(**settings).fit(frame.iloc[train])
    # Numbers as in the other model, those of zeros and ones too: what differs is what
    # stands for the levels.
    likelihood = np.full(coded.shape[1], "auto", dtype=object)
    for block in blocks:
        likelihood[block] = "gaussian"
    plain = ILVAETransformer(likelihood=list(likelihood), **settings)
    plain.fit(coded[train])
    total = log_total(plain, coded.shape[1], blocks)
    return {
        "columns": frame.shape[1],
        "of levels": len(blocks),
        "row, mixed": mixed.score(frame.iloc[test]),
        "row, one-hot": plain.score(coded[test]) - total,
        "rest, mixed": levels_given_rest(mixed, frame.iloc[test]),
        "rest, one-hot": codes_given_rest(plain, coded[test], blocks),
    }


def summarise_likelihoods(found: pd.DataFrame) -> None:
    gain = pd.DataFrame(
        {
            measure: found[f"{measure}, mixed"] - found[f"{measure}, one-hot"]
            for measure in ("row", "rest")
        }
    )
    by_table = gain.groupby(found["table"]).mean()
    print("mixed wins:", ", ".join(f"{m} {(by_table[m] > 0).sum()}" for m in by_table))
    print(f"of {len(by_table)} tables; median gain", by_table.median().to_dict())


def imputation_jobs(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for table, rule, share, seed in itertools.product(
        arguments.tables, RULES, SHARES, range(arguments.seeds)
    ):
        yield {"table": table, "rule": rule, "share": share, "seed": seed}


def remove(
    rows: np.ndarray, share: float, rule: str, random: np.random.Generator
) -> np.ndarray:
    if rule == "MCAR":
        gone = random.random(rows.shape) < share
    else:
        ranks = rows.argsort(0).argsort(0) / (len(rows) - 1)
        gone = random.random(rows.shape) < np.minimum(2 * share * ranks, 0.95)
    return np.where(gone, np.nan, rows)


def imputers(
    seed: int, settings: dict[str, int]
) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Return functions that fill in a table."""
    forest = RandomForestRegressor(20, min_samples_leaf=3, random_state=seed)
    keep = {"keep_empty_features": True}
    iterative = IterativeImputer(random_state=seed, **keep)
    forests = IterativeImputer(forest, max_iter=3, random_state=seed, **keep)
    ours = ILVAETransformer(random_state=seed, device="cpu", **settings)
    return {
        "ilvae": lambda missing: ours.fit(missing).impute(missing),
        "mean": SimpleImputer(**keep).fit_transform,
        "knn": KNNImputer(**keep).fit_transform,
        "iterative": iterative.fit_transform,
        "forests": forests.fit_transform,
    }


def compare_imputations(
    arguments: argparse.Namespace, table: str, rule: str, share: float, seed: int
) -> dict[str, float]:
    rows = numbers(table, arguments.data, arguments.rows, seed)
    rows = (rows - rows.mean(0)) / rows.std(0)
    missing = remove(rows, share, rule, np.random.default_rng(seed))
    gaps = np.isnan(missing)
    methods = imputers(seed, arguments.settings)
    return {
        name: float(np.sqrt(((fill(missing) - rows)[gaps] ** 2).mean()))
        for name, fill in methods.items()
        if name in arguments.methods
    }


def summarise_imputations(found: pd.DataFrame) -> None:
    errors = found.drop(columns=["table", "rule", "share", "seed", "seconds"])
    ranks = errors.rank(axis=1)
    print("mean rank:", ranks.mean().round(2).to_dict())
    if "ilvae" not in ranks:
        return
    second = (ranks["ilvae"] <= 2).groupby(found["table"]).mean()
    print("share of cases in which ilvae is best or second, by table:")
    print(second.round(2).to_dict(), f"all: {(ranks['ilvae'] <= 2).mean():.2f}")


def gap_jobs(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for table, protocol, seed, share in itertools.product(
        arguments.tables, PROTOCOLS, range(arguments.seeds), (0.0, *SHARES[:2])
    ):
        yield {"table": table, "protocol": protocol, "seed": seed, "share": share}


def compare_gaps(
    arguments: argparse.Namespace, table: str, protocol: str, seed: int, share: float
) -> dict[str, float]:
    sizes = (arguments.data, arguments.rows)
    methods, settings = arguments.methods, arguments.settings
    return with_gaps(table, protocol, share, seed, *sizes, methods, **settings)


def summarise_gaps(found: pd.DataFrame) -> None:
    keys = ["table", "protocol", "share"]
    methods = [each for each in GAP_METHODS if each in found]
    means = found.groupby(keys)[methods].mean().unstack("share")
    complete = means["auroc", 0.0]
    for share, allowed in zip(SHARES[:2], (1.5, 4.0), strict=True):
        for method in methods:
            loss = complete - means[method, share]
            inside = (loss <= allowed).groupby("protocol").mean().round(2).to_dict()
            mean = loss.groupby("protocol").mean().round(2).to_dict()
            print(f"{share:.0%} removed, {method}: lost {mean}; ≤ {allowed}: {inside}")


def code_jobs(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for table, protocol, seed in itertools.product(
        arguments.tables, PROTOCOLS, range(arguments.seeds)
    ):
        yield {"table": table, "protocol": protocol, "seed": seed}


def compare_codes(
    arguments: argparse.Namespace, table: str, protocol: str, seed: int
) -> dict[str, float]:
    sizes = (arguments.data, arguments.rows)
    return with_codes(table, protocol, seed, *sizes, **arguments.settings)


def summarise_codes(found: pd.DataFrame) -> None:
    print(found.groupby(["protocol", "table"]).mean(numeric_only=True).round(1))


def speed_jobs(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for table in arguments.tables:
        yield {"table": table}


def measure_speed(arguments: argparse.Namespace, table: str) -> dict[str, float]:
    return in_own_process(table, arguments.scale)


def summarise_speed(found: pd.DataFrame) -> None:
    print("fewest cells a second:", int(found["cells/s"].min()))


def overhead_jobs(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for columns in arguments.tables:
        yield {"columns": int(columns)}


def measure_overhead(arguments: argparse.Namespace, columns: int) -> dict[str, float]:
    n_rows = round(arguments.scale * 20_000)
    return overhead(arguments.repetitions, columns, n_rows)


def summarise_overhead(found: pd.DataFrame) -> None:
    print("largest median ratio:", round(found["ratio"].max(), 3))


PARTS = {
    "likelihood": (likelihood_jobs, compare_likelihoods, summarise_likelihoods),
    "imputation": (imputation_jobs, compare_imputations, summarise_imputations),
    "gaps": (gap_jobs, compare_gaps, summarise_gaps),
    "codes": (code_jobs, compare_codes, summarise_codes),
    "speed": (speed_jobs, measure_speed, summarise_speed),
    "overhead": (overhead_jobs, measure_overhead, summarise_overhead),
}


def run(arguments: argparse.Namespace) -> pd.DataFrame:
    """Run what is not in the output yet, and add a line for each as it ends."""
    make_jobs, measure, _ = PARTS[arguments.part]
    output = arguments.output
    output.parent.mkdir(parents=True, exist_ok=True)
    old = arguments.resume and output.exists()
    lines = pd.read_csv(output).to_dict("records") if old else []
    for job in make_jobs(arguments):
        if any(job.items() <= line.items() for line in lines):
            continue
        start = time.process_time()
        line = job | measure(arguments, **job)
        line["seconds"] = time.process_time() - start
        lines.append(line)
        print(pd.DataFrame([line]).to_string(index=False, header=len(lines) == 1))
        pd.DataFrame(lines).to_csv(output, index=False)
    return pd.DataFrame(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"{SOURCE.split(';')[0]}; labels are read to measure only.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--part", choices=PARTS, required=True)
    parser.add_argument("--data", type=Path, help="ADBench's tables")
    parser.add_argument(
        "--australian",
        type=Path,
        help="australian.dat of archive.ics.uci.edu/dataset/143",
    )
    parser.add_argument("--tables", nargs="+", help="only these, by name")
    parser.add_argument("--rows", type=int, default=1000, help="most rows of a table")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=10, help="of the overhead")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="of the tables of speed and overhead"
    )
    parser.add_argument("--max-iter", type=int, help="default: that of the estimator")
    methods = list(imputers(0, {}))
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=[*methods, "complete"],
        default=methods,
        help="imputers; for gaps, mean adds the detector on filled rows, complete one "
        "fitted to rows without gaps",
    )
    parser.add_argument("--resume", action="store_true", help="add to the output")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    arguments.tables = arguments.tables or TABLES[arguments.part]
    arguments.settings = changed_settings(arguments)
    if arguments.output is None:
        arguments.output = RESULTS / f"tables_{arguments.part}.csv"
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ConvergenceWarning)
    found = run(arguments)
    PARTS[arguments.part][2](found)


if __name__ == "__main__":
    main()
