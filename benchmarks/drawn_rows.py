"""How well drawn rows pass for rows of a table, and the likelihood of unseen rows.

A forest learns to tell drawn rows from as many unseen rows of the table; its area under
the ROC curve, in five-fold cross-validation, is .5 where it cannot. Tables are in their
own units, and all columns are numbers. Log-likelihoods are in nats a row of columns
standardised by the training rows.

ours
    The default, and with `power_transform`.
training rows
    Rows that the models learned from, instead of drawn ones: what can be hoped for.
copula
    Gaussian, between columns of the quantiles of the training rows.
Gaussian mixture
    Of scikit-learn, on standardised columns, its size by the BIC.
TVAE, CTGAN
    The variational autoencoder and the adversarial network of the package ctgan (Xu et
    al., NeurIPS 2019), at their defaults.

    python benchmarks/drawn_rows.py
    python benchmarks/drawn_rows.py --data FOLDER --models ours copula
    pip install ctgan && python benchmarks/drawn_rows.py --models TVAE CTGAN
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from _commands import add_fit_options, add_output, changed_settings, run_jobs
from _datasets import SOURCE, load_table, narrow_tables, split_rows
from _detectors import Mixture
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from sklearn_ilvae import ILVAETransformer

FARTHEST = 3.5
"""Where the copula puts the ends of a column, in standard deviations."""


@dataclass(frozen=True)
class Job:
    """One fit."""

    table: str
    model: str
    seed: int


@dataclass
class Measurement:
    """What one fit gives; None where it has no meaning."""

    n_rows: int
    n_columns: int
    told_apart: float
    log_likelihood: float | None
    cpu_seconds: float


KEYS = [field.name for field in fields(Job)]


class TrainingRows:
    """Draws rows that it was fitted to, each once at most."""

    def fit(self, X: np.ndarray) -> None:
        """Keep the rows."""
        self.rows = X

    def sample(self, n_samples: int, seed: int) -> np.ndarray:
        """Return some of them."""
        order = np.random.default_rng(seed).permutation(len(self.rows))
        return self.rows[order[:n_samples]]


class Ours:
    """An `ILVAETransformer` of some parameters."""

    def __init__(self, seed: int, settings: dict[str, int], **parameters: bool) -> None:
        self.model = ILVAETransformer(
            likelihood="student_t",
            device="cpu",
            random_state=seed,
            **settings,
            **parameters,
        )

    def fit(self, X: np.ndarray) -> None:
        """Fit the model."""
        self.model.fit(X)

    def sample(self, n_samples: int, seed: int) -> np.ndarray:
        """Draw rows."""
        return self.model.sample(n_samples, random_state=seed)

    def score(self, X: np.ndarray) -> float:
        """Return the mean log-likelihood, in nats a row of X."""
        return self.model.score(X)


class ScaledMixture(Mixture):
    """A mixture of Gaussians on standardised columns."""

    def fit(self, X: np.ndarray) -> None:
        """Fit mixtures of several sizes and keep the best."""
        self.scaler = StandardScaler().fit(X)
        super().fit(self.scaler.transform(X))

    def sample(self, n_samples: int, seed: int) -> np.ndarray:
        """Draw rows."""
        self.model.random_state = seed
        return self.scaler.inverse_transform(self.model.sample(n_samples)[0])

    def score(self, X: np.ndarray) -> float:
        """Return the mean log-likelihood, in nats a row of X."""
        scaled = self.scaler.transform(X)
        return self.model.score(scaled) - np.log(self.scaler.scale_).sum()


class Copula:
    """Correlated Gaussians behind the quantiles of every column."""

    def fit(self, X: np.ndarray) -> None:
        """Find quantiles and correlations."""
        self.quantiles = QuantileTransformer(
            n_quantiles=min(1000, len(X)), output_distribution="normal"
        ).fit(X)
        hidden = self.quantiles.transform(X).clip(-FARTHEST, FARTHEST)
        self.covariance = np.cov(hidden.T) + 1e-6 * np.eye(X.shape[1])

    def sample(self, n_samples: int, seed: int) -> np.ndarray:
        """Draw rows."""
        hidden = np.random.default_rng(seed).multivariate_normal(
            np.zeros(len(self.covariance)), self.covariance, n_samples
        )
        return self.quantiles.inverse_transform(hidden)


class Synthesizer:
    """A model of the package ctgan."""

    def __init__(self, name: str, seed: int) -> None:
        self.name, self.seed = name, seed

    def fit(self, X: np.ndarray) -> None:
        """Fit the model."""
        import ctgan

        torch.manual_seed(self.seed)
        np.random.seed(self.seed)  # noqa: NPY002  # the package draws from it
        self.model = getattr(ctgan, self.name)(enable_gpu=False)
        self.model.fit(pd.DataFrame(X).add_prefix("column "))

    def sample(self, n_samples: int, seed: int) -> np.ndarray:
        """Draw rows."""
        return self.model.sample(n_samples).to_numpy(float)


MODELS = ["training rows", "ours", "ours, powers", "Gaussian mixture", "copula"]
PEERS = ["TVAE", "CTGAN"]


def make_model(job: Job, settings: dict[str, int]) -> Any:
    if job.model in PEERS:
        return Synthesizer(job.model, job.seed)
    return {
        "training rows": TrainingRows,
        "ours": partial(Ours, job.seed, settings),
        "ours, powers": partial(Ours, job.seed, settings, power_transform=True),
        "Gaussian mixture": partial(ScaledMixture, job.seed),
        "copula": Copula,
    }[job.model]()


def told_apart(real: np.ndarray, drawn: np.ndarray, seed: int) -> float:
    """Return how well a forest tells both apart, as an area under the ROC curve."""
    rows = np.concatenate([real, drawn])
    is_drawn = np.repeat([0, 1], [len(real), len(drawn)])
    forest = RandomForestClassifier(300, min_samples_leaf=2, random_state=seed)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    return cross_val_score(forest, rows, is_drawn, cv=folds, scoring="roc_auc").mean()


def run(
    job: Job, folder: Path | None, n_rows: int, settings: dict[str, int]
) -> tuple[Job, Measurement]:
    torch.set_num_threads(1)
    table = load_table(job.table, folder)
    training, test = split_rows(table, n_rows, job.seed)
    model = make_model(job, settings)
    start = time.process_time()
    model.fit(training)
    seconds = time.process_time() - start
    log_likelihood = None
    if hasattr(model, "score"):
        log_likelihood = model.score(test) + np.log(training.std(axis=0)).sum()
    n_drawn = min(len(test), len(training))
    auroc = told_apart(test[:n_drawn], model.sample(n_drawn, job.seed), job.seed)
    return job, Measurement(*training.shape, auroc, log_likelihood, seconds)


def jobs_of(tables: list[str], models: list[str], seeds: range) -> Iterator[Job]:
    for seed in seeds:
        for table in tables:
            for model in models:
                yield Job(table, model, seed)


def print_summary(results: pd.DataFrame) -> None:
    models = list(dict.fromkeys(results["model"]))
    for column, title in {
        "told_apart": "How well a forest tells drawn rows from unseen ones; .5 is best",
        "log_likelihood": "Log-likelihood of unseen rows, in nats a row",
    }.items():
        if results[column].isna().all():
            continue
        found = results.pivot_table(column, "table", "model", sort=False)
        found = found[[model for model in models if model in found]]
        print(f"\n{title}")
        print(found.to_string(float_format="{:.2f}".format, na_rep=""))
        whole = found.dropna()
        print(f"\nmean and median over the {len(whole)} tables that all could fit")
        means = whole.agg(["mean", "median"])
        print(means.to_string(float_format="{:.3f}".format))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"{SOURCE}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, help="folder of ADBench's tables")
    add_fit_options(parser, rows=2000)
    parser.add_argument(
        "--models", nargs="+", choices=MODELS + PEERS, help="only these"
    )
    parser.add_argument("--resume", action="store_true", help="keep what is in OUTPUT")
    add_output(parser, "drawn_rows")
    arguments = parser.parse_args()
    peers = PEERS if find_spec("ctgan") else []
    tables = arguments.tables or narrow_tables(arguments.data)
    settings = changed_settings(arguments)
    jobs = list(
        jobs_of(tables, arguments.models or MODELS + peers, range(arguments.seeds))
    )
    one = partial(run, folder=arguments.data, n_rows=arguments.rows, settings=settings)
    columns = KEYS + [field.name for field in fields(Measurement)]
    run_jobs(one, jobs, KEYS, columns, arguments)
    print_summary(pd.read_csv(arguments.output))


if __name__ == "__main__":
    main()
