"""What the defaults of the detector gain and lose, on tables that nobody reports.

Every choice changes one thing in the default. Both protocols of `anomaly.py`, on
KEEL's tables: columns as they are, one class as outliers. Of several tables of one
source the mean counts. Printed are differences from the default in points, with their
standard errors over the sources.

    python benchmarks/detector_choices.py --data FOLDER
    python benchmarks/detector_choices.py --data FOLDER --choices "Student t numbers"
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _commands import add_fit_options, changed_settings, write_table
from _datasets import PROTOCOLS, split_labelled
from _detectors import ABLATIONS, DEFAULT, ours
from _keel import SOURCE, keel_files, keel_table, source_of
from joblib import Parallel, delayed
from sklearn.metrics import average_precision_score, roc_auc_score

OTHERS = {
    "one neighbour": {"n_neighbors": 1},
    "five neighbours": {"n_neighbors": 5},
    "sixteen Gaussians": {"n_mixture_components": 16},
}
FAMILIES = {"Gaussian numbers": "gaussian", "Student t numbers": "student_t"}
"""Of numbers alone; the parameter `likelihood` would take zeros and ones as well."""

CHANGES = {DEFAULT: {}} | ABLATIONS | OTHERS | {name: {} for name in FAMILIES}


def measure(
    path: Path, choice: str, n_rows: int, seed: int, settings: dict[str, int]
) -> list[dict]:
    """Return one line for each protocol."""
    torch.set_num_threads(1)
    changes = CHANGES[choice] | settings | {"handle_unknown": "missing"}
    random = np.random.RandomState(seed)
    X, y = keel_table(path, n_rows, random)
    found = []
    for protocol in PROTOCOLS:
        training, scored = split_labelled(y, protocol, random)
        detector = ours(seed, X.shape[1], **changes)
        if choice in FAMILIES:
            detector.model._family_of_numbers = FAMILIES[choice]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # columns may be constant in a half
            detector.fit(X.iloc[training])
            abnormality = detector.abnormality(X.iloc[scored])
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
                "AUROC": 100 * roc_auc_score(y[scored], abnormality),
                "AP": 100 * average_precision_score(y[scored], abnormality),
            }
        )
    return found


def print_summary(results: pd.DataFrame) -> None:
    for (protocol, measure), table in results.melt(
        ["protocol", "choice", "source", "table", "seed"], ["AUROC", "AP"]
    ).groupby(["protocol", "variable"]):
        by_table = table.pivot_table("value", ["source", "table"], "choice")
        by_source = by_table.groupby("source").mean()
        gains = by_source.sub(by_source[DEFAULT], axis=0).drop(columns=DEFAULT)
        print(
            f"\n{protocol}, {measure}: default {by_source[DEFAULT].mean():.1f} over "
            f"{len(by_table)} tables of {len(by_source)} sources; gains of others"
        )
        summary = pd.DataFrame(
            {
                "gain": gains.mean(),
                "standard error": gains.std() / np.sqrt(len(gains)),
                "better": (gains > 0.1).sum(),
                "worse": (gains < -0.1).sum(),
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
        choices=CHANGES,
        default=list(CHANGES),
        metavar="NAME",
        help=f"beside the default: {', '.join(CHANGES)}",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/results/detector_choices.csv")
    )
    arguments = parser.parse_args()
    settings = changed_settings(arguments)
    files = keel_files(arguments.data)
    choices = dict.fromkeys([DEFAULT, *arguments.choices])
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
