"""Speed of training and inference against other ways to run the same network.

One process and, for the processor, one thread. A repetition runs every contender
once, so that a slow moment of the machine touches all of them; medians are over
repetitions. An epoch is the difference between a long and a short training divided by
the number of epochs between them, so it holds nothing but the loop.

Contenders, all with batches of 512 rows:

fit
    `ILVAETransformer.fit` on all rows.
fit, validated
    The same with validation rows that are scored after every epoch.
bare loop
    A loop in torch over the same network, bound and optimiser, and nothing else.
skorch
    `skorch.NeuralNet` over the same, with its own data set and loader.
pythae
    `pythae.models.VAE` of the same widths on pythae's trainer, where it is installed.

    python benchmarks/training.py
    python benchmarks/training.py --device cuda
"""

import argparse
import csv
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from _commands import add_output, check_devices
from _contenders import estimator, pythae_trainer, train_bare, train_skorch
from sklearn.datasets import make_blobs
from sklearn.preprocessing import StandardScaler

N_FEATURES, N_CLUSTERS, SCORED_ROWS = 20, 10, 2_000
PEERS = ("bare loop", "skorch", "pythae")

MODELS = {
    "default": {},
    "mlp": {"decoder": "mlp", "prior": "standard_normal"},
}
"""The default model, and the one whose arithmetic is that of a standard VAE."""

FIRST_OPTIMIZER = """
import time, torch
parameter = torch.nn.Parameter(torch.zeros(1))
start = time.perf_counter()
torch.optim.Adam([parameter])
print(time.perf_counter() - start)
"""

PACKAGE_IMPORT = """
import gc, time, sklearn, torch, skorch
gc.collect()
start = time.perf_counter()
import sklearn_ilvae
print(time.perf_counter() - start)
"""
"""The collection of the garbage that torch's import leaves behind is torch's."""


@dataclass(frozen=True)
class Timing:
    """Seconds by the clock and of processor time."""

    wall: float
    processor: float

    def __sub__(self, other: "Timing") -> "Timing":
        return Timing(self.wall - other.wall, self.processor - other.processor)

    def __truediv__(self, divisor: float) -> "Timing":
        return Timing(self.wall / divisor, self.processor / divisor)


@dataclass(frozen=True)
class Result:
    """One measured quantity and what it should be."""

    device: str
    quantity: str
    value: float
    processor_value: float | None = None
    bar: str = ""
    met: bool | None = None


def clock(action: Callable[[], object], device: str) -> Timing:
    def now() -> Timing:
        if device == "cuda":
            torch.cuda.synchronize()
        return Timing(time.perf_counter(), time.process_time())

    start = now()
    action()
    return now() - start


def make_table(n_rows: int) -> np.ndarray:
    rows, _ = make_blobs(
        n_rows, N_FEATURES, centers=N_CLUSTERS, center_box=(-3, 3), random_state=0
    )
    return StandardScaler().fit_transform(rows).astype(np.float32)


def time_training(
    device: str, model: dict[str, str], arguments: argparse.Namespace
) -> tuple[dict[str, list[Timing]], list[Timing]]:
    """Return timings of an epoch of every contender, and of `fit` less its epoch."""
    table, n_epochs = make_table(arguments.rows), arguments.epochs
    network = estimator(device, 1, **model).fit(table).module_
    contenders: dict[str, Callable[[int], object]] = {
        "fit": lambda epochs: estimator(device, epochs, **model).fit(table),
        "bare loop": lambda epochs: train_bare(network, table, device, epochs),
        "skorch": lambda epochs: train_skorch(network, table, device, epochs),
    }
    contenders["fit, validated"] = lambda epochs: estimator(
        device, epochs, early_stopping=True, **model
    ).fit(table)
    train_pythae = pythae_trainer() if "pythae" in arguments.peers else None
    if train_pythae is not None:
        contenders["pythae"] = lambda epochs: train_pythae(table, device, epochs)
    for peer in set(PEERS).difference(arguments.peers):
        contenders.pop(peer, None)
    for run in contenders.values():
        run(1)
    epochs: dict[str, list[Timing]] = {name: [] for name in contenders}
    overhead = []
    for _ in range(arguments.repetitions):
        for name, run in contenders.items():
            short = clock(lambda run=run: run(1), device)
            long = clock(lambda run=run: run(1 + n_epochs), device)
            epochs[name].append((long - short) / n_epochs)
            if name == "fit":
                overhead.append(short - epochs[name][-1])
    return epochs, overhead


def training_results(
    device: str, name: str, arguments: argparse.Namespace
) -> list[Result]:
    epochs, overhead = time_training(device, MODELS[name], arguments)
    wall = {key: median(each.wall for each in runs) for key, runs in epochs.items()}
    processor = {
        key: median(each.processor for each in runs) for key, runs in epochs.items()
    }
    results = [
        Result(device, f"{name}: seconds an epoch, {key}", wall[key], processor[key])
        for key in epochs
    ]
    comparisons = [
        ("fit", "bare loop", "≤ 1.2"),
        ("skorch", "fit", "≥ 2"),
        ("pythae", "fit", "≥ 2"),
    ]
    for slow, fast, bar in comparisons:
        if not {slow, fast} <= epochs.keys():
            continue
        ratios = [
            (one.wall / other.wall, one.processor / other.processor)
            for one, other in zip(epochs[slow], epochs[fast], strict=True)
        ]
        ratio, processor_ratio = (median(each) for each in zip(*ratios, strict=True))
        sign, limit = bar.split()
        met = ratio <= float(limit) if sign == "≤" else ratio >= float(limit)
        quantity = f"{name}: epoch of {slow} / {fast}"
        results.append(Result(device, quantity, ratio, processor_ratio, bar, met))
    spent = median(each.wall for each in overhead)
    busy = median(each.processor for each in overhead)
    quantity = f"{name}: seconds of fit outside the loop"
    results.append(Result(device, quantity, spent, busy, "< 0.3", spent < 0.3))
    return results


