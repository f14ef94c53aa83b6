"""Copies, pickles and clones: small, by name, free of data and of devices."""

import copy
import io
import pickle

import joblib
import numpy as np
import pytest
from mixed import LIBRARIES, people, same_form
from numpy.testing import assert_array_equal
from sklearn.base import clone

from sklearn_ilvae import ILVAEOutlierDetector, ILVAETransformer


def through_joblib(model):
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    buffer.seek(0)
    return joblib.load(buffer)


COPIES = {
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "joblib": through_joblib,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"decoder": "brenier", "hidden_layer_sizes": (8, 4)},
        {"decoder": "anchored", "prior": "standard_normal"},
        {"decoder": "mlp", "activation": "relu"},
        {"decoder": "gradient_network", "n_components": 5},
    ],
    ids=str,
)
def test_a_copy_computes_exactly_the_same(table, duplicate, parameters):
    rows = np.column_stack([table, table[:, 0] > 0])
    model = ILVAETransformer(max_iter=2, random_state=0).set_params(**parameters)
    twin = duplicate(model.fit(rows))
    assert_array_equal(twin.transform(rows), model.transform(rows))
    assert_array_equal(twin.score_samples(rows), model.score_samples(rows))
    assert_array_equal(twin.sample(3, random_state=0), model.sample(3, random_state=0))
    assert twin.inverse_lipschitz_ == model.inverse_lipschitz_
    assert twin.loss_curve_ == model.loss_curve_


@pytest.mark.parametrize("kind", [ILVAETransformer, ILVAEOutlierDetector])
@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
def test_a_copy_trains_on_as_the_original_does_and_leaves_it_alone(
    table, duplicate, kind
):
    model = kind(max_iter=3, random_state=0).fit(table)
    before = model.score_samples(table)
    twin = duplicate(model).partial_fit(table)
    assert_array_equal(model.score_samples(table), before)
    model.partial_fit(table)
    assert not np.array_equal(model.score_samples(table), before)
    assert_array_equal(twin.score_samples(table), model.score_samples(table))


@pytest.mark.parametrize("library", LIBRARIES)
def test_skops_keeps_a_model_of_a_mixed_table(library):
    """The file holds no code; the only types to trust are the package's own."""
    skops = pytest.importorskip("skops.io")
    frame = LIBRARIES[library](people(gaps=0.2))
    for kind in (ILVAETransformer, ILVAEOutlierDetector):
        model = kind(2, max_iter=2, handle_unknown="missing", random_state=0)
        model.fit(frame)
        stored = skops.dumps(model)
        unknown = skops.get_untrusted_types(data=stored)
        assert all(name.startswith("sklearn_ilvae.") for name in unknown)
        twin = skops.loads(stored, trusted=unknown)
        assert_array_equal(twin.score_samples(frame), model.score_samples(frame))
    twin, model = (each.transformer_ for each in (twin, model))
    assert same_form(twin.sample(5, random_state=0), frame)
    assert twin.sample(5, random_state=0).equals(model.sample(5, random_state=0))
    assert repr(twin.column_summary_) == repr(model.column_summary_)


def test_a_model_mapped_to_memory_computes_and_trains_on(tmp_path, mixed):
    X, model = mixed
    joblib.dump(model, tmp_path / "model")
    twin = joblib.load(tmp_path / "model", mmap_mode="r")
    assert_array_equal(twin.score_samples(X), model.score_samples(X))
    assert twin.impute(X).equals(model.impute(X))
    assert twin.partial_fit(X).n_iter_ == model.n_iter_ + 1


def test_an_unfitted_estimator_can_be_pickled():
    model = pickle.loads(pickle.dumps(ILVAETransformer(n_components=3)))
    assert model.n_components == 3
    assert not hasattr(model, "module_")


def test_a_clone_is_unfitted_and_fits_to_the_same(fitted, table):
    twin = clone(fitted)
    assert not hasattr(twin, "module_")
    assert twin.get_params() == fitted.get_params()
    assert_array_equal(twin.fit(table).transform(table), fitted.transform(table))


def leaves(value):
    if isinstance(value, dict):
        for each in value.values():
            yield from leaves(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from leaves(each)
    else:
        yield value


def test_the_state_is_plain_values_and_numpy_arrays_by_name(fitted):
    state = fitted.__getstate__()
    kinds = {type(value) for value in leaves(state)}
    assert kinds <= {np.ndarray, str, int, float, bool, type(None)}
    weights = state["module_"]["arrays"]
    assert weights.keys() == fitted.module_.state_dict().keys()
    assert all(isinstance(array, np.ndarray) for array in weights.values())


def test_the_state_holds_no_training_rows(table):
    def size(rows):
        model = ILVAETransformer(n_components=2, max_iter=2, random_state=0)
        return len(pickle.dumps(model.fit(rows)))

    # Lengths of printed numbers may differ by a few bytes; a row takes 40.
    assert abs(size(np.tile(table, (4, 1))) - size(table)) < 40


def test_arrays_in_the_state_are_copies(fitted, table):
    before = fitted.transform(table)
    for array in fitted.__getstate__()["module_"]["arrays"].values():
        array.fill(0)
    assert_array_equal(fitted.transform(table), before)


def test_a_model_fitted_on_a_missing_device_loads_and_computes(fitted, table):
    # xpu stands for any device that the machine which loads does not have.
    elsewhere = pickle.loads(pickle.dumps(fitted)).set_params(device="xpu")
    elsewhere = pickle.loads(pickle.dumps(elsewhere))
    assert_array_equal(elsewhere.transform(table), fitted.transform(table))
    assert_array_equal(elsewhere.score_samples(table), fitted.score_samples(table))
    with pytest.raises(ValueError, match="device='xpu' cannot be used"):
        elsewhere.fit(table)
    assert_array_equal(elsewhere.transform(table), fitted.transform(table))
