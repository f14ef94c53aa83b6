"""The benchmarks run through, on data that ships with scikit-learn or is drawn."""

import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sklearn_ilvae import ILVAETransformer

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

SMALL = "--rows 60 --max-iter 1 --seeds 1"
WINE = f"--tables wine {SMALL}"
IRIS = f"--tables iris {SMALL}"
NUMBERS = f"--data {{data}} --tables 1_numbers {SMALL}"
CODES = f"--data {{data}} --tables 2_codes {SMALL}"
BANANA = "--tasks banana --seeds 1"

OURS = "default ablations"
PEERS = (  # of scikit-learn; PyOD may not be installed
    "IsolationForest LOF 'kNN 5th' 'kNN mean squared' OneClassSVM EllipticEnvelope "
    "'GaussianMixture BIC'"
)
ONE_CASE = "--tables '1,500 binaries, 5 epochs' --scale 0.002"
ONE_EPOCH = "--rows 60 --encoded-rows 60 --epochs 1 --repetitions 1"
ONE_GRID = "--kernels inverse_multiquadric --factors 1"

COMMANDS = [
    (f"collapse.py --part sweep {WINE}", "fisher", 26),
    (f"collapse.py --part defaults {WINE}", "log_likelihood", 8),
    (f"auto_rules.py {WINE}", "log_likelihood", 10),
    (f"drawn_rows.py --models ours copula {WINE}", "told_apart", 2),
    (f"tables.py --part likelihood {IRIS}", "row, one-hot", 1),
    (f"tables.py --part imputation --methods ilvae {IRIS}", "ilvae", 6),
    (f"tables.py --part gaps {NUMBERS}", "auroc", 6),
    (f"tables.py --part codes {CODES}", "kinds", 2),
    (f"tables.py --part speed {ONE_CASE}", "cells/s", 1),
    ("tables.py --part overhead --repetitions 1 --scale 0.01", "ratio", 3),
    (f"anomaly.py --part detection --models {OURS} {PEERS} {NUMBERS}", "auroc", 38),
    (f"anomaly.py --part calibration --repetitions 2 {NUMBERS}", "mean p-value", 1),
    (f"detector_choices.py --data {{data}} --choices L=0.0 LOF {SMALL}", "AUROC", 6),
    (f"training.py --peers 'bare loop' skorch {ONE_EPOCH}", "wall", 19),
    ("fit_devices.py --devices cpu --tables wine --max-iter 1", "rows a second", 2),
    ("score_devices.py --devices cpu --rows 100", "error", 8),
    (f"score_estimation.py accuracy --sizes 50 {ONE_GRID} {BANANA}", "error", 10),
    (f"score_estimation.py growth --sizes 100 {BANANA}", "error", 2),
    ("score_estimation.py speed --sizes 50 --methods SSGE", "cpu_seconds", 8),
]
"""Commands; a column of what they write that holds figures; the number of lines."""


@pytest.fixture(autouse=True)
def same_torch():
    """Benchmarks set one thread and no gradients for good; tests after them do not."""
    threads = torch.get_num_threads()
    with torch.enable_grad():
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return a folder of tables, of ADBench and KEEL: 60 normal rows, 20 others."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [60, 20])
    rows = rng.normal(size=(80, 1)) + 0.5 * rng.normal(size=(80, 4)) + 2 * y[:, None]
    np.savez(folder / "1_numbers.npz", X=rows, y=y)
    codes = np.clip(np.rint(rows), [0, -2, 0, -2], 2)
    np.savez(folder / "2_codes.npz", X=codes, y=y)
    frame = pd.DataFrame(codes).astype({0: str}).assign(kind=np.where(y, "b", "a"))
    text = frame.to_csv(header=False, index=False)
    (folder / "codes-b_vs_a.dat").write_text(f"@relation codes\n@data\n{text}")
    return folder


@pytest.fixture
def run(data, tmp_path, monkeypatch):
    """Return a function that runs a command and returns what it writes."""

    def run(command):
        script, *arguments = shlex.split(command.format(data=data))
        output = ["--output", str(tmp_path / "found.csv")]
        monkeypatch.setattr(sys, "argv", [script, *arguments, *output])
        monkeypatch.syspath_prepend(BENCHMARKS)
        runpy.run_path(str(BENCHMARKS / script), run_name="__main__")
        (written,) = tmp_path.iterdir()
        return pd.read_csv(written)

    return run


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("command", "column", "n_lines"), COMMANDS, ids=[each for each, *_ in COMMANDS]
)
def test_commands_measure(command, column, n_lines, run):
    found = run(command)[column]
    assert len(found) == n_lines
    assert np.isfinite(found).all()


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("command", "column", "n_lines"),
    [
        (f"collapse.py --part defaults --models FactorAnalysis {WINE}", "n_rows", 1),
        (f"tables.py --part imputation --methods mean {IRIS}", "mean", 6),
    ],
)
def test_peers_can_run_without_ours(command, column, n_lines, run):
    assert len(run(command)[column]) == n_lines


