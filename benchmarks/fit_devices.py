"""Default fits of the two autoencoders on the processor and on a GPU, side by side.

``python benchmarks/fit_devices.py`` prints seconds by the clock, epochs, milliseconds
an epoch, and rows scored a second. Fits of the two devices differ in their random
numbers and so in their epochs: compare milliseconds.
"""

import argparse
import time

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_wine, make_blobs

from sklearn_ilvae import ILVAEOutlierDetector, ILVAETransformer

SCORED_ROWS = 20_000


def blobs(n_rows: int, n_columns: int) -> np.ndarray:
    rows, _ = make_blobs(
        n_rows, n_columns, centers=10, center_box=(-3, 3), random_state=0
    )
    return rows


def with_gaps(rows: np.ndarray) -> np.ndarray:
    gaps = np.random.default_rng(0).random(rows.shape) < 0.1
    return np.where(gaps, np.nan, rows)


def tables() -> dict[str, np.ndarray]:
    return {
        "wine": load_wine().data,
        "breast cancer": load_breast_cancer().data,
        "10,000 x 30": blobs(10_000, 30),
        "10,000 x 30 with gaps": with_gaps(blobs(10_000, 30)),
        "100,000 x 20": blobs(100_000, 20),
        "digits": load_digits().data,
    }


def measure(estimator: type, rows: np.ndarray, device: str) -> str:
    model = estimator(device=device, random_state=0)
    start = time.perf_counter()
    model.fit(rows)
    fitted = time.perf_counter() - start
    epochs = getattr(model, "transformer_", model).n_iter_
    start = time.perf_counter()
    model.score_samples(rows[:SCORED_ROWS])
    speed = min(len(rows), SCORED_ROWS) / (time.perf_counter() - start)
    return (
        f"{fitted:7.2f} s  {epochs:3d} epochs  {1e3 * fitted / epochs:6.1f} ms an epoch"
        f"  {speed:9.0f} rows a second"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", nargs="*", default=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=4, help="of the processor")
    parser.add_argument("--tables", nargs="*", default=list(tables()))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for device in arguments.devices:  # libraries are set up by their first use
        ILVAETransformer(max_iter=10, device=device).fit(blobs(200, 5))
    for name in arguments.tables:
        for estimator in (ILVAETransformer, ILVAEOutlierDetector):
            for device in arguments.devices:
                line = measure(estimator, tables()[name], device)
                print(f"{name:22s} {estimator.__name__:21s} {device:5s} {line}")


if __name__ == "__main__":
    main()
