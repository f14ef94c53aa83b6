"""Skewed columns, bent by a power: the transform, its choice, and models with it."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mixed import short
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import spearmanr, yeojohnson
from sklearn.preprocessing import PowerTransformer

from sklearn_ilvae import ILVAEOutlierDetector, ILVAETransformer, metrics
from sklearn_ilvae._columns.powers import (
    PowerScale,
    find_powers,
    inverse_yeo_johnson,
    yeo_johnson,
)

powers = st.integers(0, 20).map(lambda tenths: tenths / 10)
values = st.floats(-50, 50)


def tensor(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def skewed(n_rows=300, seed=0):
    """Two columns that follow a factor: an even one, and one of its exponential."""
    rng = np.random.default_rng(seed)
    factor = rng.standard_normal(n_rows)
    noise = 0.3 * rng.standard_normal((2, n_rows))
    return np.column_stack([factor + noise[0], np.exp(1.5 * factor + noise[1])])


def found(column, weights=None, allowed=True):
    column = np.asarray(column, dtype=float)
    standard = (column - np.nanmean(column)) / np.nanstd(column)
    weights = torch.ones(len(column)) if weights is None else torch.tensor(weights)
    rows = torch.tensor(standard)[:, None]
    return find_powers(rows, weights, torch.tensor([allowed]))


class TestTransform:
    @given(values, powers)
    def test_is_that_of_scipy(self, value, power):
        found = yeo_johnson(tensor(value), tensor(power)).item()
        expected = yeojohnson(np.array([value]), lmbda=power).item()
        assert_allclose(found, expected, rtol=1e-12, atol=1e-300)

    @given(values, powers)
    def test_can_be_undone(self, value, power):
        bent = yeo_johnson(tensor(value), tensor(power))
        back = inverse_yeo_johnson(bent, tensor(power))
        assert_allclose(back, tensor(value), rtol=1e-9, atol=1e-300)

    @given(st.floats(-1e6, 1e6), powers)
    def test_every_number_is_the_transform_of_one(self, value, power):
        # Of e**1000 there is no float64; on a scale of logarithms a thousand is far.
        value = max(-300, min(value, 300))
        power = tensor(power)
        bent = yeo_johnson(inverse_yeo_johnson(tensor(value), power), power)
        assert_allclose(bent, tensor(value), rtol=1e-9)

    @given(values.filter(bool), powers)
    def test_slopes_are_its_derivative(self, value, power):
        row = tensor(value).requires_grad_()
        scale = PowerScale(tensor(power), tensor(0.3), tensor(1.7))
        (slope,) = torch.autograd.grad(scale.transform(row).sum(), row)
        assert_allclose(
            scale.log_slopes(row.detach()).item(), slope.log().item(), atol=1e-9
        )

    def test_leaves_other_columns_as_they_are(self):
        rows = torch.randn(50, 3, dtype=torch.float64)
        scale = PowerScale(tensor(1, 0.5, 1), tensor(0, 0.1, 0), tensor(1, 0.7, 1))
        bent = scale.transform(rows)
        assert_array_equal(bent[:, [0, 2]], rows[:, [0, 2]])
        assert (bent[:, 1] != rows[:, 1]).all()
        assert_array_equal(scale.inverse_transform(bent)[:, [0, 2]], rows[:, [0, 2]])
        assert_array_equal(scale.log_slopes(rows)[:, [0, 2]], np.zeros((50, 2)))

    def test_of_a_missing_value_is_missing(self):
        scale = PowerScale(tensor(0.5), tensor(0.1), tensor(0.7))
        assert scale.transform(tensor(np.nan)).isnan().all()
        assert scale.inverse_transform(tensor(np.nan)).isnan().all()
        assert_array_equal(scale.log_slopes(tensor(np.nan)), [0])


class TestChoice:
    def test_is_near_that_of_scikit_learn(self):
        column = np.random.default_rng(0).gamma(1.5, size=5000)
        standard = (column - column.mean()) / column.std()
        (expected,) = PowerTransformer().fit(standard[:, None]).lambdas_
        assert_allclose(found(column).power, expected, atol=0.15)

    def test_of_an_even_column_is_none(self):
        column = np.random.default_rng(0).standard_normal(300)
        assert_array_equal(found(column).power, [1])

    def test_of_a_mirrored_column_is_mirrored(self):
        column = np.random.default_rng(0).gamma(1, size=300)
        one, other = found(column), found(-column)
        assert_allclose(other.power, 2 - one.power)
        assert one.power < 0.5
        assert_allclose(other.centre, -one.centre)
        assert_allclose(other.spread, one.spread)

    def test_standardises_what_it_bends(self):
        column = np.random.default_rng(0).gamma(1, size=300)
        column[::7] = np.nan
        scale = found(column)
        standard = (column - np.nanmean(column)) / np.nanstd(column)
        bent = scale.transform(torch.tensor(standard)[:, None])
        assert_allclose([bent.nanmean(), np.nanstd(bent)], [0, 1], atol=1e-12)

    @pytest.mark.parametrize("far", [50, -50])
    def test_does_not_follow_a_few_values_far_out(self, far):
        column = np.random.default_rng(0).standard_normal(1000)
        column[:5] = far
        assert_array_equal(found(column).power, [1])

    def test_looks_at_all_of_a_long_table(self):
        column = np.random.default_rng(0).gamma(1, size=30_000)
        some = found(column[:10_000]).power
        assert_allclose(found(np.sort(column)).power, some, atol=0.1)

    def test_is_no_matter_of_a_few_levels(self):
        levels = np.repeat(np.arange(10.0), 2 ** np.arange(10)[::-1])
        assert_array_equal(found(levels**2).power, [1])

    @pytest.mark.parametrize("value", [0.0, 0.1, 7.3])
    def test_is_no_matter_of_a_column_that_mostly_holds_one_value(self, value):
        column = np.full(3000, value)
        column[:25] += np.random.default_rng(0).gamma(1, size=25)
        assert_array_equal(found(column).power, [1])

    def test_counts_rows_by_their_weights(self):
        column = np.random.default_rng(0).gamma(1, size=200)
        weights = np.random.default_rng(1).integers(1, 4, 200)
        centre = np.average(column, weights=weights)
        spread = np.sqrt(np.average((column - centre) ** 2, weights=weights))
        standard = torch.tensor((column - centre) / spread)[:, None]
        allowed = torch.tensor([True])
        weighted = find_powers(standard, torch.tensor(weights), allowed)
        repeated = standard.repeat_interleave(torch.tensor(weights), 0)
        expected = find_powers(repeated, torch.ones(len(repeated)), allowed)
        assert_array_equal(weighted.power, expected.power)
        assert_allclose(weighted.centre, expected.centre)
        assert_allclose(weighted.spread, expected.spread)

    def test_is_asked_for(self):
        column = np.random.default_rng(0).gamma(1, size=300)
        assert_array_equal(found(column, allowed=False).power, [1])


# Estimators


@pytest.fixture(scope="module")
def bent():
    return ILVAETransformer(1, power_transform=True, random_state=0).fit(skewed())


def test_skewed_columns_alone_are_transformed(bent):
    assert bent.lambdas_[0] == 1
    assert bent.lambdas_[1] < 0.5
    assert [each["values"].count("λ") for each in bent.column_summary_] == [0, 1]


def test_default_transforms_none():
    model = short().fit(skewed())
    assert_array_equal(model.lambdas_, [1, 1])


def test_likelihood_of_skewed_columns_gains(bent):
    plain = ILVAETransformer(1, random_state=0).fit(skewed())
    new = skewed(seed=1)
    assert bent.score(new) > plain.score(new) + 0.3


def test_densities_are_those_of_the_table(bent):
    # Of one column, so that they can be summed over all values that it may have.
    column = skewed()[:, 1:]
    model = short(n_components=1, max_iter=20, power_transform=True).fit(column)
    assert model.lambdas_ < 1
    model.set_params(n_importance_samples=2000)
    ends = np.sinh(np.linspace(-10, 10, 2001))
    density = np.exp(model.score_samples((ends[1:, None] + ends[:-1, None]) / 2))
    assert_allclose((density * np.diff(ends)).sum(), 1, atol=0.01)


def test_rows_are_drawn_filled_and_decoded_in_the_units_of_the_table(bent):
    table = skewed()
    drawn = bent.sample(30_000, random_state=0)
    shares = [0.25, 0.5, 0.75, 0.9]
    expected = np.quantile(table[:, 1], shares)
    assert_allclose(np.quantile(drawn[:, 1], shares), expected, rtol=0.25)
    gappy = np.column_stack([table[:, 0], np.full(len(table), np.nan)])
    filled = bent.impute(gappy)[:, 1]
    assert spearmanr(filled, table[:, 1]).statistic > 0.8
    decoded = bent.inverse_transform(bent.transform(table))[:, 1]
    assert spearmanr(decoded, table[:, 1]).statistic > 0.8


def test_certificate_holds_on_the_scale_of_the_network(bent):
    codes = torch.randn(200, 1)
    decoded = bent.module_.decoder(codes).detach()
    apart = torch.pdist(decoded) / torch.pdist(codes)
    assert apart.min() >= bent.inverse_lipschitz_ * (1 - 1e-5)
    fisher = metrics.relative_fisher_divergence(bent, skewed())
    assert (fisher >= metrics.fisher_divergence_lower_bound(bent, skewed())).all()


def test_a_batch_goes_on_with_the_fitted_transform():
    model = short(power_transform=True).fit(skewed())
    before = model.lambdas_.copy()
    model.partial_fit(skewed(seed=1)[:, ::-1].copy())
    assert_array_equal(model.lambdas_, before)


@pytest.mark.parametrize("fitted", [False, True])
def test_a_fit_cannot_go_on_with_the_other(fitted):
    model = short(power_transform=fitted, warm_start=True).fit(skewed())
    model.set_params(power_transform=not fitted)
    with pytest.raises(ValueError, match=f"power_transform={fitted}"):
        model.fit(skewed())


def test_weights_of_zero_have_no_effect():
    table = skewed()
    model = short(power_transform=True).fit(table)
    padded = np.concatenate([table, 100 - table[:50]])
    weights = np.repeat([1, 0], [len(table), 50])
    again = short(power_transform=True).fit(padded, sample_weight=weights)
    assert_array_equal(again.lambdas_, model.lambdas_)


def test_dates_durations_and_other_kinds_stay_what_they_are():
    rng = np.random.default_rng(0)
    days = pd.to_timedelta(np.round(100 * rng.gamma(1, size=200)), unit="D")
    frame = pd.DataFrame(
        {
            "joined": pd.Timestamp("2000-01-01") + days,
            "wait": days,
            "visits": rng.poisson(np.exp(2 + rng.standard_normal(200))),
            "city": rng.choice(["Oslo", "Rome"], 200),
        }
    )
    model = short(likelihood={"visits": "poisson"}, power_transform=True).fit(frame)
    assert (model.lambdas_ < 1).tolist() == [True, True, False, False]
    drawn = model.sample(20, random_state=0)
    assert drawn.dtypes.equals(frame.dtypes)
    assert (drawn["joined"] >= frame["joined"].min()).all()


def test_a_detector_scores_on_the_transformed_scale():
    table = skewed()
    detector = ILVAEOutlierDetector(
        1, power_transform=True, max_iter=20, random_state=0
    )
    scores = detector.fit(table).score_samples(table)
    assert (detector.transformer_.lambdas_ < 1).tolist() == [False, True]
    assert_allclose(detector.feature_contributions(table).sum(1), scores)
    odd = [[0, 1e4], [0, -5]]
    assert detector.score_samples(odd).max() < scores.min()
    terms = detector.feature_contributions(odd)
    assert_array_equal(terms[:, :2].argmin(1), [1, 1])
