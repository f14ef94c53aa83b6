"""The fit of a score to a million rows: processor and GPU, double and single precision.

``python benchmarks/score_devices.py`` prints a table and writes it to a CSV file. For
each distribution and device: the fit with everything chosen, the same with a Gaussian
base, and the kernel part of the latter alone, at its settings, in both precisions: all
kernels and their Gram matrix in one pass over the rows, then the solution in double
precision. Seconds are by the clock; errors are ``Σ‖ŝ − s‖² / Σ‖s‖²`` on fresh rows.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from _commands import add_output, check_devices, write_rows
from score_estimation import FRESH_ROWS
from score_tasks import Task, banana, four_clusters

from sklearn_ilvae.stein import Report, ScoreModel, Settings, fit_score
from sklearn_ilvae.stein.fitting import greatest_lengths
from sklearn_ilvae.stein.kernels.solvers import decompose, filter_gains, whiten
from sklearn_ilvae.stein.sample.reading import read_rows
from sklearn_ilvae.stein.sample.rows import Rows
from sklearn_ilvae.stein.sample.splits import split_rows
from sklearn_ilvae.stein.selection.candidates import Candidate
from sklearn_ilvae.stein.selection.frames import make_frame
from sklearn_ilvae.stein.selection.quadratic import narrow_basis, quadratic_loss

COLUMNS = ["task", "n", "device", "fit", "setting", "error", "seconds", "gpu_mib"]
PRECISIONS = {"double": torch.float64, "single": torch.float32}


def in_precision(rows: Rows, dtype: torch.dtype) -> Rows:
    """Return rows whose coordinates come in a dtype."""
    return replace(
        rows,
        center=rows.center.to(dtype),
        inverse_scale=rows.inverse_scale.to(dtype),
        weights=rows.weights.to(dtype),
    )


def kernel_part_of(
    X: torch.Tensor, report: Report, n_landmarks: int, dtype: torch.dtype, device: str
) -> ScoreModel:
    """Return the fit that a report describes, its pass over the rows in a dtype."""
    generator = torch.Generator().manual_seed(0)
    rows = read_rows(X, generator=generator, device=torch.device(device))
    rows = rows.rescaled(1.0 / report.bandwidth)
    frame = make_frame(rows, split_rows(rows), ("gaussian",), 0)
    rows, base = frame.rows, frame.bases["gaussian"].full
    landmarks = rows.read(rows.lowest_ranks(n_landmarks))
    candidate = Candidate(report.kernel, report.form, 1.0)
    form = candidate.build(landmarks)
    whitening = whiten(form.penalty())
    basis = narrow_basis(form, whitening)
    rounded = replace(
        base, mean=base.mean.to(dtype), precision=base.precision.to(dtype)
    )
    total = quadratic_loss(
        in_precision(rows, dtype),
        candidate.build(landmarks.to(dtype)),
        [rounded],
        basis=None if basis is None else basis.to(dtype),
    )
    total = replace(total, gram=total.gram.double())
    # A Cholesky factorisation may fail where the sums were rounded.
    spectrum = decompose(total.whitened(whitening.basis), whitening.basis)
    strength = spectrum.eigenvalues.new_tensor([report.regularization])
    gains = filter_gains("tikhonov", spectrum.eigenvalues, strength, form.trace())
    coefficients = spectrum.filtered(total.linear.double(), gains).coefficients()[0, 0]
    longest, reach = greatest_lengths(rows, form, coefficients)
    return ScoreModel(
        rows.center,
        rows.inverse_scale,
        base,
        form=form,
        coefficients=coefficients,
        longest=longest,
        reach=reach,
    )


def timed(run: Callable[[], Any], device: str) -> tuple[Any, float, float]:
    """Return the result of a call, its seconds and the most memory on the GPU."""
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    result = run()
    if on_gpu:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    memory = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else np.nan
    return result, seconds, memory


def fits_of(X: torch.Tensor, device: str) -> Iterator[tuple[str, ScoreModel, Any]]:
    """Yield name, model and cost of every fit."""
    fit_score(X[:1000], device=device)  # libraries are set up by their first use
    for base in ("auto", "gaussian"):
        (model, report), *cost = timed(
            lambda base=base: fit_score(X, Settings(base=base), device=device), device
        )
        setting = f"{report.base} {report.kernel} {report.form} {report.regularization}"
        yield f"all chosen, base {base}", model, (setting, *cost)
    if report.form is None:
        return
    for name, dtype in PRECISIONS.items():
        model, *cost = timed(
            lambda dtype=dtype, model=model: kernel_part_of(
                X, report, model.n_landmarks, dtype, device
            ),
            device,
        )
        yield f"kernel part, {name} precision", model, ("as above", *cost)


def measure(task: Task, n: int, devices: list[str]) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(n)
    X = torch.from_numpy(task.sample(n, rng))
    fresh = task.sample(FRESH_ROWS, rng)
    truth = task.score(fresh)
    for device in devices:
        for fit, model, (setting, seconds, memory) in fits_of(X, device):
            found = model.score(torch.from_numpy(fresh).to(device)).cpu().numpy()
            yield {
                "task": task.name,
                "n": n,
                "device": device,
                "fit": fit,
                "setting": setting,
                "error": task.error(truth, found),
                "seconds": seconds,
                "gpu_mib": memory,
            }


def line_of(row: dict[str, Any]) -> str:
    return (
        f"{row['task']:14s} {row['device']:5s} {row['fit']:32s} "
        f"{row['seconds']:8.2f} s  error {row['error']:.5f}  "
        f"{row['gpu_mib']:6.0f} MiB  {row['setting']}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--devices", nargs="*", default=["cpu", "cuda"])
    add_output(parser, "score_devices")
    arguments = parser.parse_args()
    check_devices(parser, arguments.devices)
    torch.set_grad_enabled(False)
    rows = (
        row
        for task in (four_clusters(10), banana())
        for row in measure(task, arguments.rows, arguments.devices)
    )
    write_rows(rows, COLUMNS, arguments.output, line_of)


if __name__ == "__main__":
    main()
