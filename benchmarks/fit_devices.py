"""Default fits of the two autoencoders on the processor and on a GPU, side by side.

``python benchmarks/fit_devices.py`` prints seconds by the clock, epochs, milliseconds
an epoch, and rows scored a second, and writes them to a CSV file. Fits of the two
devices differ in their random numbers and so in their epochs: compare milliseconds.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from _commands import add_output, changed_settings, check_devices, write_rows
from sklearn.datasets import load_breast_cancer, load_digits, load_wine, make_blobs

from sklearn_ilvae import ILVAEOutlierDetector, ILVAETransformer

SCORED_ROWS = 20_000
COLUMNS = ["table", "estimator", "device", "seconds", "epochs", "rows a second"]


def blobs(n_rows: int, n_columns: int) -> np.ndarray:
    rows, _ = make_blobs(
        n_rows, n_columns, centers=10, center_box=(-3, 3), random_state=0
    )
    return rows


def with_gaps(rows: np.ndarray) -> np.ndarray:
    gaps = np.random.default_rng(0).random(rows.shape) < 0.1
    return np.where(gaps, np.nan, rows)


TABLES: dict[str, Callable[[], np.ndarray]] = {
    "wine": lambda: load_wine().data,
    "breast cancer": lambda: load_breast_cancer().data,
    "10,000 x 30": lambda: blobs(10_000, 30),
    "10,000 x 30 with gaps": lambda: with_gaps(blobs(10_000, 30)),
    "100,000 x 20": lambda: blobs(100_000, 20),
    "digits": lambda: load_digits().data,
}


def measure(
    estimator: type, rows: np.ndarray, device: str, settings: dict[str, int]
) -> dict[str, Any]:
    model = estimator(device=device, random_state=0, **settings)
    start = time.perf_counter()
    model.fit(rows)
    fitted = time.perf_counter() - start
    epochs = getattr(model, "transformer_", model).n_iter_
    start = time.perf_counter()
    model.score_samples(rows[:SCORED_ROWS])
    speed = min(len(rows), SCORED_ROWS) / (time.perf_counter() - start)
    return {"seconds": fitted, "epochs": epochs, "rows a second": speed}


def measured(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    settings = changed_settings(arguments)
    for name in arguments.tables:
        rows = TABLES[name]()
        for estimator in (ILVAETransformer, ILVAEOutlierDetector):
            for device in arguments.devices:
                fit = {"table": name, "estimator": estimator.__name__, "device": device}
                yield fit | measure(estimator, rows, device, settings)


def line_of(found: dict[str, Any]) -> str:
    return (
        f"{found['table']:22s} {found['estimator']:21s} {found['device']:5s} "
        f"{found['seconds']:7.2f} s  {found['epochs']:3d} epochs  "
        f"{1e3 * found['seconds'] / found['epochs']:6.1f} ms an epoch  "
        f"{found['rows a second']:9.0f} rows a second"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", nargs="*", default=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=4, help="of the processor")
    parser.add_argument("--tables", nargs="*", choices=TABLES, default=list(TABLES))
    parser.add_argument("--max-iter", type=int, help="default: that of the estimator")
    add_output(parser, "fit_devices")
    arguments = parser.parse_args()
    check_devices(parser, arguments.devices)
    torch.set_num_threads(arguments.threads)
    for device in arguments.devices:  # libraries are set up by their first use
        ILVAETransformer(max_iter=10, device=device).fit(blobs(200, 5))
    write_rows(measured(arguments), COLUMNS, arguments.output, line_of)


if __name__ == "__main__":
    main()
