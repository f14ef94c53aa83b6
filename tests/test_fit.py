"""How ILVAETransformer trains: when it stops, what it keeps and what it reports."""

import pickle
import re

import numpy as np
import pytest
import torch
from autoencoders import (
    assert_same_weights,
    short,
    short_detector,
    validation_score,
    weights_of,
)
from mixed import people
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context

from sklearn_ilvae import ILVAEOutlierDetector, ILVAETransformer, _transformer
from sklearn_ilvae._training import net
from sklearn_ilvae._training.setup import split_validation
from sklearn_ilvae._transformer import VALIDATION_DRAWS
from sklearn_ilvae.vae import RunningAverage, evidence_lower_bound, shared_noise
from sklearn_ilvae.vae.averaging import AVERAGING_DEGREE


@pytest.mark.parametrize("without", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("make", [ILVAETransformer, ILVAEOutlierDetector])
def test_a_fit_does_not_depend_on_the_gradients_of_its_surroundings(
    table, make, without
):
    model = make(2, max_iter=2, random_state=0)
    expected = model.fit(table).score_samples(table)
    with without():
        found = model.fit(table).score_samples(table)
    # Torch may sum in another order without gradients: the fit is the same.
    assert_allclose(found, expected, rtol=1e-12)
    assert_array_equal(model.score_samples(table), expected)


# Randomness


@pytest.mark.parametrize("early_stopping", [True, False])
def test_a_random_state_makes_fits_bitwise_equal(table, early_stopping):
    first = short(early_stopping=early_stopping).fit(table)
    second = short(early_stopping=early_stopping).fit(table)
    other = short(early_stopping=early_stopping, random_state=1).fit(table)
    assert_same_weights(weights_of(first), weights_of(second), rtol=0)
    assert first.loss_curve_ == second.loss_curve_
    assert_array_equal(first.score_samples(table), second.score_samples(table))
    assert first.loss_curve_ != other.loss_curve_


@pytest.mark.parametrize("precision", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("make", [short, short_detector])
def test_a_network_is_in_single_precision_whatever_the_default_of_torch(
    make, precision
):
    X = people(gaps=0.1)

    def outcome():
        model = make().fit(X).partial_fit(X)
        twin = pickle.loads(pickle.dumps(model))
        inner = getattr(twin, "transformer_", twin)
        assert {p.dtype for p in inner.module_.parameters()} == {torch.float32}
        return (
            model.score_samples(X),
            twin.score_samples(X),
            inner.loss_curve_,
            inner.sample(9, random_state=0).to_numpy(),
        )

    expected = outcome()
    torch.set_default_dtype(precision)
    try:
        found = outcome()
    finally:
        torch.set_default_dtype(torch.float32)
    for each, other in zip(found, expected, strict=True):
        assert_array_equal(each, other)


def test_no_global_generator_is_read_or_moved(table):
    def fit_under(seed):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        model = short().fit(table)
        model.partial_fit(table)
        model.score_samples(table)
        model.sample(3, random_state=0)
        pickle.loads(pickle.dumps(model))
        after = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
        for state_before, state_after in zip(before, after, strict=True):
            assert_array_equal(state_before, state_after)
        return weights_of(model)

    assert_same_weights(fit_under(0), fit_under(1), rtol=0)


# Epochs, early stopping, best weights


def test_validation_rows_score_like_fresh_rows_from_the_start():
    # Had the start seen them, no epoch on the other rows could do better.
    rng = np.random.default_rng(0)
    gaps = []
    for seed in range(20):
        rows = rng.standard_normal((1060, 12)) @ rng.standard_normal((12, 12))
        few, fresh = rows[:60], rows[60:]
        model = short(max_iter=1, learning_rate_init=1e-12, random_state=seed)
        (score,) = model.fit(few).validation_scores_
        scaled = model._scaling().transform(torch.tensor(fresh)).float()
        noise = shared_noise(VALIDATION_DRAWS, model.n_components_, seed)
        with torch.no_grad():
            bound = evidence_lower_bound(model.module_, scaled, noise[:, None].float())
        gaps.append(score - float(bound.mean()))
    assert abs(np.mean(gaps)) < 3 * np.std(gaps) / np.sqrt(len(gaps))


def test_few_validation_rows_of_a_wide_layer_are_held_at_once(monkeypatch, table):
    whole = short().fit(table)
    sizes = []

    def bound(model, rows, noise, *others):
        if noise.ndim == 3:
            sizes.append(len(rows))
        return evidence_lower_bound(model, rows, noise, *others)

    monkeypatch.setattr(net, "evidence_lower_bound", bound)
    monkeypatch.setattr(net, "VALIDATION_NUMBERS", 7 * 64)
    parts = short().fit(table)
    assert max(sizes) == 7
    assert_allclose(parts.validation_scores_, whole.validation_scores_, rtol=1e-5)


def test_without_early_stopping_every_epoch_counts(table):
    model = short(early_stopping=False, max_iter=7).fit(table)
    assert model.n_iter_ == len(model.loss_curve_) == 7
    assert model.validation_scores_ == []
    assert model.loss_curve_[-1] < model.loss_curve_[0]


def test_the_weights_kept_are_those_of_the_best_validation_score(table):
    model = short(max_iter=200, n_iter_no_change=5, tol=0, learning_rate_init=3e-3)
    model.fit(table)
    scores = model.validation_scores_
    assert len(scores) == len(model.loss_curve_) == model.n_iter_
    assert scores[-1] < max(scores)  # otherwise there is nothing to restore
    assert_allclose(validation_score(model, table), max(scores), rtol=1e-6)


def test_the_start_is_kept_when_training_only_spoils_it(table):
    model = short(max_iter=3, learning_rate_init=0.3).fit(table)
    start = short(max_iter=1, learning_rate_init=1e-12).fit(table)
    assert max(model.validation_scores_) < validation_score(start, table)
    assert_same_weights(weights_of(model), weights_of(start), rtol=0, atol=1e-6)


def test_without_validation_the_averages_of_the_last_epoch_are_kept(monkeypatch, table):
    """Not the last weights, nor the averages of the epoch of the least loss."""
    averages = []

    def followed(model):
        averages.append(RunningAverage(model))
        return averages[-1]

    monkeypatch.setattr(net, "RunningAverage", followed)
    model = short(early_stopping=False, learning_rate_init=0.3).fit(table)
    assert min(model.loss_curve_) < model.loss_curve_[-1]
    (average,) = averages
    expected = {k: v.numpy() for k, v in average.module.state_dict().items()}
    assert_same_weights(weights_of(model), expected, rtol=0)


def test_the_running_average_lags_behind_by_about_a_tenth_of_the_steps():
    layer = torch.nn.Linear(1, 1).double().requires_grad_(False)
    average = RunningAverage(layer)
    for step in range(1, 501):
        layer.weight.fill_(float(step))
        layer.bias.fill_(3.0)
        average.update()
        # The mean of a straight line under weights that rise like step**degree.
        lag = (step - 1) / (AVERAGING_DEGREE + 2)
        assert_allclose(average.module.weight.item(), step - lag, rtol=1e-12)
        assert_allclose(average.module.bias.item(), 3.0)
    assert lag == pytest.approx(step / 10, rel=0.1)


def test_training_stops_after_epochs_without_improvement(table):
    patient = short(
        max_iter=200, n_iter_no_change=5, tol=0.05, learning_rate_init=3e-3
    ).fit(table)
    assert patient.n_iter_ < 200
    best_before = max(patient.validation_scores_[:-5])
    assert max(patient.validation_scores_[-5:]) < best_before + 0.05
    assert short(max_iter=50, n_iter_no_change=2, tol=1e6).fit(table).n_iter_ <= 3


# Continuing


def test_warm_start_continues_where_fit_ended(table):
    model = short(warm_start=True, early_stopping=False, max_iter=10).fit(table)
    first, scale = model.loss_curve_, model.scale_
    model.fit(table)
    assert model.n_iter_ == 20
    assert model.loss_curve_[:10] == first
    assert np.mean(model.loss_curve_[10:]) < np.mean(first)
    assert_array_equal(model.scale_, scale)


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(0)])
def test_warm_start_validates_on_the_same_rows_without_a_seed(
    monkeypatch, table, random_state
):
    validated = []

    def split(rows, weights, held_out):
        validated.append(held_out)
        return split_validation(rows, weights, held_out)

    monkeypatch.setattr(_transformer, "split_validation", split)
    model = short(warm_start=True, random_state=random_state)
    model.fit(table).fit(table)
    assert validated[0].sum() == 30
    assert_array_equal(*validated)


