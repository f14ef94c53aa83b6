"""What the defaults of the detector gain and lose, on tables that nobody reports.

Every choice changes one thing in the default, or is a classical detector in its place;
those see tables of numbers without gaps alone. Both protocols of `anomaly.py`, on
KEEL's tables: columns as they are, one class as outliers. Of several tables of one
source the mean counts. Printed are differences from the default in points, with their
standard errors over the sources, and means and ranks over those that all could see.

    python benchmarks/detector_choices.py --data FOLDER
    python benchmarks/detector_choices.py --data FOLDER --choices "Student t numbers"
    python benchmarks/detector_choices.py --data FOLDER --choices classical
"""

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from _commands import add_fit_options, add_output, changed_settings, write_table
from _datasets import PROTOCOLS, split_labelled
from _detectors import ABLATIONS, CLASSICAL, DEFAULT, DETECTORS, chosen_models, ours
from _keel import SOURCE, keel_files, keel_table, source_of
from joblib import Parallel, delayed
from pandas.api.types import is_numeric_dtype
from sklearn.metrics import average_precision_score, roc_auc_score

OTHERS = {
    "one neighbour": {"n_neighbors": 1},
    "five neighbours": {"n_neighbors": 5},
    "sixteen Gaussians": {"n_mixture_components": 16},
    "power transform": {"power_transform": True},
}
FAMILIES = {"Gaussian numbers": "gaussian", "Student t numbers": "student_t"}
"""Of numbers alone; the parameter `likelihood` would take zeros and ones as well."""

CHANGES = {DEFAULT: {}} | ABLATIONS | OTHERS | {name: {} for name in FAMILIES}


def detector_of(
    choice: str, X: pd.DataFrame, seed: int, settings: dict[str, int]
) -> Any:
    """Return an unfitted detector, or None if it cannot take the table."""
    if choice in CLASSICAL:
        numbers = all(is_numeric_dtype(dtype) for dtype in X.dtypes)
        complete = numbers and not X.isna().any(axis=None)
        return DETECTORS[choice](seed, X.shape[1]) if complete else None
    changes = CHANGES[choice] | settings | {"handle_unknown": "missing"}
    detector = ours(seed, X.shape[1], **changes)
    if choice in FAMILIES:
        detector.model._family_of_numbers = FAMILIES[choice]
    return detector


def measure(
    path: Path, choice: str, n_rows: int, seed: int, settings: dict[str, int]
) -> list[dict]:
    """Return one line for each protocol."""
    torch.set_num_threads(1)
    random = np.random.RandomState(seed)
    X, y = keel_table(path, n_rows, random)
    found = []
    for protocol in PROTOCOLS:
        first, second = split_labelled(y, protocol, random)
        detector = detector_of(choice, X, seed, settings)
        if detector is None:
            continue
        training = X.iloc[first]
        # Some detectors know their training rows again.
        rows = training if second is first else X.iloc[second]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # columns may be constant in a half
            detector.fit(training)
            abnormality = detector.abnormality(rows)
        found.append(
            {
                "table": path.stem,
                "source": source_of(path.stem),
                "n_rows": len(training),
                "n_columns": X.shape[1],
                "outliers": y.mean(),
                "protocol": protocol,
                "choice": choice,
                "seed": seed,
                "AUROC": 100 * roc_auc_score(y[second], abnormality),
                "AP": 100 * average_precision_score(y[second], abnormality),
            }
        )
    return found


def print_summary(results: pd.DataFrame) -> None:
    for (protocol, measure), table in results.melt(
        ["protocol", "choice", "source", "table", "seed"], ["AUROC", "AP"]
    ).groupby(["protocol", "variable"]):
        by_table = table.pivot_table("value", ["source", "table"], "choice")
        gains = by_table.sub(by_table[DEFAULT], axis=0).groupby("source").mean()
        common = by_table.dropna().groupby("source").mean()
        default = by_table[DEFAULT].groupby("source").mean()
        print(
            f"\n{protocol}, {measure}: default {default.mean():.1f} over "
            f"{len(by_table)} tables of {len(default)} sources; gains of others; means "
            f"and mean ranks over the {len(common)} sources that all could see"
        )
        summary = pd.DataFrame(
            {
                "gain": gains.mean(),
                "standard error": gains.sem(),
                "better": (gains > 0.1).sum(),
                "worse": (gains < -0.1).sum(),
                "sources": gains.count(),
                "mean": common.mean(),
                "rank": common.rank(axis=1, ascending=False).mean(),
            }
        )
        print(summary.to_string(float_format="{:.2f}".format))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"{SOURCE}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="KEEL's tables")
    add_fit_options(parser)
    parser.add_argument(
        "--choices",
        nargs="+",
        choices=[*CHANGES, *CLASSICAL, "classical"],
        default=list(CHANGES),
        metavar="NAME",
        help=f"beside the default: {', '.join([*CHANGES, *CLASSICAL])}; classical: "
        "all of scikit-learn and PyOD",
    )
    add_output(parser, "detector_choices")
    arguments = parser.parse_args()
    settings = changed_settings(arguments)
    files = keel_files(arguments.data)
    choices = dict.fromkeys([DEFAULT, *chosen_models(arguments.choices)])
    found = Parallel(arguments.jobs, verbose=5)(
        delayed(measure)(files[name], choice, arguments.rows, seed, settings)
        for seed in range(arguments.seeds)
        for name in arguments.tables or files
        for choice in choices
    )
    results = pd.DataFrame([row for rows in found for row in rows])
    write_table(results, arguments.output)
    print_summary(results)


if __name__ == "__main__":
    main()
