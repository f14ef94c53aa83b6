"""Reasons for scores: they add up exactly, carry names, and point at the culprit."""

import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from autoencoders import CERTIFIED, correlated_rows, randomise, started_model
from hypothesis import given, settings
from hypothesis import strategies as st
from mixed import LIBRARIES, people, rows_of
from numpy.testing import assert_allclose
from sklearn import config_context

from sklearn_ilvae import ILVAEOutlierDetector
from sklearn_ilvae._detection.reasons import reasons_table
from sklearn_ilvae.vae import laplace_terms
from sklearn_ilvae.vae.networks import jacobian_at_zero


@pytest.fixture(scope="module")
def frame(table):
    """Return a named table with a binary column."""
    frame = pd.DataFrame(table, columns=list("abcde"), index=np.arange(300) + 1000)
    return frame.assign(married=(frame["a"] > 0).astype(int))


@pytest.fixture(scope="module")
def detector(frame):
    """Return a short fit, shared by all tests: they must not change it."""
    return ILVAEOutlierDetector(2, max_iter=20, random_state=0).fit(frame)


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(CERTIFIED),
    st.sampled_from([0, 4]),
    st.integers(0, 2**32 - 1),
    st.floats(0.1, 2),
)
def test_terms_add_up_to_joint_less_posterior_density(family, clusters, seed, size):
    rows = correlated_rows(30, 4, 2, seed=0)
    rows[:, 3] = (rows[:, 3] > 0).double()
    model = started_model(
        rows,
        family,
        2,
        likelihood=("gaussian", "gaussian", "gaussian", "bernoulli"),
        n_mixture_components=clusters,
    )
    randomise(model, size, seed)
    with torch.no_grad():
        terms = laplace_terms(model, rows)
        mean, log_variance = model.encoder(rows)
        joint = model.likelihood.log_prob(rows, model.decoder(mean))
        joint = joint + model.prior.log_prob(mean)
        posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
        expected = joint - posterior.log_prob(mean).sum(-1)
    assert_allclose(terms.total(), expected, rtol=1e-10)
    assert terms.expected.shape == terms.columns.shape == rows.shape


def linear_gaussian_model(seed):
    """Return a linear model, rows of it, and the distribution that it gives them."""
    rows = correlated_rows(50, 4, 1, seed)
    model = started_model(rows, "mlp", 1)
    with torch.no_grad():
        origin = torch.zeros(1, dtype=rows.dtype)
        loadings = jacobian_at_zero(model.decoder, origin)
        noise = model.likelihood.heads[0].variance()
        centre = model.decoder(origin[None])[0]
        covariance = loadings @ loadings.T + noise.diag()
    return model, rows, loadings, noise, centre, covariance


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_approximation_is_exact_for_a_linear_gaussian_model(seed):
    model, rows, _, _, centre, covariance = linear_gaussian_model(seed)
    exact = torch.distributions.MultivariateNormal(centre, covariance)
    with torch.no_grad():
        total = laplace_terms(model, rows).total()
    # The start is linear up to the last bits of its networks.
    assert_allclose(total, exact.log_prob(rows), rtol=1e-6)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 2**4 - 1))
def test_it_is_exact_for_rows_with_gaps_too_and_tells_what_they_widen(seed, seen):
    model, rows, loadings, noise, centre, covariance = linear_gaussian_model(seed)
    seen = torch.tensor([bool(seen >> column & 1) for column in range(4)])
    marginal = torch.distributions.MultivariateNormal(
        centre[seen], covariance[seen][:, seen]
    )
    with torch.no_grad():
        terms = laplace_terms(model, rows.masked_fill(~seen, torch.nan))
    assert_allclose(terms.total(), marginal.log_prob(rows[:, seen]), rtol=1e-6)
    known = loadings[:, 0].square() / noise
    wider = 0.5 * torch.log((1 + known.sum()) / (1 + known[seen].sum()))
    assert_allclose(terms.due_to_gaps, wider.expand(50), rtol=1e-6, atol=1e-12)


def test_contributions_add_up_to_the_score_of_new_rows(detector, frame):
    new = frame.sample(50, replace=True, random_state=0)
    new["c"] += np.random.default_rng(0).standard_normal(50)
    contributions = detector.feature_contributions(new)
    assert_allclose(contributions.sum(axis=1), detector.score_samples(new), rtol=1e-12)


