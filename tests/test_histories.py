"""What an autoencoder gives depends on the trainings that succeeded, and on no more."""

import copy
import pickle
import warnings
from contextlib import suppress
from functools import partial

import numpy as np
import pytest
from autoencoders import short, short_detector
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from mixed import people

RNG = np.random.default_rng(0)

TABLES = {
    "numbers": RNG.standard_normal((40, 3)),
    "more": np.where(RNG.random((30, 3)) < 0.1, np.nan, RNG.standard_normal((30, 3))),
    "others": RNG.standard_normal((30, 2)),
    "people": people(40, gaps=0.1),
    "infinite": np.full((9, 3), np.inf),
    "empty": np.empty((0, 3)),
}

PARAMETERS = [
    {"n_components": 1},
    {"n_components": 99},
    {"likelihood": {"visits": "poisson"}},
    {"early_stopping": False},
    {"batch_size": 7},
    {"max_iter": 0},
    {"kl_weight": 1e39},
    {"random_state": 1},
    {"handle_unknown": "missing"},
]

METHODS = st.sampled_from(["fit", "partial_fit"])

COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
}


def erase(table):
    if isinstance(table, np.ndarray):  # pandas copies on writing
        table.fill(0)


def train(model, method, name):
    """Train on a table, which is erased afterwards."""
    X = TABLES[name].copy()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X has feature names")
        getattr(model, method)(X)
    erase(X)


def results(model, name):
    """What a model gives, as bytes; what it returned is erased."""
    inner = getattr(model, "transformer_", model)
    X = TABLES[name]
    found = [model.score_samples(X), inner.transform(X), inner.impute(X)]
    found += [inner.sample(3, random_state=0), np.array(inner.loss_curve_)]
    if inner is not model:
        found += [model.predict(X), model.training_scores_.copy()]
    given = [pickle.dumps(np.asarray(each).tolist()) for each in found]
    for each in found:
        erase(each)
    return [*given, str(model.column_summary_)]


class History(RuleBasedStateMachine):
    def __init__(self, make):
        super().__init__()
        self.make, self.model = make, make()
        self.trainings, self.given = [], None

    @initialize(name=st.sampled_from([*TABLES]))
    def begin(self, name):
        self.train("fit", name)

    @rule(method=METHODS, name=st.sampled_from([*TABLES]))
    def train(self, method, name):
        parameters = self.model.get_params()
        try:
            train(self.model, method, name)
        except ValueError:
            return
        self.trainings.append((method, name, parameters))
        self.given = results(self.model, name)

    @rule(parameters=st.sampled_from([*PARAMETERS, {}]))
    def set_parameters(self, parameters):
        self.model.set_params(**self.make().get_params() | parameters)

    @precondition(lambda self: self.trainings)
    @rule(duplicate=st.sampled_from([*COPIES]))
    def train_a_copy(self, duplicate):
        name = self.trainings[-1][1]
        twin = COPIES[duplicate](self.model)
        assert results(twin, name) == self.given
        with suppress(ValueError):
            train(twin, "partial_fit", name)

    @invariant()
    def gives_the_same(self):
        assert "<div" in self.model._repr_html_()
        if self.trainings:
            assert results(self.model, self.trainings[-1][1]) == self.given
        else:
            assert vars(self.model).keys() == vars(self.make()).keys()

    def teardown(self):
        if self.trainings:
            again = self.make()
            for method, name, parameters in self.trainings:
                train(again.set_params(**parameters), method, name)
            assert results(again, name) == self.given


@pytest.mark.parametrize("make", [short, short_detector])
def test_only_successful_trainings_change_what_a_model_gives(make):
    run_state_machine_as_test(
        lambda: History(partial(make, max_iter=1)),
        settings=settings(max_examples=7, stateful_step_count=6, deadline=None),
    )
