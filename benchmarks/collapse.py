"""Posterior collapse against the inverse-Lipschitz constant, and what L costs.

Two parts, each a number of independent fits. Every fit adds a line to the output as
it ends; ``--resume`` goes on where an interrupted run stopped.

sweep
    Every decoder family at L = 0, 0.1, 0.25, 0.5, 1, 2, the unconstrained decoder and
    a standard VAE, on eleven tables.
defaults
    Default settings with every decoder family, the standard VAE and `FactorAnalysis`,
    at its default, which has as many factors as columns, and with the number of
    factors that cross-validation chooses, on all tables.

All columns are numbers, zeros and ones too, so that densities compare with those of
`FactorAnalysis`: Student t, the default, or Gaussian.
Tables are standardised for every model: log-likelihoods are in nats a test row, of
standardised columns. All models of a table and seed see the same rows.

    python benchmarks/collapse.py
    python benchmarks/collapse.py --data FOLDER --jobs 4
    python benchmarks/collapse.py --part defaults --data FOLDER --tables wine 42_WBC
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _commands import add_fit_options, add_output, run_jobs
from _datasets import (
    SCIKIT_LEARN,
    SOURCE,
    WIDE,
    load_table,
    narrow_tables,
    split_table,
    unlabelled_tables,
)
from _standard_vae import StandardVAE
from sklearn.decomposition import FactorAnalysis
from sklearn.model_selection import GridSearchCV, KFold

from sklearn_ilvae import ILVAETransformer, metrics
from sklearn_ilvae.vae import DECODERS
from sklearn_ilvae.vae.likelihoods import CONTINUOUS

CONSTANTS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)

SWEEP_TABLES = (
    "2_annthyroid",
    "22_magic.gamma",
    "27_PageBlocks",
    "30_satellite",
    "39_vertebral",
    "41_Waveform",
    "42_WBC",
    "44_Wilt",
)
"""Few and many rows and columns, counts and measurements; fixed before any result."""

FISHER_ROWS, FISHER_DRAWS = 200, 20
PLAIN, FACTOR_ANALYSIS = "standard VAE", "FactorAnalysis"
NUMBERS_OF_FACTORS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
FACTORS = {
    FACTOR_ANALYSIS: lambda n_columns, seed: FactorAnalysis(random_state=seed),
    "FactorAnalysis chosen": lambda n_columns, seed: GridSearchCV(
        FactorAnalysis(random_state=seed),
        {"n_components": [n for n in NUMBERS_OF_FACTORS if n < n_columns]},
        cv=KFold(3, shuffle=True, random_state=seed),
    ),
}
"""Models without codes to measure, of a number of columns and a seed."""


@dataclass(frozen=True)
class Job:
    """One fit."""

    part: str
    table: str
    model: str
    inverse_lipschitz: float | str
    seed: int


@dataclass
class Measurement:
    """What one fit gives; an entry is None where it has no meaning."""

    n_rows: int | None = None
    n_columns: int | None = None
    n_components: int | None = None
    certified: float | None = None
    smallest_kl: float | None = None
    active_units: int | None = None
    mutual_information: float | None = None
    fisher: float | None = None
    fisher_bound: float | None = None
    violations: int | None = None
    log_likelihood: float | None = None
    epochs: int | None = None
    cpu_seconds: float | None = None
    error: str = ""


KEYS = [field.name for field in fields(Job)]
MEANS = [
    "smallest_kl",
    "active_units",
    "mutual_information",
    "fisher",
    "fisher_bound",
    "certified",
    "log_likelihood",
    "epochs",
    "cpu_seconds",
]
COLUMNS = KEYS + [field.name for field in fields(Measurement)]


def make_model(job: Job, settings: dict[str, object]) -> ILVAETransformer:
    common = {"device": "cpu", "random_state": job.seed}
    if job.model == PLAIN:
        plain = {**settings, "prior": "standard_normal"}
        return StandardVAE(decoder="mlp", **common, **plain)
    return ILVAETransformer(
        decoder=job.model,
        inverse_lipschitz=job.inverse_lipschitz,
        **common,
        **settings,
    )


def measure_codes(model: ILVAETransformer, test: np.ndarray) -> dict[str, object]:
    """Return how far the model is from collapse on test rows."""
    some = test[:FISHER_ROWS]
    fisher = metrics.relative_fisher_divergence(model, some, FISHER_DRAWS)
    bound = metrics.fisher_divergence_lower_bound(model, some, FISHER_DRAWS)
    rounding = 1e-9 * fisher
    return {
        "n_components": model.n_components_,
        "certified": model.inverse_lipschitz_,
        "smallest_kl": float(metrics.kl_per_unit(model, test).min()),
        "active_units": int(metrics.active_units(model, test).sum()),
        "mutual_information": metrics.mutual_information(model, test),
        "fisher": float(fisher.mean()),
        "fisher_bound": float(bound.mean()),
        "violations": int((fisher < bound - rounding).sum()),
        "epochs": model.n_iter_,
    }


def run(
    job: Job, folder: Path | None, n_rows: int, settings: dict[str, object]
) -> tuple[Job, Measurement]:
    torch.set_num_threads(1)
    training, test = split_table(load_table(job.table, folder), n_rows, job.seed)
    model = (
        FACTORS[job.model](training.shape[1], job.seed)
        if job.model in FACTORS
        else make_model(job, settings)
    )
    found = Measurement(n_rows=len(training), n_columns=training.shape[1])
    start = time.process_time()
    try:
        model.fit(training)
    except ValueError as error:
        found.error = str(error).replace("\n", " ")
        return job, found
    found.cpu_seconds = time.process_time() - start
    found.log_likelihood = float(model.score(test))
    if job.model not in FACTORS:
        for name, value in measure_codes(model, test).items():
            setattr(found, name, value)
    return job, found


def sweep_jobs(tables: list[str], seeds: range) -> Iterator[Job]:
    for seed in seeds:
        for table in tables:
            for family in DECODERS:
                for constant in (0.0,) if family == "mlp" else CONSTANTS:
                    yield Job("sweep", table, family, constant, seed)
            yield Job("sweep", table, PLAIN, 0.0, seed)


def default_jobs(tables: list[str], seeds: range) -> Iterator[Job]:
    for seed in seeds:
        for table in tables:
            for model in (*DECODERS, PLAIN, *FACTORS):
                yield Job("defaults", table, model, "auto", seed)


def choose_tables(arguments: argparse.Namespace, part: str) -> list[str]:
    """Return the tables asked for, or all that the part has and the data allow."""
    if arguments.tables:
        return arguments.tables
    if part == "sweep":
        found = unlabelled_tables(arguments.data)
        return [name for name in found if name in (*SCIKIT_LEARN, *SWEEP_TABLES)]
    choose = unlabelled_tables if arguments.wide else narrow_tables
    return choose(arguments.data)


def print_sweep(results: pd.DataFrame) -> None:
    constants = results["inverse_lipschitz"].astype(float)
    results = results.assign(inverse_lipschitz=constants)
    models = [model for model in (*DECODERS, PLAIN) if model in set(results["model"])]
    divergences = []
    for name in dict.fromkeys(results["table"]):
        one = results[results["table"] == name]
        print(f"\n{name}: {one['n_components'].max():.0f} units")
        by_constant = against_constant(one, "smallest_kl").reindex(models)
        divergences.append(by_constant.dropna())
        step = by_constant.diff(axis=1).min(axis=1)
        by_constant["least step"] = step
        print("smallest KL of a unit, by L")
        print(by_constant.to_string(float_format="{:.3f}".format, na_rep=""))
        print("test log-likelihood, by L")
        by_constant = against_constant(one, "log_likelihood").reindex(models)
        print(by_constant.to_string(float_format="{:.2f}".format, na_rep=""))
    swept = pd.concat(divergences)
    steps = swept.diff(axis=1).min(axis=1)
    whole = swept.iloc[:, -1] - swept.iloc[:, 0]
    print(
        f"\nSmallest KL of a unit, in {len(swept)} cases: rises at every step of L in "
        f"{(steps > 0).sum()}, from the smallest to the largest L in "
        f"{(whole > 0).sum()}; largest fall {max(0.0, -steps.min()):.2g} nats."
    )
    print("\nMeans over tables and seeds")
    means = results.groupby(["model", "inverse_lipschitz"])[MEANS].mean()
    print(means.reindex(models, level="model").to_string(float_format="{:.3g}".format))


def against_constant(results: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the means over seeds: models by constants."""
    return results.pivot_table(column, "model", "inverse_lipschitz")