def inference_results(device: str, arguments: argparse.Namespace) -> list[Result]:
    model = estimator(device, 1).fit(make_table(arguments.rows))
    rows = make_table(arguments.encoded_rows)
    scored = rows[:SCORED_ROWS].astype(np.float64)
    actions = {
        "transform, float32": (rows, model.transform),
        "transform, float64": (rows.astype(np.float64), model.transform),
        "score_samples": (scored, model.score_samples),
    }
    speeds: dict[str, list[tuple[float, float]]] = {name: [] for name in actions}
    for _ in range(arguments.repetitions):
        for name, (table, method) in actions.items():
            spent = clock(lambda table=table, method=method: method(table), device)
            speeds[name].append((len(table) / spent.wall, len(table) / spent.processor))
    results = []
    for name, each in speeds.items():
        speed, busy = (median(values) for values in zip(*each, strict=True))
        bar = "≥ 1e6" if name.startswith("transform") else ""
        met = speed >= 1e6 if bar else None
        results.append(Result(device, f"rows a second, {name}", speed, busy, bar, met))
    return results


def in_fresh_processes(code: str, n_repetitions: int) -> float:
    """Return the median of the seconds that a script prints, its modules compiled."""
    variables = {**os.environ}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)  # the first run compiles
    spent = [
        float(
            subprocess.check_output(
                [sys.executable, "-c", code], text=True, env=variables
            )
        )
        for _ in range(1 + n_repetitions)
    ]
    return median(spent[1:])


def start_up_results(n_repetitions: int) -> list[Result]:
    package = in_fresh_processes(PACKAGE_IMPORT, n_repetitions)
    optimizer = in_fresh_processes(FIRST_OPTIMIZER, n_repetitions)
    return [
        Result(
            "cpu",
            "seconds to import the package after its dependencies",
            package,
            bar="< 0.2",
            met=package < 0.2,
        ),
        Result("cpu", "seconds of torch's first optimiser in a process", optimizer),
    ]


def print_results(results: list[Result]) -> None:
    devices = list(dict.fromkeys(each.device for each in results))
    heads = [f"{device:>12} {'processor':>12}      " for device in devices]
    print(f"{'':56}{''.join(heads)}")
    for quantity in dict.fromkeys(each.quantity for each in results):
        line, bar = f"{quantity:56}", ""
        for device in devices:
            found = [r for r in results if (r.device, r.quantity) == (device, quantity)]
            if not found:
                line += " " * 31
                continue
            value, busy, met = found[0].value, found[0].processor_value, found[0].met
            verdict = {None: "", True: "met", False: "MISSED"}[met]
            beside = "" if busy is None else f"{busy:.4g}"
            line += f"{value:12.4g} {beside:>12} {verdict:6}"
            bar = found[0].bar
        print(f"{line} {bar}".rstrip())


def write_results(results: list[Result], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["device", "quantity", "wall", "processor", "bar", "met"])
        for each in results:
            row = [each.device, each.quantity, each.value, each.processor_value]
            writer.writerow([*row, each.bar, each.met])


def measured(arguments: argparse.Namespace) -> Iterator[list[Result]]:
    for device in ["cpu"] if arguments.device == "cpu" else ["cuda", "cpu"]:
        if arguments.part in ("training", "all"):
            for name in MODELS:
                yield training_results(device, name, arguments)
        if arguments.part in ("inference", "all"):
            yield inference_results(device, arguments)
    if arguments.part in ("start-up", "all"):
        yield start_up_results(arguments.repetitions)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--device",
        default="cpu",
        choices=["cpu", "cuda"],
        help="cuda runs both, side by side",
    )
    parser.add_argument(
        "--part", choices=["training", "inference", "start-up", "all"], default="all"
    )
    parser.add_argument(
        "--peers", nargs="*", choices=PEERS, default=PEERS, help="in training"
    )
    parser.add_argument("--rows", type=int, default=20_000, help="to train on")
    parser.add_argument(
        "--encoded-rows", type=int, default=1_000_000, help="of the inference"
    )
    parser.add_argument("--epochs", type=int, default=10, help="in the long training")
    parser.add_argument("--repetitions", type=int, default=7)
    add_output(parser, "training")
    arguments = parser.parse_args()
    check_devices(parser, [arguments.device])
    torch.set_num_threads(1)
    if "pythae" in arguments.peers and pythae_trainer() is None:
        print("pythae is not installed (pip install pythae==0.1.2): left out.")
    results = []
    for part in measured(arguments):
        results += part
        write_results(results, arguments.output)  # for runs that are cut short
    print_results(results)


if __name__ == "__main__":
    main()
