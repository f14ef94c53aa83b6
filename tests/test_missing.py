"""Missing values: what is observed counts, what is not is known to be missing."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from autoencoders import correlated_rows
from mixed import LIBRARIES, by_library, people, same_form, short
from numpy.testing import assert_allclose, assert_array_equal
from samples import with_gaps
from sklearn.impute import SimpleImputer

from sklearn_ilvae import ILVAEOutlierDetector, ILVAETransformer


@pytest.fixture(scope="module")
def linear():
    """A factor analysis in disguise, whose every marginal and conditional is known."""
    rows = correlated_rows(400, 4, 2, seed=0).numpy()
    model = ILVAETransformer(
        n_components=2,
        decoder="mlp",
        likelihood="gaussian",
        prior="standard_normal",
        max_iter=1,
        learning_rate_init=1e-12,
        n_importance_samples=5000,
        random_state=0,
    ).fit(rows)
    loadings = model.module_.decoder.linear.detach().double().numpy()
    noise = model.module_.likelihood.heads[0].variance().detach().double().numpy()
    covariance = loadings @ loadings.T + np.diag(noise)
    units = np.outer(model.scale_, model.scale_)
    inside = np.abs((rows - model.mean_) / model.scale_).max(1) < 2.5
    return model, rows[inside][:40], covariance * units


def test_a_row_with_gaps_scores_the_density_of_what_is_observed(table):
    """Against an integral over a grid of one-dimensional codes."""
    rows = torch.tensor(with_gaps(table, 0.3))
    model = ILVAETransformer(
        n_components=1,
        max_iter=40,
        n_importance_samples=2000,
        device="cpu",
        random_state=0,
    ).fit(rows.numpy())
    network, scaling = model._inference_module(torch.float64), model._scaling()
    codes = torch.linspace(-8, 8, 2001, dtype=torch.float64)[:, None]
    observed = ~rows.isnan()
    scaled = scaling.transform(rows)
    with torch.no_grad():
        columns = network.likelihood.column_log_prob(
            scaled.nan_to_num(0), network.decoder(codes)[:, None]
        )
        joint = network.prior.log_prob(codes)[:, None] + (columns * observed).sum(-1)
        exact = joint.logsumexp(0) + np.log(float(codes[1, 0] - codes[0, 0]))
    slopes = scaling.log_slopes(rows, scaled) - scaling.scale.log() * observed
    expected = (exact + slopes.sum(1)).numpy()
    error = model.score_samples(rows.numpy()) - expected
    assert abs(error.mean()) < 0.02
    assert np.abs(error).max() < 0.5


def test_before_training_codes_are_those_of_the_linear_model(linear):
    """Also for gaps that training never saw: fit was given none."""
    model, rows, _ = linear
    network = model.module_.double()
    loadings = network.decoder.linear.detach()
    noise = network.likelihood.heads[0].variance().detach()
    scaled = model._scaling().transform(torch.tensor(rows))
    scaled[:, 1] = torch.nan
    scaled[5] = torch.nan
    with torch.no_grad():
        means, log_variances = network.encoder(scaled)
    for row, mean, log_variance in zip(scaled, means, log_variances, strict=True):
        seen = ~row.isnan()
        part = loadings[seen].T / noise[seen]
        precision = torch.eye(2) + part @ loadings[seen]
        exact = torch.linalg.solve(precision, part @ row[seen])
        torch.testing.assert_close(mean, exact, atol=2e-3, rtol=0)
        variances = 1 / precision.diagonal()
        torch.testing.assert_close(log_variance.exp(), variances, atol=2e-3, rtol=0)


def test_imputed_values_are_the_conditional_means(linear):
    model, rows, covariance = linear
    seen = np.array([True, False, True, True])
    gain = covariance[~seen][:, seen] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
    expected = model.mean_[~seen] + (rows - model.mean_)[:, seen] @ gain.T
    filled = model.impute(np.where(seen, rows, np.nan))
    assert_array_equal(filled[:, seen], rows[:, seen])
    error = (filled[:, ~seen] - expected) / model.scale_[~seen]
    assert np.abs(error).mean() < 0.05


@pytest.mark.parametrize("n_imputations", [None, 1])
def test_imputed_values_stay_within_the_range_of_the_fit(n_imputations):
    rows = correlated_rows(200, 4, 1, seed=0).numpy()
    model = short(n_components=1).fit(rows)
    far = np.where([True, False, True, True], 40 * rows[:50], np.nan)

    def filled():
        return np.reshape(model.impute(far, n_imputations, 0), (50, 4))[:, 1]

    assert filled().min() == rows[:, 1].min()
    assert filled().max() == rows[:, 1].max()
    wider = 2 * rows
    model.partial_fit(wider).partial_fit(rows / 2)
    assert filled().max() == wider[:, 1].max()


def test_multiple_imputations_spread_as_the_conditional_does(linear):
    model, rows, covariance = linear
    seen = np.array([True, False, True, True])
    gain = covariance[~seen][:, seen] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
    spread = np.sqrt(covariance[1, 1] - gain @ covariance[seen][:, 1]).item()
    drawn = model.impute(np.where(seen, rows, np.nan), 20, random_state=0)
    assert len(drawn) == 20
    found = np.std([table[:, 1] for table in drawn], axis=0)
    assert_allclose(np.sqrt((found**2).mean()), spread, rtol=0.15)
    again = model.impute(np.where(seen, rows, np.nan), 2, random_state=0)
    assert_array_equal(again[1], model.impute(np.where(seen, rows, np.nan), 2, 0)[1])


def test_imputation_beats_the_mean_of_the_column(table):
    missing = with_gaps(table, 0.3)
    model = ILVAETransformer(n_components=2, max_iter=100, random_state=0).fit(missing)
    gaps = np.isnan(missing)

    def error(filled):
        return ((filled - table) / table.std(0))[gaps].std()

    assert error(model.impute(missing)) < 0.8 * error(
        SimpleImputer().fit_transform(missing)
    )


def test_the_encoder_is_told_what_is_missing(table):
    missing = with_gaps(table, 0.3)
    model = short().fit(missing)
    assert model.module_.encoder.design.width == 2 * table.shape[1]
    assert short().fit(table).module_.encoder.design.width == table.shape[1]
    centred = np.where(np.isnan(missing), model.mean_, missing)
    assert not np.allclose(model.transform(missing), model.transform(centred))


def test_gaps_that_training_never_saw_are_scored_too(fitted, table):
    missing = with_gaps(table, 0.3)
    assert np.isfinite(fitted.score_samples(missing)).all()
    assert np.isfinite(fitted.transform(missing)).all()
    assert np.isfinite(fitted.impute(missing)).all()


def test_masked_values_are_missing(table):
    gone = np.random.default_rng(0).random(table.shape) < 0.2
    for rows in (table, table.round().astype(int)):
        missing, masked = np.where(gone, np.nan, rows), np.ma.array(rows, mask=gone)
        model, other = short().fit(missing), short().fit(masked)
        assert_array_equal(other.mean_, model.mean_)
        assert_array_equal(other.impute(masked), model.impute(missing))
    words = np.ma.array([["a", 1.0], ["b", 2.0]] * 20, dtype=object)
    words[3] = np.ma.masked
    model = short(n_components=1, categorical_features=[0]).fit(words)
    assert [each["missing"] for each in model.column_summary_] == ["2.5%", "2.5%"]


def test_what_stands_for_missing_does_not_matter(table):
    frame = pd.DataFrame(with_gaps(table, 0.2), columns=list("abcde"))
    nothing = frame.astype(object).where(frame.notna(), None)
    nullable = frame.astype("Float64")
    polars = LIBRARIES["polars"](frame)
    scores = short().fit(frame).score_samples(frame)
    for other in (frame.to_numpy(), nothing, nullable, polars):
        assert_allclose(short().fit(other).score_samples(other), scores)


def test_the_entry_of_a_dictionary_that_stands_for_missing_is_no_category():
    codes = pa.array([0, 1, 2, 1] * 10, pa.int8())
    words = pa.DictionaryArray.from_arrays(codes, ["a", None, "b"])
    frame = pa.table({"word": words, "x": np.arange(40.0)})
    model = short(n_components=1).fit(frame)
    assert model.column_summary_[0]["values"] == "2 levels: a, b"
    assert model.column_summary_[0]["missing"] == "50%"
    assert model.impute(frame)["word"].null_count == 0


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_column_of_missing_values_alone_takes_no_part(table, method):
    missing = np.column_stack([table, np.full(len(table), np.nan)])
    model = getattr(short(), method)(missing)
    assert model.likelihood_[-1] == "none"
    assert model.module_.likelihood.n_parameters == table.shape[1]
    later = np.column_stack([table, np.arange(len(table))])
    assert_array_equal(model.score_samples(later), model.score_samples(missing))
    assert np.isnan(model.impute(missing)[:, -1]).all()


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_mixed_table_is_filled_in_its_form(name):
    convert = LIBRARIES[name]
    frame = people(gaps=0.2)
    table = convert(frame)
    model = short(likelihood={"visits": "poisson"}).fit(table)
    for filled in (model.impute(table), *model.impute(table, 2, random_state=0)):
        assert same_form(filled, table)
        pandas = filled if name == "pandas" else filled.to_pandas()
        assert not pandas.isna().any().any()
        original = table if name == "pandas" else table.to_pandas()
        for column in original:
            seen = original[column].notna()
            assert pandas[column][seen].tolist() == original[column][seen].tolist()


@by_library
@pytest.mark.parametrize("family", ["poisson", "negative_binomial"])
def test_a_model_takes_the_counts_that_it_filled_in(family, convert):
    """Gaps make a column of whole numbers one of floats in many a table."""
    frame = people(gaps=0.2).astype({"visits": "float64"})
    table = convert(frame)
    model = short(likelihood={"visits": family}).fit(table)
    filled = model.impute(table)
    assert np.isfinite(model.score_samples(filled)).all()
    visits = np.asarray(filled["visits"])
    assert_array_equal(visits, np.rint(visits))
    assert_array_equal(visits[frame["visits"].notna()], frame["visits"].dropna())


def test_rows_without_gaps_are_given_back_as_they_are_in_a_table_of_their_own(
    fitted, table
):
    for filled in (fitted.impute(table), *fitted.impute(table, 2)):
        assert_array_equal(filled, table)
        assert not np.shares_memory(filled, table)
        filled[0] = 0  # and none shares memory with another


@pytest.mark.parametrize("n_imputations", [None, 1])
def test_an_imputed_array_keeps_its_floating_dtype(table, n_imputations):
    single = with_gaps(table, 0.2).astype(np.float32)
    for rows in (single, single.astype(np.float64)):
        filled = short().fit(rows).impute(rows, n_imputations, random_state=0)
        (filled,) = [filled] if n_imputations is None else filled
        assert filled.dtype == rows.dtype
        assert_array_equal(filled[~np.isnan(rows)], rows[~np.isnan(rows)])


@pytest.mark.parametrize("n_imputations", [None, 1])
def test_an_array_with_categories_keeps_its_floating_dtype(table, n_imputations):
    single = np.column_stack([table, np.arange(300) % 3 * 0.1]).astype(np.float32)
    single[:, -1][::7] = np.nan
    for rows in (single, single.astype(np.float64)):
        model = short(categorical_features=[-1]).fit(rows)
        filled = model.impute(rows, n_imputations, random_state=0)
        (filled,) = [filled] if n_imputations is None else filled
        seen = ~np.isnan(rows)
        assert_array_equal(filled[seen], rows[seen])
        codes = model.transform(rows)
        decoded = model.inverse_transform(codes)
        assert {each.dtype for each in (filled, codes, decoded)} == {rows.dtype}
        for each in (filled, decoded):
            assert set(np.unique(each[:, -1])) <= set(np.unique(rows[seen[:, -1], -1]))


def test_batches_with_gaps_and_without_can_follow_each_other(table):
    model = short().partial_fit(table)
    model.partial_fit(with_gaps(table, 0.3))
    assert np.isfinite(model.loss_curve_).all()
    model = short().partial_fit(with_gaps(table, 0.3)).partial_fit(table)
    assert np.isfinite(model.loss_curve_).all()


@pytest.mark.parametrize("n_imputations", [0, -1, 1.5, "many"])
def test_the_number_of_imputations_is_positive(fitted, table, n_imputations):
    with pytest.raises((ValueError, TypeError), match="n_imputations"):
        fitted.impute(table, n_imputations)


def test_a_gap_counts_for_nothing_in_the_bound():
    rows = correlated_rows(50, 4, 2, seed=1)
    model = short(n_components=1).fit(rows.numpy())
    network = model._inference_module(torch.float64)
    parameters = network.decoder(torch.zeros(50, 1, dtype=torch.float64))
    columns = network.likelihood.column_log_prob(rows, parameters)
    rows[:, 2] = torch.nan
    found = network.likelihood.log_prob(rows, parameters)
    torch.testing.assert_close(found, columns[:, [0, 1, 3]].sum(1))


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_a_gap_makes_a_row_neither_more_nor_less_trusted(share):
    rows = correlated_rows(2000, 6, 2, seed=0).numpy()
    missing = with_gaps(rows, share)
    detector = ILVAEOutlierDetector(n_components=1, max_iter=1, random_state=0)
    trusted = detector.fit(missing).support_
    gaps = np.isnan(missing).any(1)
    assert trusted[gaps].mean() == pytest.approx(trusted[~gaps].mean(), abs=0.08)


COLUMNS_OF_MOSTLY_ONE_VALUE = {
    "constant": lambda rng, size: np.full(size, 5.0),
    "flag": lambda rng, size: (rng.random(size) < 0.03).astype(float),
    "many zeros": lambda rng, size: (
        rng.exponential(size=size) * (rng.random(size) < 0.1)
    ),
    "heavy tails": lambda rng, size: rng.standard_cauchy(size),
}


@pytest.mark.parametrize("kind", COLUMNS_OF_MOSTLY_ONE_VALUE)
def test_nor_does_a_gap_in_a_column_that_is_far_from_gaussian(kind):
    rng = np.random.default_rng(0)
    rows = correlated_rows(2000, 5, 2, seed=0).numpy()
    rows[:, 4] = COLUMNS_OF_MOSTLY_ONE_VALUE[kind](rng, 2000)
    gaps = rng.random(2000) < 0.1
    rows[gaps, 4] = np.nan
    detector = ILVAEOutlierDetector(n_components=1, max_iter=1, random_state=0)
    trusted = detector.fit(rows).support_
    assert trusted[gaps].mean() == pytest.approx(trusted[~gaps].mean(), abs=0.1)