def test_frames_keep_names_and_index(detector, frame):
    contributions, expected = detector.feature_contributions(
        frame, return_expected=True
    )
    assert list(contributions.columns) == [*frame.columns, "latent"]
    assert list(expected.columns) == list(frame.columns)
    assert contributions.index.equals(frame.index)
    assert expected["married"].between(0, 1).all()
    polars, _ = detector.feature_contributions(
        pl.DataFrame(frame), return_expected=True
    )
    assert isinstance(polars, pl.DataFrame)
    assert_allclose(polars.to_numpy(), contributions.to_numpy())
    arrow = detector.feature_contributions(
        pa.Table.from_pandas(frame, preserve_index=False)
    )
    assert isinstance(arrow, pa.Table)
    assert arrow.column_names == list(contributions.columns)
    assert_allclose(np.asarray(arrow), contributions.to_numpy())


def test_arrays_stay_arrays_unless_frames_are_asked_for(table):
    model = ILVAEOutlierDetector(2, max_iter=2, random_state=0).fit(table)
    contributions = model.feature_contributions(table)
    assert isinstance(contributions, np.ndarray)
    with config_context(transform_output="pandas"):
        named = model.feature_contributions(table)
    assert list(named.columns) == ["x0", "x1", "x2", "x3", "x4", "latent"]
    assert_allclose(named.to_numpy(), contributions)


def test_expected_values_are_in_the_units_of_the_table(detector, frame):
    _, expected = detector.feature_contributions(frame, return_expected=True)
    for name in "abcde":
        assert np.corrcoef(expected[name], frame[name])[0, 1] > 0.5
        assert expected[name].mean() == pytest.approx(
            frame[name].mean(), abs=frame[name].std()
        )


def test_a_changed_value_is_the_reason(detector, frame):
    row = frame.iloc[[0]].astype(float)
    row["d"] += 30 * frame["d"].std()
    change = detector.feature_contributions(row) - detector.feature_contributions(
        frame.iloc[[0]]
    )
    assert change.drop(columns="latent").iloc[0].idxmin() == "d"


def test_typical_contributions_are_the_mean_of_the_trusted_rows(detector, frame):
    contributions = detector.feature_contributions(frame)[detector.support_]
    assert_allclose(
        detector.typical_contributions_, contributions.mean(axis=0), rtol=1e-9
    )


def test_explain_prints_the_worst_columns_and_their_sum(detector, frame, capsys):
    detector.explain(frame.iloc[3], n_features=2)
    lines = capsys.readouterr().out.splitlines()
    score = detector.score_samples(frame.iloc[[3]])[0]
    assert lines[0].startswith(f"score {score:.1f}, threshold {detector.offset_:.1f}")
    assert len(lines) == 1 + 1 + 2 + 3
    total = detector.typical_contributions_.sum() - score
    assert float(lines[-1].split()[-1]) == pytest.approx(total, abs=0.06)


@pytest.mark.parametrize("values", ["9", "99999999999"])
@pytest.mark.parametrize("expected", ["9", "99999999999"])
@pytest.mark.parametrize("surprise", [1.0, 1e10])
def test_cells_of_explained_columns_end_where_their_headings_do(
    values, expected, surprise
):
    table = reasons_table("ab", ["1", values], [expected, "1"], [0.5, surprise], 0.0, 2)
    heading, *lines = table.splitlines()
    assert {len(line) for line in lines} == {len(heading)}
    for name, column in (("value", ["1", values]), ("expected", [expected, "1"])):
        end = heading.index(name) + len(name)
        found = sorted(line[:end].split()[-1] for line in lines[:2])
        assert found == sorted(column)


def test_explain_names_a_single_other_column(detector, frame, capsys):
    detector.explain(frame.iloc[[3]], n_features=5)
    printed = capsys.readouterr().out
    assert all(f"\n{name} " in printed for name in frame.columns)
    assert "other column" not in printed


def test_explain_takes_one_row(detector, frame):
    with pytest.raises(ValueError, match="explain takes one row, got 3"):
        detector.explain(frame[:3])
    with pytest.raises(ValueError, match="n_features == 0"):
        detector.explain(frame[:1], n_features=0)


