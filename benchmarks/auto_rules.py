"""The rules behind ``n_components="auto"`` and ``inverse_lipschitz="auto"``.

For every table the test log-likelihood of both rules, of fixed numbers of units, and of
fixed multiples of the standard deviation along the last principal component kept. The
regret of a choice is what it loses, in nats a row, to the best of its kind. Labels are
never read.

    python benchmarks/auto_rules.py --data FOLDER
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _commands import add_fit_options, add_output, changed_settings, write_table
from _datasets import SOURCE, load_table, narrow_tables, split_table
from joblib import Parallel, delayed

from sklearn_ilvae import ILVAETransformer, metrics
from sklearn_ilvae.vae.start import RELATIVE_CONSTANT

UNITS = (1, 2, 4, 8, 16, 32)
MULTIPLES = (0.0, 0.1, 0.3, 0.5, 1.0)


def fit(
    table: str, folder: Path | None, n_rows: int, seed: int, **parameters: object
) -> tuple[ILVAETransformer, np.ndarray]:
    torch.set_num_threads(1)
    training, test = split_table(load_table(table, folder), n_rows, seed)
    model = ILVAETransformer(
        likelihood="student_t", device="cpu", random_state=seed, **parameters
    )
    return model.fit(training), test


def compare(
    table: str, folder: Path | None, n_rows: int, seed: int, settings: dict[str, int]
) -> list[dict]:
    """Return one row for each choice on one table."""
    rows = []

    def add(rule: str, choice: str, **parameters: object) -> ILVAETransformer:
        model, test = fit(table, folder, n_rows, seed, **settings, **parameters)
        rows.append(
            {
                "table": table,
                "seed": seed,
                "rule": rule,
                "choice": choice,
                "n_components": model.n_components_,
                "certified": model.inverse_lipschitz_,
                "log_likelihood": model.score(test),
                "smallest_kl": float(metrics.kl_per_unit(model, test).min()),
            }
        )
        return model

    automatic = add("n_components", "auto")
    rows.append(rows[0] | {"rule": "inverse_lipschitz", "choice": "auto"})
    for units in UNITS:
        if units <= automatic.n_features_in_:
            add("n_components", str(units), n_components=units)
    unit = automatic.module_.architecture.inverse_lipschitz / RELATIVE_CONSTANT
    for multiple in MULTIPLES:
        if multiple != RELATIVE_CONSTANT:
            constant = multiple * unit
            add("inverse_lipschitz", f"{multiple:g} sd", inverse_lipschitz=constant)
    return rows


def print_summary(results: pd.DataFrame) -> None:
    for rule, part in results.groupby("rule", sort=False):
        scores = part.pivot_table("log_likelihood", "table", "choice", sort=False)
        regret = scores.rsub(scores.max(axis=1), axis=0)
        regret["units"] = (
            part[part["choice"] == "auto"].groupby("table")["n_components"].median()
        )
        print(f"\n{rule}: nats lost to the best choice of the row")
        print(regret.to_string(float_format="{:.2f}".format, na_rep=""))
        whole = regret.drop(columns="units").dropna(axis=1)
        print("\nmedian and mean over the tables, for choices that every table allows")
        print(whole.agg(["median", "mean"]).to_string(float_format="{:.2f}".format))
        alive = part.pivot_table("smallest_kl", "table", "choice", sort=False)
        print("\nsmallest KL of a unit, median over the tables")
        print(alive.median().to_string(float_format="{:.2f}".format))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"{SOURCE}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, help="folder of ADBench's tables")
    add_fit_options(parser)
    add_output(parser, "auto_rules")
    arguments = parser.parse_args()
    settings = changed_settings(arguments)
    found = Parallel(arguments.jobs, verbose=5)(
        delayed(compare)(table, arguments.data, arguments.rows, seed, settings)
        for table in arguments.tables or narrow_tables(arguments.data)
        for seed in range(arguments.seeds)
    )
    results = pd.DataFrame([row for rows in found for row in rows])
    write_table(results, arguments.output)
    print_summary(results)


if __name__ == "__main__":
    main()
