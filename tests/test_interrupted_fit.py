"""What a fit leaves when it is interrupted, or fails."""

import numpy as np
import pytest
from autoencoders import assert_same_weights, short, validation_score, weights_of
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_ilvae import ILVAETransformer, _transformer
from sklearn_ilvae._training import net
from sklearn_ilvae.vae import evidence_lower_bound


def interrupt_at_call(monkeypatch, number):
    calls = []

    def bound(*args):
        calls.append(None)
        if len(calls) == number:
            raise KeyboardInterrupt
        return evidence_lower_bound(*args)

    monkeypatch.setattr(net, "evidence_lower_bound", bound)


@pytest.mark.parametrize("step", [1, 3, 6], ids=["first", "batch", "validation"])
def test_ctrl_c_within_an_epoch_leaves_the_best_state_so_far(monkeypatch, table, step):
    # A batch of 60 out of 270 training rows: 5 batches and 1 validation an epoch.
    interrupt_at_call(monkeypatch, number=1 + 6 * 30 + step)
    with pytest.warns(UserWarning, match="interrupted in epoch 31"):
        model = short(max_iter=50, batch_size=60).fit(table)
    monkeypatch.undo()
    assert model.n_iter_ == len(model.validation_scores_) == 30
    assert_allclose(
        validation_score(model, table), max(model.validation_scores_), rtol=1e-6
    )
    assert np.isfinite(model.score(table))


def test_ctrl_c_before_the_last_epoch_is_compared_takes_it_back(monkeypatch, table):
    compare = net.BestWeights.on_epoch_end

    def interrupted(best, training, **others):
        if len(training.history) == 31:
            raise KeyboardInterrupt
        compare(best, training, **others)

    monkeypatch.setattr(net.BestWeights, "on_epoch_end", interrupted)
    with pytest.warns(UserWarning, match="interrupted in epoch 31"):
        model = short(max_iter=31).fit(table)
    assert model.n_iter_ == len(model.validation_scores_) == 30
    assert_allclose(
        validation_score(model, table), max(model.validation_scores_), rtol=1e-6
    )


def test_ctrl_c_before_the_first_epoch_ends_leaves_the_start(monkeypatch, table):
    interrupt_at_call(monkeypatch, number=3)
    with pytest.warns(UserWarning, match="interrupted in epoch 1"):
        model = short(batch_size=60).fit(table)
    assert model.n_iter_ == 0
    assert np.isfinite(model.score(table))
    assert "certified L" in model._repr_html_()


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("max_iter", [1, 30])
def test_an_infinite_loss_is_explained_and_changes_nothing(
    table, early_stopping, max_iter
):
    model = short(early_stopping=early_stopping).fit(table)
    before, codes = dict(vars(model)), model.transform(table)
    model.set_params(learning_rate_init=1e30, max_iter=max_iter)
    with pytest.raises(ValueError, match="learning_rate_init=1e\\+30 is probably too"):
        model.fit(table * 3)
    model.set_params(learning_rate_init=3e-3, max_iter=5)
    assert vars(model).keys() == before.keys()
    fitted = before.keys() - model.get_params().keys()
    assert all(vars(model)[name] is before[name] for name in fitted)
    assert_array_equal(model.transform(table), codes)


def test_weights_that_the_last_step_makes_infinite_are_explained(table):
    """The loss, which is computed before a step, says nothing of them."""
    model = short(max_iter=1, early_stopping=False, batch_size=1000)
    with pytest.raises(ValueError, match="learning_rate_init=1e\\+39 is probably too"):
        model.set_params(learning_rate_init=1e39).fit(table)
    assert not hasattr(model, "module_")


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_ctrl_c_outside_of_the_epochs_changes_nothing(monkeypatch, table, method):
    model = short().fit(table)
    before = dict(vars(model))

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(_transformer, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        getattr(model, method)(table[:50])
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is value for name, value in before.items())


def test_an_infinite_loss_is_explained_where_a_subclass_has_fewer_parameters(table):
    class Steep(ILVAETransformer):
        def __init__(self, n_components=2):
            super().__init__(n_components, kl_weight=1e39, max_iter=1)

    with pytest.raises(ValueError, match=r"kl_weight=1e.39 is probably too large"):
        Steep().fit(table)


def test_an_infinite_loss_names_the_column_of_the_most_extreme_value(table):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(table.copy(), columns=list("abcde"))
    frame.loc[7, "d"] = 1e9
    with pytest.raises(ValueError, match="Column 'd' holds the most extreme value"):
        short(learning_rate_init=1e30, max_iter=30).fit(frame)


def test_the_most_extreme_value_is_one_of_a_standardised_column(table):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(table.copy(), columns=list("abcde"))
    frame["visits"] = np.arange(300)
    frame.loc[7, "d"] = 1e9
    frame.loc[:5, "a"] = np.nan
    model = short(likelihood={"visits": "poisson"}, learning_rate_init=1e30)
    with pytest.raises(ValueError, match="Column 'd' holds the most extreme value"):
        model.fit(frame)
    with pytest.raises(ValueError, match=r"try a tenth of it\.$"):
        model.set_params(n_components=1).fit(frame[["visits"]])


def test_partial_fit_that_fails_can_be_repeated(table):
    model = short().partial_fit(table)
    sound = model.learning_rate_init
    with pytest.raises(ValueError, match="learning_rate_init"):
        model.set_params(learning_rate_init=1e30).partial_fit(table)
    model.set_params(learning_rate_init=sound).partial_fit(table)
    assert_same_weights(
        weights_of(model),
        weights_of(short().partial_fit(table).partial_fit(table)),
        rtol=0,
    )