@pytest.mark.parametrize("library", LIBRARIES)
def test_explain_takes_a_row_of_any_library(library, capsys):
    X = LIBRARIES[library](people(40)[["height", "joined"]])
    model = ILVAEOutlierDetector(2, max_iter=1, random_state=0).fit(X)
    model.explain(rows_of(X, [3]))
    assert "joined" in capsys.readouterr().out


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_explain_takes_no_column_for_a_row(frame, library):
    X = LIBRARIES[library](frame)
    model = ILVAEOutlierDetector(2, max_iter=1, random_state=0).fit(X)
    with pytest.raises(ValueError, match="table of two dimensions, got a"):
        model.explain(X["a"])


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("zone", [None, "America/New_York", "Asia/Tokyo"])
@pytest.mark.parametrize(
    ("unit", "printed"), [("D", "2020-01-14"), ("h", "2020-01-14 18:00")]
)
def test_dates_are_printed_as_clocks_show_them(library, zone, unit, printed, capsys):
    steps = pd.to_timedelta(np.arange(40) % 7 * 10, unit=unit)
    when = pd.Timestamp("2020-01-14 18:00", tz=zone) + steps
    X = LIBRARIES[library](pd.DataFrame({"when": when, "x": np.arange(40.0)}))
    model = ILVAEOutlierDetector(2, max_iter=1, random_state=0).fit(X)
    model.explain(rows_of(X, [0]))
    lines = capsys.readouterr().out.splitlines()
    line = next(line for line in lines if line.startswith("when"))
    assert re.split(" {2,}", line)[1] == printed
    centre, _ = model.column_summary_[0]["values"].split(" ± ")
    assert len(centre) == len(printed)


@pytest.mark.parametrize(
    "convert",
    [
        lambda f: pl.DataFrame(f).cast({"when": pl.Date}),
        lambda f: pa.table({"when": pa.array(f["when"], pa.date32()), "x": f["x"]}),
        lambda f: f.astype({"when": "date32[pyarrow]"}),
    ],
    ids=["polars", "pyarrow", "pandas"],
)
def test_dates_without_a_time_of_day_are_printed_so(convert, capsys):
    when = pd.Timestamp("2020-01-14") + pd.to_timedelta(np.arange(40) % 7, unit="D")
    X = convert(pd.DataFrame({"when": when, "x": np.arange(40.0)}))
    model = ILVAEOutlierDetector(2, max_iter=1, random_state=0).fit(X)
    model.explain(rows_of(X, [0]))
    assert "00:00" not in capsys.readouterr().out
    assert re.match(r"2020-01-1\d ± ", model.column_summary_[0]["values"])


COLUMNS_A_ROW_DOES_NOT_TELL = {
    "categories that are numbers": lambda f: f["married"].astype("category"),
    "categories that are intervals": lambda f: pd.cut(f["a"], 3),
    "categories that are dates": lambda f: dates(f).astype("category"),
    "dates of pyarrow": lambda f: dates(f).dt.date.astype(pd.ArrowDtype(pa.date32())),
    "decimal numbers": lambda f: f["married"].astype(pd.ArrowDtype(pa.decimal128(19))),
}


def dates(frame):
    return pd.Timestamp("2020-01-01") + pd.to_timedelta(frame["married"], unit="D")


@pytest.mark.parametrize(
    "make",
    COLUMNS_A_ROW_DOES_NOT_TELL.values(),
    ids=COLUMNS_A_ROW_DOES_NOT_TELL,
)
def test_explain_takes_a_row_of_any_dtypes(frame, make, capsys):
    X = frame.assign(married=make(frame))
    model = ILVAEOutlierDetector(2, max_iter=1, random_state=0).fit(X)
    model.explain(X.iloc[3], n_features=6)
    whole = capsys.readouterr().out
    model.explain(X.iloc[[3]], n_features=6)
    assert capsys.readouterr().out == whole


def test_explain_takes_a_row_whose_category_is_missing(capsys):
    frame = people(60, gaps=0.2)
    row = frame.loc[int(np.flatnonzero(frame["city"].isna())[0])]
    model = ILVAEOutlierDetector(2, max_iter=2, random_state=0).fit(frame)
    model.explain(row, n_features=frame.shape[1])
    assert "city" in capsys.readouterr().out


