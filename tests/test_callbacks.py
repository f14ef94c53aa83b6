"""scikit-learn's callbacks follow the epochs of a fit."""

import numpy as np
import pytest
from autoencoders import short
from sklearn.callback import ProgressBar
from sklearn.model_selection import GridSearchCV

from sklearn_ilvae import ILVAEOutlierDetector


class EpochRecorder:
    """A scikit-learn callback that does something after an epoch."""

    def __init__(self, after_epoch=lambda number: None):
        self.after_epoch = after_epoch
        self.begun, self.ended = [], []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.begun.append((context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context):
        self.ended.append((context.task_name, context.task_id))
        if context.task_name == "epoch":
            return self.after_epoch(context.task_id)
        return None


@pytest.mark.parametrize("tol", [1e-3, 1e6], ids=["all epochs", "stopped early"])
def test_callbacks_see_the_fit_and_every_epoch_begin_and_end(table, tol):
    recorder = EpochRecorder()
    model = short(n_iter_no_change=2, tol=tol).set_callbacks(recorder).fit(table)
    epochs = [("epoch", number) for number in range(model.n_iter_)]
    assert recorder.begun == [("fit", 0), *epochs]
    assert recorder.ended == [*epochs, ("fit", 0)]


def test_a_callback_can_stop_training(table):
    recorder = EpochRecorder(after_epoch=lambda number: number == 2)
    model = short(max_iter=50).set_callbacks(recorder).fit(table)
    assert model.n_iter_ == 3
    assert np.isfinite(model.score(table))


def test_ctrl_c_within_a_callback_is_told_as_within_an_epoch(table):
    def interrupt(number):
        if number == 2:
            raise KeyboardInterrupt

    model = short(max_iter=50).set_callbacks(EpochRecorder(after_epoch=interrupt))
    with pytest.warns(UserWarning, match="interrupted in epoch 3"):
        model.fit(table)
    assert model.n_iter_ == len(model.validation_scores_) == 3
    assert np.isfinite(model.score(table))


def test_an_error_in_a_callback_reaches_the_user_and_leaves_nothing_fitted(table):
    def fail(number):
        raise OSError("disk full")

    model = short().set_callbacks(EpochRecorder(after_epoch=fail))
    before = dict(vars(model))
    with pytest.raises(OSError, match="disk full"):
        model.fit(table)
    assert vars(model) == before


def test_progress_bar_shows_epochs(table, capsys):
    short().set_callbacks(ProgressBar()).fit(table)
    output = capsys.readouterr().out
    assert "ILVAETransformer" in output
    assert "100%" in output


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_progress_bar_works_through_a_grid_search(table, capsys, n_jobs):
    grid = {"inverse_lipschitz": [0.1, 0.2]}
    search = GridSearchCV(short(max_iter=2), grid, cv=2, n_jobs=n_jobs)
    search.set_callbacks(ProgressBar()).fit(table)
    assert "ILVAETransformer" in capsys.readouterr().out


def test_progress_bar_of_a_detector_shows_the_epochs_of_its_autoencoder(table, capsys):
    detector = ILVAEOutlierDetector(2, max_iter=2, random_state=0)
    detector.set_callbacks(ProgressBar()).fit(table)
    output = capsys.readouterr().out
    assert "ILVAEOutlierDetector" in output
    assert "ILVAETransformer" in output
    detector.transformer_.fit(table)
    assert not capsys.readouterr().out  # the bar was lent for one fit
    twin = ILVAEOutlierDetector(2, max_iter=2, random_state=0).fit(table)
    assert twin.offset_ == detector.offset_
