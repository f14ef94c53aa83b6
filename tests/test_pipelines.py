"""ILVAETransformer among scikit-learn's other tools, on pandas and on polars."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from autoencoders import short
from joblib import parallel_config
from numpy.testing import assert_array_equal
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from sklearn_ilvae import ILVAETransformer
from sklearn_ilvae.metrics import kl_per_unit

NAMES = list("abcde")
FRAMES = {
    "pandas": lambda rows: pd.DataFrame(rows, columns=NAMES),
    "polars": lambda rows: pl.DataFrame(rows, schema=NAMES),
}
both_libraries = pytest.mark.parametrize("library", FRAMES)


def grid_search(**parameters):
    pipeline = make_pipeline(StandardScaler(), short())
    grid = {"ilvaetransformer__inverse_lipschitz": [0.0, 0.2, 2.0]}
    return GridSearchCV(pipeline, grid, cv=2, **parameters)


@both_libraries
def test_grid_search_over_l_is_the_same_with_one_process_and_with_two(table, library):
    frame = FRAMES[library](table)
    one, two = (grid_search(n_jobs=n_jobs).fit(frame) for n_jobs in (1, 2))
    scores = one.cv_results_["mean_test_score"]
    assert len(set(scores)) == 3
    assert_array_equal(two.cv_results_["mean_test_score"], scores)
    assert two.best_params_ == one.best_params_
    assert_array_equal(two.transform(frame), one.transform(frame))


def test_threads_that_fit_at_the_same_time_do_not_disturb_each_other(table):
    one = grid_search(n_jobs=1).fit(table)
    with parallel_config(backend="threading"):
        two = grid_search(n_jobs=4).fit(table)
    assert_array_equal(
        two.cv_results_["mean_test_score"], one.cv_results_["mean_test_score"]
    )


def test_search_may_vary_every_parameter_of_the_network(table):
    grid = {
        "decoder": ["anchored", "brenier"],
        "hidden_layer_sizes": [(4,), (4, 4)],
        "n_components": [1, "auto"],
    }
    search = GridSearchCV(short(max_iter=1), grid, cv=2).fit(table)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_codes_serve_a_classifier():
    X, y = load_breast_cancer(return_X_y=True)
    codes = ILVAETransformer(n_components=3, max_iter=10, random_state=0)
    pipeline = make_pipeline(codes, LogisticRegression())
    assert cross_val_score(pipeline, X, y, cv=3).mean() > 0.9


@both_libraries
def test_column_transformer_encodes_some_columns_and_passes_the_others(table, library):
    frame = FRAMES[library](table)
    columns = ColumnTransformer(
        [("codes", short(), ["a", "b", "c"])], remainder="passthrough"
    ).set_output(transform=library)
    result = columns.fit_transform(frame)
    assert list(result.columns) == [
        "codes__ilvaetransformer0",
        "codes__ilvaetransformer1",
        "remainder__d",
        "remainder__e",
    ]
    assert_array_equal(result["remainder__d"].to_numpy(), table[:, 3])
    alone = short().fit_transform(frame[["a", "b", "c"]])
    assert_array_equal(result.to_numpy()[:, :2], alone)


def test_text_columns_are_encoded_first():
    frame = pd.DataFrame({"colour": list("rgb") * 20, "size": np.arange(60.0)})
    columns = ColumnTransformer(
        [("text", OneHotEncoder(sparse_output=False), ["colour"])],
        remainder="passthrough",
    )
    model = make_pipeline(columns, short()).fit(frame)
    assert model[-1].likelihood_ == ["bernoulli"] * 3 + ["student_t"]


def test_feature_union_sets_codes_beside_other_features(table):
    union = FeatureUnion([("codes", short()), ("raw", FunctionTransformer())])
    assert union.fit_transform(table).shape == (300, 7)


def test_codes_can_be_selected_by_name(table):
    y = table[:, 0] > 0
    select = make_pipeline(short(), SelectKBest(k=1)).fit(table, y)
    (name,) = select.get_feature_names_out()
    assert name in ("ilvaetransformer0", "ilvaetransformer1")


@both_libraries
def test_set_output_names_the_codes(table, library):
    frame = FRAMES[library](table)
    model = short().set_output(transform=library).fit(frame)
    codes = model.transform(frame)
    assert isinstance(codes, type(frame))
    assert list(codes.columns) == list(model.get_feature_names_out())
    assert_array_equal(codes.to_numpy(), short().fit(frame).transform(frame))
    assert_array_equal(model.feature_names_in_, NAMES)


@both_libraries
def test_codes_in_a_data_frame_decode_like_an_array(table, library):
    frame = FRAMES[library](table)
    model = short().set_output(transform=library).fit(frame)
    decoded = model.inverse_transform(model.transform(frame))
    assert type(decoded) is type(frame)
    assert list(decoded.columns) == NAMES
    assert_array_equal(
        decoded, model.inverse_transform(model.transform(frame).to_numpy())
    )


def test_set_output_keeps_deviations_as_an_array(table):
    frame = FRAMES["pandas"](table)
    model = short().set_output(transform="pandas").fit(frame)
    codes, deviations = model.transform(frame, return_std=True)
    assert isinstance(codes, pd.DataFrame)
    assert deviations.shape == codes.shape
    assert (np.asarray(deviations) > 0).all()


@both_libraries
def test_a_data_frame_scores_like_its_array(table, library):
    frame = FRAMES[library](table)
    scores = short().fit(frame).score_samples(frame)
    assert_array_equal(scores, short().fit(table).score_samples(table))


def test_a_measure_finds_the_autoencoder_of_a_pipeline_within_another(table):
    inner = make_pipeline(StandardScaler(), short())
    outer = make_pipeline(FunctionTransformer(np.negative), inner).fit(table)
    rows = inner[:-1].transform(-table)
    assert_array_equal(kl_per_unit(outer, table), kl_per_unit(inner[-1], rows))