def test_warm_start_validates_with_the_same_noise_without_a_seed(table):
    standing = {"learning_rate_init": 1e-12, "max_iter": 1, "random_state": None}
    model = short(warm_start=True, **standing).fit(table).fit(table)
    first, second = model.validation_scores_
    assert second == pytest.approx(first, rel=1e-5)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("n_components", 1),
        ("inverse_lipschitz", 0.7),
        ("decoder", "brenier"),
        ("hidden_layer_sizes", (5,)),
        ("activation", "tanh"),
        ("n_mixture_components", 3),
        ("prior", "standard_normal"),
    ],
)
def test_continuing_with_another_network_is_an_error_that_changes_nothing(
    table, parameter, value
):
    model = short(warm_start=True).fit(table)
    before = weights_of(model)
    model.set_params(**{parameter: value})
    for go_on in (model.fit, model.partial_fit):
        message = f"has {parameter}=.* as one with {re.escape(str(value))}.*warm_start="
        with pytest.raises(ValueError, match=message):
            go_on(table)
    assert_same_weights(weights_of(model), before, rtol=0)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"likelihood": "gaussian"}, "likelihood of column 'height'=student_t"),
        ({"likelihood": {"grade": "categorical"}}, "'grade'=ordinal"),
        ({"categorical_features": None}, "'visits'=categorical"),
        ({"categorical_features": ["visits", "height"]}, "'height'=student_t"),
        ({"max_categories": 2}, "max_categories for column 'visits'="),
    ],
)
def test_continuing_with_other_kinds_of_columns_is_an_error(parameters, message):
    frame = people()
    model = short(warm_start=True, categorical_features=["visits"]).fit(frame)
    same = {"likelihood": {"height": "student_t", "city": "categorical"}}
    model.set_params(**same).fit(frame)
    model.set_params(**{"likelihood": "auto"} | parameters)
    with pytest.raises(ValueError, match=f"{message}.*warm_start=False"):
        model.fit(frame)


