"""Tables as they are: mixed likelihoods against one-hot codes, and imputation.

    python benchmarks/tables.py --part likelihood
    python benchmarks/tables.py --part imputation

The mixed tables are built from those of scikit-learn: every second column is cut at its
quantiles into text of 2 to 5 levels. A density of one-hot codes is not the probability
of a category. What both models say of a category is the same in kind: its probability
given the rest of the row, by the scores of the row with every level in its place. The
measure is the sum of their logarithms over the categories, on test rows.

Values are removed completely at random (MCAR), or the more the larger they are (MNAR).
The error is the root mean square of standardised values over what was removed.
"""

import argparse
import itertools
from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
)
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.model_selection import train_test_split

from sklearn_ilvae import ILVAETransformer

LOADERS: dict[str, Callable[..., object]] = {
    "wine": load_wine,
    "iris": load_iris,
    "diabetes": load_diabetes,
    "breast_cancer": load_breast_cancer,
    "digits": load_digits,
}


def numeric_table(name: str) -> pd.DataFrame:
    frame = LOADERS[name](as_frame=True).data
    return frame.loc[:, frame.nunique() > 2].astype(float)


def mixed_table(name: str) -> pd.DataFrame:
    """Cut every second column at its quantiles into text."""
    frame = numeric_table(name)
    for number, column in enumerate(frame.columns[::2]):
        levels = 2 + number % 4
        cut = pd.qcut(frame[column].rank(method="first"), levels, labels=False)
        frame[column] = [f"level {each}" for each in cut]
    return frame


def one_hot(frame: pd.DataFrame) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Return the table with codes for text, and where the codes of a column lie."""
    parts, blocks, width = [], [], 0
    for column in frame:
        if frame[column].dtype.kind == "f":
            part = frame[[column]].to_numpy()
        else:
            part = pd.get_dummies(frame[column]).to_numpy(float)
            blocks.append((width, part.shape[1]))
        parts.append(part)
        width += part.shape[1]
    return np.hstack(parts), blocks


def normalised(
    model: ILVAETransformer, rows: np.ndarray, blocks: list[tuple[int, int]]
) -> float:
    """Return the mean over rows of Σⱼ log p(xⱼ | rest), over one-hot codes xⱼ."""
    own = model.score_samples(rows)
    gain = np.zeros(len(rows))
    for start, width in blocks:
        alternatives = []
        for level in range(width):
            other = rows.copy()
            other[:, start : start + width] = np.eye(width)[level]
            alternatives.append(model.score_samples(other))
        gain += own - np.logaddexp.reduce(alternatives)
    return float(gain.mean())


def conditional(model: ILVAETransformer, frame: pd.DataFrame) -> float:
    """Return the mean over rows of Σⱼ log p(xⱼ | rest), over categories xⱼ."""
    own = model.score_samples(frame)
    gain = np.zeros(len(frame))
    for column, kind in zip(frame.columns, model.likelihood_, strict=True):
        if kind != "categorical":
            continue
        levels = sorted(set(frame[column]))
        scores = [model.score_samples(frame.assign(**{column: v})) for v in levels]
        gain += own - np.logaddexp.reduce(scores)
    return float(gain.mean())


def compare_likelihoods(names: list[str], seeds: int, max_iter: int) -> None:
    print(f"{'table':15s} {'mixed':>9s} {'one-hot':>9s}  nats a row")
    for name, seed in itertools.product(names, range(seeds)):
        frame = mixed_table(name)
        coded, blocks = one_hot(frame)
        index = np.arange(len(frame))
        train, test = train_test_split(index, test_size=0.3, random_state=seed)
        settings = {"max_iter": max_iter, "random_state": seed}
        mixed = ILVAETransformer(**settings).fit(frame.iloc[train])
        plain = ILVAETransformer(likelihood="gaussian", **settings).fit(coded[train])
        found = conditional(mixed, frame.iloc[test])
        other = normalised(plain, coded[test], blocks)
        print(f"{name:15s} {found:9.2f} {other:9.2f}", flush=True)


def remove(
    rows: np.ndarray, share: float, rule: str, rng: np.random.Generator
) -> np.ndarray:
    if rule == "MCAR":
        gone = rng.random(rows.shape) < share
    else:
        ranks = rows.argsort(0).argsort(0) / (len(rows) - 1)
        gone = rng.random(rows.shape) < np.minimum(2 * share * ranks, 0.95)
    return np.where(gone, np.nan, rows)


def compare_imputations(names: list[str], seeds: int, max_iter: int) -> None:
    shares, rules = (0.1, 0.3, 0.5), ("MCAR", "MNAR")
    methods: dict[str, Callable[[int], object]] = {
        "mean": lambda seed: SimpleImputer(keep_empty_features=True),
        "knn": lambda seed: KNNImputer(keep_empty_features=True),
        "iterative": lambda seed: IterativeImputer(
            random_state=seed, keep_empty_features=True
        ),
        "ilvae": lambda seed: ILVAETransformer(max_iter=max_iter, random_state=seed),
    }
    print(f"{'table':15s} {'rule':5s} share " + " ".join(f"{m:>9s}" for m in methods))
    ranks = []
    for name, rule, share, seed in itertools.product(
        names, rules, shares, range(seeds)
    ):
        rows = numeric_table(name).to_numpy()
        rows = (rows - rows.mean(0)) / rows.std(0)
        missing = remove(rows, share, rule, np.random.default_rng(seed))
        gaps = np.isnan(missing)
        errors = []
        for make in methods.values():
            model = make(seed)
            filled = (
                model.fit(missing).impute(missing)
                if isinstance(model, ILVAETransformer)
                else model.fit_transform(missing)
            )
            errors.append(np.sqrt(((filled - rows)[gaps] ** 2).mean()))
        ranks.append(np.argsort(np.argsort(errors)))
        cells = " ".join(f"{each:9.3f}" for each in errors)
        print(f"{name:15s} {rule:5s} {share:5.1f} {cells}", flush=True)
    mean = np.mean(ranks, axis=0) + 1
    print("mean rank".ljust(27) + " ".join(f"{each:9.2f}" for each in mean))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=("likelihood", "imputation"), required=True)
    parser.add_argument("--tables", nargs="+", default=list(LOADERS), choices=LOADERS)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--max-iter", type=int, default=500)
    arguments = parser.parse_args()
    compare = (
        compare_likelihoods if arguments.part == "likelihood" else compare_imputations
    )
    compare(arguments.tables, arguments.seeds, arguments.max_iter)