def print_defaults(results: pd.DataFrame) -> None:
    scores = results.pivot_table("log_likelihood", "table", "model", sort=False)
    default = ILVAETransformer().decoder
    print("\nTest log-likelihood with default settings, in nats a row")
    models = [model for model in (*DECODERS, PLAIN) if model in scores]
    rivals = [rival for rival in ("mlp", PLAIN, *FACTORS) if rival in scores]
    for rival in rivals if default in scores else ():
        scores[f"{default} − {rival}"] = scores[default] - scores[rival]
    print(scores.to_string(float_format="{:.2f}".format, na_rep=""))
    rows = []
    for model in models:
        for rival in rivals:
            if model == rival:
                continue
            gain = (scores[model] - scores[rival]).dropna()
            rows.append(
                {
                    "model": model,
                    "rival": rival,
                    "wins": (gain > 0).sum(),
                    "losses": (gain < 0).sum(),
                    "loses > 0.3": (gain < -0.3).sum(),
                    "median gain": gain.median(),
                    "worst": gain.min(),
                    "worst table": gain.idxmin(),
                }
            )
    print("\nGain of model over rival over the tables, in nats")
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.2f}".format))


def print_summary(path: Path) -> None:
    results = pd.read_csv(path, dtype={"inverse_lipschitz": str})
    failed = results["error"].notna()
    for _, row in results[failed].iterrows():
        print("failed:", *row[KEYS], row["error"])
    results = results[~failed]
    for part, summarise in {"sweep": print_sweep, "defaults": print_defaults}.items():
        if (results["part"] == part).any():
            summarise(results[results["part"] == part])
    requested = pd.to_numeric(results["inverse_lipschitz"], errors="coerce")
    guaranteed = ~results["model"].isin(["mlp", PLAIN, *FACTORS])
    below = guaranteed & (results["certified"] < requested)
    print(
        f"\nRows whose Fisher divergence is less than its lower bound: "
        f"{results['violations'].sum():.0f}, of up to {FISHER_ROWS} rows in "
        f"{guaranteed.sum()} guaranteed fits."
        f"\nGuaranteed fits whose certified L is less than requested: {below.sum()}."
        f"\nProcessor minutes of all fits: {results['cpu_seconds'].sum() / 60:.0f}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"{SOURCE}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--part", choices=["sweep", "defaults", "both"], default="both")
    parser.add_argument("--data", type=Path, help="folder of ADBench's tables")
    add_fit_options(parser, rows=1500, seeds=3)
    everyone = [*DECODERS, PLAIN, *FACTORS]
    parser.add_argument("--models", nargs="+", choices=everyone, help="only these")
    parser.add_argument("--wide", action="store_true", help=f"keep over {WIDE} columns")
    parser.add_argument("--prior", help="default: that of the estimator")
    parser.add_argument(
        "--likelihood",
        choices=CONTINUOUS,
        default="student_t",
        help="of every column",
    )
    parser.add_argument("--resume", action="store_true", help="add to the output")
    add_output(parser, "collapse")
    arguments = parser.parse_args()
    jobs: list[Job] = []
    for part, make_jobs in {"sweep": sweep_jobs, "defaults": default_jobs}.items():
        if arguments.part in (part, "both"):
            jobs += make_jobs(choose_tables(arguments, part), range(arguments.seeds))
    if arguments.models:
        jobs = [job for job in jobs if job.model in arguments.models]
    settings = {
        "prior": arguments.prior,
        "max_iter": arguments.max_iter,
        "likelihood": arguments.likelihood,
    }
    settings = {name: value for name, value in settings.items() if value is not None}
    one = partial(run, folder=arguments.data, n_rows=arguments.rows, settings=settings)
    run_jobs(one, jobs, KEYS, COLUMNS, arguments)
    print_summary(arguments.output)


if __name__ == "__main__":
    main()