@pytest.mark.parametrize("likelihood", ["auto", "gaussian", {"only": "ordinal"}])
def test_continuing_with_the_same_parameters_is_no_error(likelihood):
    """Also where the kind of a column is not the one that was asked for."""
    frame = people(60).assign(nothing=np.nan, only="one level")
    model = short(likelihood=likelihood).partial_fit(frame).partial_fit(frame)
    assert model.n_iter_ == 2


def test_continuing_with_another_likelihood_of_dates_is_an_error():
    dates = people(60)[["joined"]]
    model = short(n_components=1, likelihood="student_t").partial_fit(dates)
    with pytest.raises(ValueError, match="likelihood of column 'joined'=student_t"):
        model.set_params(likelihood="gaussian").partial_fit(dates)


def test_fit_without_warm_start_forgets_the_last_fit(table):
    model = short().fit(table * 2).fit(table)
    assert_same_weights(weights_of(model), weights_of(short().fit(table)), rtol=0)
    assert model.n_iter_ == model.max_iter


def test_partial_fit_trains_one_pass_at_a_time_and_the_loss_falls(table):
    model = short(batch_size=50)
    for _ in range(15):
        assert model.partial_fit(table) is model
    assert model.n_iter_ == len(model.loss_curve_) == 15
    assert np.mean(model.loss_curve_[-3:]) < np.mean(model.loss_curve_[:3])


@pytest.mark.parametrize("kind", [ILVAETransformer, ILVAEOutlierDetector])
def test_partial_fit_checks_its_parameters_unless_scikit_learn_is_told_not_to(
    table, kind
):
    model = kind(2, random_state=0).partial_fit(table).set_params(tol=-1.0)
    with pytest.raises(ValueError, match="The 'tol' parameter"):
        model.partial_fit(table)
    with config_context(skip_parameter_validation=True):
        model.partial_fit(table)
    assert model.n_iter_ == 2


def test_partial_fit_keeps_the_scaling_of_its_first_rows(table):
    model = short().partial_fit(table[:100])
    mean = model.mean_
    assert_allclose(mean, table[:100].mean(0))
    model.partial_fit(table[100:])
    assert_array_equal(model.mean_, mean)


@pytest.mark.parametrize(
    ("methods", "validated"),
    [
        (["fit", "partial_fit"], [True, True, False]),
        (["partial_fit", "fit"], [False, True, True]),
    ],
)
def test_every_epoch_has_a_validation_score_if_one_has(table, methods, validated):
    model = short(warm_start=True, max_iter=2)
    for method in methods:
        getattr(model, method)(table)
    assert model.n_iter_ == len(model.loss_curve_) == 3
    assert_array_equal(np.isfinite(model.validation_scores_), validated)


def test_every_pass_meets_other_noise(table):
    model = short(learning_rate_init=1e-12)
    for _ in range(3):
        model.partial_fit(table)
    assert len(set(model.loss_curve_)) == 3


def test_continuing_takes_up_a_new_learning_rate(table):
    model = short(early_stopping=False).partial_fit(table)
    before = weights_of(model)
    model.set_params(learning_rate_init=1e-12).partial_fit(table)
    assert_same_weights(weights_of(model), before, rtol=0, atol=1e-8)


# Reports


def test_fit_is_silent_by_default(table, capsys):
    short().fit(table)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("max_iter", "tol"), [(4, 1e-3), (50, 1e6)])
def test_verbose_prints_one_line_an_epoch(table, capsys, max_iter, tol):
    model = short(verbose=1, max_iter=max_iter, n_iter_no_change=3, tol=tol).fit(table)
    lines = re.findall(r"^ +\d+ .*$", capsys.readouterr().out, flags=re.MULTILINE)
    assert len(lines) == model.n_iter_