def test_values_are_printed_as_people_write_them(capsys):
    rng = np.random.default_rng(0)
    incomes = rng.normal(50_000, 10_000, 40).round(2)
    X = pd.DataFrame({"income": incomes, "member": rng.random(40) < 0.5})
    X.loc[0] = [54_321.98, True]
    model = ILVAEOutlierDetector(1, max_iter=1, random_state=0).fit(X)
    model.explain(X.iloc[[0]])
    lines = [re.split(" {2,}", each) for each in capsys.readouterr().out.splitlines()]
    values = {name: cells[0] for name, *cells in lines if cells}
    assert values["income"] == "54322"
    assert values["member"] == "True"
    assert "e+" not in model.column_summary_[0]["values"]


@pytest.mark.parametrize(("centre", "spread"), [(47.3769, 1e-3), (1.7e12, 1e6)])
def test_values_far_from_zero_are_printed_to_a_tenth_of_their_spread(
    centre, spread, capsys
):
    """Else a coordinate, or a time in milliseconds, would look as it is expected."""
    rows = centre + spread * np.random.default_rng(0).normal(size=(40, 2))
    X = pd.DataFrame(rows, columns=["place", "other"])
    model = ILVAEOutlierDetector(1, max_iter=1, random_state=0).fit(X)
    odd = X.head(1).assign(place=centre + 3 * spread)
    model.explain(odd)
    lines = [re.split(" {2,}", each) for each in capsys.readouterr().out.splitlines()]
    value = next(float(cells[0]) for name, *cells in lines if name == "place")
    assert_allclose(value, odd.at[0, "place"], rtol=0, atol=spread / 10)
    mean, _ = model.column_summary_[0]["values"].split(" ± ")
    assert_allclose(float(mean), model.transformer_.mean_[0], rtol=0, atol=spread / 10)


def test_values_far_out_have_no_more_digits_than_others(capsys):
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 2)), columns=["a", "b"])
    model = ILVAEOutlierDetector(1, max_iter=1, random_state=0).fit(X)
    model.explain(X.head(1).assign(a=1.23456789e26))
    assert re.search(r"a +1\.235e\+26 ", capsys.readouterr().out)


def test_numbers_that_are_categories_are_printed_as_the_table_has_them(capsys):
    codes = np.arange(40) % 2
    X = pd.DataFrame({"postcode": 1_234_567 + codes, "member": codes == 1})
    names = ["postcode", "member"]
    model = ILVAEOutlierDetector(1, categorical_features=names, max_iter=1).fit(X)
    model.explain(X.iloc[[1]])
    lines = [re.split(" {2,}", each) for each in capsys.readouterr().out.splitlines()]
    values = {name: cells[0] for name, *cells in lines if cells}
    assert values["postcode"] == "1234568"
    assert values["member"] == "True"
    assert [each["values"] for each in model.column_summary_] == [
        "2 levels: 1234567, 1234568",
        "2 levels: False, True",
    ]


def test_blank_levels_are_printed_in_quotes(capsys):
    X = pd.DataFrame({"city": ["", "  ", "Bern"] * 10, "height": np.arange(30.0)})
    model = ILVAEOutlierDetector(1, max_iter=1, random_state=0).fit(X)
    model.explain(X.iloc[[0]])
    assert re.search("city +'' ", capsys.readouterr().out)
    assert model.column_summary_[0]["values"] == "3 levels: '', '  ', Bern"


YEARS = [2019, 2020, 2021, 2022, 2023, 2024]
PAIRS = pd.MultiIndex.from_product([["height", "width"], [1, 2, 3]])


@pytest.mark.parametrize("names", [YEARS, PAIRS], ids=["numbers", "pairs"])
def test_reasons_name_columns_as_their_frame_does(frame, names, capsys):
    X = frame.set_axis(names, axis=1)
    model = ILVAEOutlierDetector(2, max_iter=1, random_state=0).fit(X)
    contributions, expected = model.feature_contributions(X, return_expected=True)
    assert list(contributions) == [*names, "latent"]
    assert list(expected) == list(names)
    model.explain(X.iloc[[0]], n_features=6)
    printed = capsys.readouterr().out
    assert all(f"\n{name} " in printed for name in names)
    with config_context(transform_output="polars"):
        polars = model.feature_contributions(X)
    assert polars.columns == [*map(str, names), "latent"]


def test_a_column_may_be_called_latent(frame):
    frame = frame.rename(columns={"e": "latent"})
    model = ILVAEOutlierDetector(2, max_iter=1, random_state=0).fit(frame)
    assert list(model.feature_contributions(frame).columns)[-1] == "latent_"