@pytest.mark.filterwarnings("default")
def test_a_table_that_two_names_share_counts_once(data, tmp_path_factory, run):
    """The columns of landsat are those of satellite, on another scale."""
    folder = tmp_path_factory.mktemp("twins")
    X = np.load(data / "1_numbers.npz")["X"]
    np.savez(folder / "19_landsat.npz", X=(X - 3.0) / 7.0)
    np.savez(folder / "30_satellite.npz", X=X)
    likelihoods = "collapse.py --part defaults --models FactorAnalysis"
    found = run(f"{likelihoods} --data {folder} {SMALL}")
    assert "30_satellite" in set(found["table"])
    assert "19_landsat" not in set(found["table"])


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("command", "message"),
    [
        (f"collapse.py --tables 1_numbers {SMALL}", "--data must name the folder of 1"),
        (f"tables.py --part gaps --tables 1_numbers {SMALL}", "--data must name"),
        (
            f"auto_rules.py --data {{data}} --tables 1_number {SMALL}",
            "no table 1_numbe",
        ),
        (f"anomaly.py --data {{data}} --tables 1_number {SMALL}", "no table 1_number"),
    ],
)
def test_missing_tables_are_named(command, message, run):
    with pytest.raises(SystemExit, match=message):
        run(command)


@pytest.mark.parametrize(
    "command",
    [
        f"collapse.py --models anchord {WINE}",
        f"anomaly.py --models ILVEA {NUMBERS}",
        "score_estimation.py accuracy --tasks bananas",
    ],
)
def test_unknown_names_are_errors_that_list_the_known(command, run, capsys):
    with pytest.raises(SystemExit):
        run(command)
    assert "invalid choice" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    "command",
    ["score_devices.py --rows 100", "fit_devices.py", "training.py --device cuda"],
)
def test_no_gpu_is_an_error_before_anything_is_measured(command, run, capsys):
    with pytest.raises(SystemExit):
        run(command)
    printed = capsys.readouterr()
    assert "torch finds no GPU" in printed.err
    assert printed.out == ""


def test_means_are_over_tables_that_all_detectors_finished_for_all_seeds(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.syspath_prepend(BENCHMARKS)
    print_summary = runpy.run_path(str(BENCHMARKS / "anomaly.py"))["print_summary"]
    figures = {"auroc": 90.0, "average_precision": 50.0}
    figures |= {"fit_seconds": 1.0, "score_seconds": 1.0, "error": ""}
    fits = pd.DataFrame(
        {"table": table, "protocol": "one-class", "model": model, "seed": seed}
        | figures
        for table in ("whole", "part")
        for model in ("ILVAE", "LOF")
        for seed in (0, 1)
    )
    failed = (fits["table"] == "part") & (fits["model"] == "LOF") & (fits["seed"] == 1)
    fits.loc[failed, list(figures)] = [np.nan] * 4 + ["not finished"]
    fits.to_csv(tmp_path / "found.csv", index=False)
    print_summary(tmp_path / "found.csv")
    assert "means over 1 of 2 tables" in capsys.readouterr().out


@pytest.mark.filterwarnings("default")
def test_memory_of_a_fit_is_its_own_after_a_larger_peak(run):
    np.ones(2**24)  # 128 MiB, which are free again
    growth = run(f"score_estimation.py growth --sizes 100 {BANANA}")
    assert (growth["peak_mib_beyond_data"] > 0).all()


@pytest.mark.filterwarnings("default")
def test_likelihoods_compare_the_same_numbers(data, run, monkeypatch):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 4))
    rows[:, 1] = rows[:, 1] > 0
    np.savez(data / "3_flags.npz", X=rows, y=np.zeros(60))
    fitted = []
    fit = ILVAETransformer.fit
    monkeypatch.setattr(
        ILVAETransformer, "fit", lambda self, X: fitted.append(self) or fit(self, X)
    )
    run(f"tables.py --part likelihood --data {{data}} --tables 3_flags {SMALL}")
    kinds, codes = (
        [column["likelihood"] for column in model.column_summary_] for model in fitted
    )
    assert kinds[1::2] == [kind for kind in codes if kind != "gaussian"]
