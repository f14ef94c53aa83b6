"""What batches, a step, an epoch and the choices of a training are."""

from math import ceil
from types import SimpleNamespace

import pytest
import torch
from autoencoders import correlated_rows, short, started_model, weights_of
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_ilvae._training import batches
from sklearn_ilvae._training.batches import InMemoryBatches, WeightedRows
from sklearn_ilvae._training.net import AutoencoderNet
from sklearn_ilvae._training.setup import choose_batch_size, choose_patience

ONE_STEP = {"max_iter": 1, "early_stopping": False, "batch_size": 1000}


def numbered(n_rows, batch_size, generator=None):
    """Return batches of rows 0, 1, … with weights of one more."""
    rows = torch.arange(float(n_rows))[:, None]
    return InMemoryBatches(WeightedRows(rows, rows[:, 0] + 1), batch_size, generator)


def test_every_pass_meets_all_rows_with_their_weights_in_another_order():
    shuffled = numbered(10, 4, torch.Generator().manual_seed(0))
    passes = []
    for _ in range(3):
        parts = list(shuffled)
        assert [len(rows) for rows, _ in parts] == [4, 3, 3]
        rows, weights = map(torch.cat, zip(*parts, strict=True))
        assert_array_equal(weights, rows[:, 0] + 1)
        assert_array_equal(rows[:, 0].sort().values, range(10))
        passes.append(tuple(rows[:, 0].tolist()))
    assert len({*passes, tuple(range(10))}) == 4


def test_inputs_are_the_same_whatever_number_of_rows_is_turned_at_once(monkeypatch):
    """Also where only some of the rows turned together have gaps."""
    rows = correlated_rows(30, 5, 2, seed=0)
    encoder = started_model(rows, "anchored", 2).encoder
    rows[3, 1] = rows[25, 4] = torch.nan
    dataset = WeightedRows(rows, torch.ones(30))
    whole = dataset.with_inputs(encoder).tensors
    monkeypatch.setattr(batches, "CHUNK", 4)
    for part, each in zip(dataset.with_inputs(encoder).tensors, whole, strict=True):
        torch.testing.assert_close(part, each, equal_nan=True)


@pytest.mark.parametrize(("most", "kept"), [(30 * 5, True), (30 * 5 - 1, False)])
def test_inputs_of_too_many_numbers_are_not_kept(monkeypatch, most, kept):
    rows = correlated_rows(30, 5, 2, seed=0)
    encoder = started_model(rows, "anchored", 2).encoder
    rows[3, 1] = torch.nan
    monkeypatch.setattr(batches, "LARGEST_INPUTS", most)
    dataset = WeightedRows(rows, torch.ones(30))
    assert (dataset.with_inputs(encoder).inputs is not None) is kept


def test_the_loss_of_an_epoch_is_the_mean_over_its_rows():
    """Batches that are one row smaller count by their rows."""
    found = {}
    net = SimpleNamespace(history=SimpleNamespace(record=found.__setitem__))
    AutoencoderNet.run_single_epoch(
        net, numbered(10, 4), True, "train", lambda batch: {"loss": batch[0].mean()}
    )
    assert found == {"train_loss": pytest.approx(4.5)}


def test_the_first_step_takes_noise_variances_ten_times_as_far(table):
    """The first step of Adam has the length of the learning rate."""
    before, after = (
        weights_of(short(learning_rate_init=rate, **ONE_STEP).fit(table))
        for rate in (1e-12, 1e-3)
    )
    steps = {name: abs(after[name] - each).max() for name, each in before.items()}
    noise = steps.pop("likelihood.heads.0.raw_variance")
    assert_allclose(noise, 1e-2, rtol=1e-3)
    assert_allclose(max(steps.values()), 1e-3, rtol=1e-3)


def test_another_random_state_begins_with_other_weights(table):
    settings = ONE_STEP | {"learning_rate_init": 1e-12}
    ridges = [
        weights_of(short(random_state=seed, **settings).fit(table))[
            "decoder.along.maps.0.weight"
        ]
        for seed in (0, 1)
    ]
    assert (ridges[0] != ridges[1]).all()


def test_the_loss_is_linear_in_the_weight_of_the_divergence(table):
    settings = ONE_STEP | {"learning_rate_init": 1e-12}
    none, one, four = (
        short(kl_weight=weight, **settings).fit(table).loss_curve_[0]
        for weight in (0, 1, 4)
    )
    assert one - none > 0.1
    assert four - none == pytest.approx(4 * (one - none), rel=1e-4)


@given(n_rows=st.integers(1, 3000), batch_size=st.integers(1, 400))
def test_batches_are_as_few_and_as_equal_as_they_can_be(n_rows, batch_size):
    """With 1025 rows the ninth batch of 128 would be of one row."""
    sizes = [len(rows) for rows, _ in numbered(n_rows, batch_size)]
    assert len(sizes) == ceil(n_rows / batch_size)
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("n_rows", "batch_size", "patience"),
    [
        (2, 2, 500),
        (63, 63, 500),
        (64, 32, 250),
        (127, 43, 167),
        (128, 32, 125),
        (1_000, 250, 125),
        (1_025, 256, 100),
        (12_800, 256, 10),
        (30_000, 300, 10),
        (10**6, 1024, 10),
    ],
)
def test_automatic_batches_hold_a_hundredth_of_many_rows_and_a_quarter_of_few(
    n_rows, batch_size, patience
):
    """From 32 to 1024 rows; patience is five hundred steps, and ten epochs or more."""
    assert choose_batch_size("auto", n_rows) == batch_size
    assert choose_patience("auto", n_rows, batch_size) == patience
    assert choose_batch_size(7, n_rows) == choose_patience(7, n_rows, 1) == 7


@pytest.mark.parametrize(("early_stopping", "patience"), [(True, 2), (False, 3)])
def test_training_stops_when_patience_is_at_its_end(table, early_stopping, patience):
    """With a tolerance that nothing meets; the start is the first candidate, if any."""
    model = short(
        early_stopping=early_stopping, n_iter_no_change=patience, tol=1e6, max_iter=9
    ).fit(table)
    assert model.n_iter_ == patience + (not early_stopping)
