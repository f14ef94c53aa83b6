"""Every family of likelihoods against torch.distributions and against itself."""

import pytest
import torch
from autoencoders import randomise
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import normal
from scipy import stats
from torch import distributions

from sklearn_ilvae.vae.likelihoods import (
    COUNTS,
    FAMILIES,
    LEVELS,
    VARIANCE_FLOOR,
    MixedLikelihood,
    zero_sum_basis,
    zero_sum_logits,
)
from sklearn_ilvae.vae.likelihoods.continuous import StudentTHead
from sklearn_ilvae.vae.observed import observed_mean

TABLES = [
    *((family,) * 3 for family in FAMILIES),
    ("bernoulli", "gaussian", "bernoulli"),
    FAMILIES,
    ("categorical", "none", "gaussian", "categorical", "poisson"),
]
by_table = pytest.mark.parametrize("families", TABLES, ids="-".join)


def levels_of(families):
    """Level counts 2, 3, 4 … for the columns that have levels."""
    return [
        2 + number % 3 if family in LEVELS else 1
        for number, family in enumerate(families)
    ]


def random_likelihood(families):
    likelihood = MixedLikelihood(families, levels_of(families)).double()
    return randomise(likelihood, 0.5, 0)


def natural(likelihood, n_rows, seed=1):
    return normal(n_rows, likelihood.n_parameters, seed=seed)


@torch.no_grad()
def drawn(likelihood, parameters, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return likelihood.sample(parameters, generator)


def as_distribution(head, family, parameters):
    """The distribution of torch that one column of a head stands for."""
    if family == "gaussian":
        return distributions.Normal(parameters[..., 0], head.variance().sqrt())
    if family == "student_t":
        scale = head.squared_scale().sqrt()
        return distributions.StudentT(head.freedom(), parameters[..., 0], scale)
    if family == "bernoulli":
        return distributions.Bernoulli(logits=parameters[..., 0] + head.logit_offset)
    if family == "categorical":
        logits = (parameters + head.logit_offset) @ zero_sum_basis(4).T
        return distributions.Categorical(logits=logits)
    if family == "ordinal":
        at_most = torch.sigmoid(head.thresholds() - parameters)
        edges = torch.nn.functional.pad(at_most, (1, 0))
        edges = torch.nn.functional.pad(edges, (0, 1), value=1.0)
        return distributions.Categorical(probs=edges.diff())
    mean = (parameters[..., 0] + head.log_rate_offset).exp()
    if family == "poisson":
        return distributions.Poisson(mean)
    size = head.log_size.exp()
    return distributions.NegativeBinomial(size, probs=mean / (mean + size))


@pytest.mark.parametrize("family", FAMILIES)
def test_log_prob_is_that_of_torch_distributions(family):
    likelihood = MixedLikelihood([family], [4 if family in LEVELS else 1]).double()
    randomise(likelihood, 0.5, 0)
    parameters = natural(likelihood, 50)
    rows = drawn(likelihood, parameters)
    expected = as_distribution(likelihood.heads[0], family, parameters).log_prob(
        rows[:, 0]
    )
    torch.testing.assert_close(likelihood.log_prob(rows, parameters), expected)


@by_table
def test_columns_add_up_to_the_row(families):
    likelihood = random_likelihood(families)
    parameters = natural(likelihood, 20)
    rows = drawn(likelihood, parameters)
    rows[:, [kind == "none" for kind in families]] = 0
    columns = likelihood.column_log_prob(rows, parameters)
    torch.testing.assert_close(columns.sum(-1), likelihood.log_prob(rows, parameters))


@by_table
def test_score_is_the_gradient(families):
    likelihood = random_likelihood(families)
    parameters = natural(likelihood, 20).requires_grad_()
    rows = drawn(likelihood, natural(likelihood, 20, seed=2))
    rows[::3, 0] = torch.nan
    log_prob = likelihood.log_prob(rows, parameters).sum()
    (gradient,) = torch.autograd.grad(log_prob, parameters)
    torch.testing.assert_close(likelihood.score(rows, parameters), gradient)


@pytest.mark.parametrize(
    "families",
    [each for each in TABLES if not {"student_t", "negative_binomial"} & {*each}],
    ids="-".join,
)
def test_information_is_the_curvature_of_the_log_likelihood(families):
    likelihood = random_likelihood(families)
    parameters = natural(likelihood, 20)
    rows = drawn(likelihood, parameters)
    rows[::3, 0] = torch.nan
    slopes = normal(4, *parameters.shape, seed=2)
    steps = torch.zeros(20, 4, dtype=torch.float64, requires_grad=True)
    moved = parameters + torch.einsum("ns,snp->np", steps, slopes)
    log_prob = likelihood.log_prob(rows, moved).sum()
    (gradient,) = torch.autograd.grad(log_prob, steps, create_graph=True)
    curvatures = [
        torch.autograd.grad(column.sum(), steps, retain_graph=True)[0]
        for column in gradient.T
    ]
    expected = -torch.stack(curvatures, dim=1)
    found = likelihood.information(rows, parameters, slopes, gaps=True)
    torch.testing.assert_close(found, expected)
    complete = rows.isfinite().all(1)
    part = rows[complete], parameters[complete], slopes[:, complete]
    found = likelihood.information(*part, gaps=False)
    torch.testing.assert_close(found, expected[complete])


def test_the_curvature_of_a_negative_binomial_is_its_fisher_information():
    likelihood = random_likelihood(("negative_binomial",))
    (head,) = likelihood.heads
    parameters = natural(likelihood, 10)
    counts = torch.arange(2000.0).double()[:, None, None]
    probabilities = head.log_prob(counts, parameters).exp()
    expected = (probabilities * head.score(counts, parameters).square()).sum(0)
    few = counts[:20]  # counts far above a rate have another curvature
    found = head.curvature(few, parameters)
    torch.testing.assert_close(found, expected.expand_as(found))


@pytest.mark.parametrize("family", ["gaussian", "student_t"])
def test_the_curvature_and_the_squared_score_have_the_expected_information(family):
    """Integrated over values from -1e13 to 1e13, evenly in their inverse sinh."""
    likelihood = random_likelihood((family,) * 3)
    (head,) = likelihood.heads
    place = torch.linspace(-31, 31, 20_001, dtype=torch.float64)[:, None]
    here, values = natural(likelihood, 1), place.sinh()
    density = head.log_prob(values, here).exp() * place.cosh()
    for found in (head.score(values, here).square(), head.curvature(values, here)):
        mean = torch.trapezoid(density * found, place[:, 0], dim=0)
        torch.testing.assert_close(likelihood.expected_information(), mean)


@by_table
def test_a_missing_value_adds_nothing_and_passes_no_gradient(families):
    likelihood = random_likelihood(families)
    parameters = natural(likelihood, 20).requires_grad_()
    rows = drawn(likelihood, parameters.detach())
    rows[:, [kind == "none" for kind in families]] = 0
    columns = likelihood.column_log_prob(rows, parameters)
    rows[:, 0] = torch.nan
    observed = likelihood.log_prob(rows, parameters)
    torch.testing.assert_close(observed, columns[:, 1:].sum(-1))
    observed.sum().backward()
    assert parameters.grad.isfinite().all()
    assert all(
        each.grad is None or each.grad.isfinite().all()
        for each in likelihood.parameters()
    )


@by_table
def test_draws_of_codes_broadcast_over_rows(families):
    likelihood = random_likelihood(families)
    rows = drawn(likelihood, natural(likelihood, 5))
    parameters = natural(likelihood, 3 * 5).unflatten(0, (3, 5))
    together = likelihood.log_prob(rows, parameters)
    apart = torch.stack([likelihood.log_prob(rows, each) for each in parameters])
    torch.testing.assert_close(together, apart)


@pytest.mark.parametrize("family", FAMILIES)
def test_samples_have_the_expected_statistics(family):
    likelihood = random_likelihood((family,) * 3)
    if family == "student_t":  # 4 standard errors speak of finite variances
        torch.nn.init.constant_(likelihood.heads[0].log_freedom, 3.0)
    parameters = natural(likelihood, 1)
    rows = drawn(likelihood, parameters.expand(40_000, -1))
    with torch.no_grad():
        statistics = likelihood.statistics(parameters)[0]
    if family in LEVELS:
        n_levels = levels_of((family,) * 3)
        rows = torch.cat(
            [
                torch.nn.functional.one_hot(column.long(), size)
                for column, size in zip(rows.T, n_levels, strict=True)
            ],
            dim=1,
        ).double()
    error = (rows.mean(0) - statistics) / (rows.std(0) / len(rows) ** 0.5)
    assert error.abs().max() < 4


@pytest.mark.parametrize("family", ["gaussian", "student_t"])
def test_samples_of_numbers_follow_their_distribution(family):
    likelihood = random_likelihood((family,) * 3)
    (head,), parameters = likelihood.heads, natural(likelihood, 1)
    rows = drawn(likelihood, parameters.expand(20_000, -1))
    with torch.no_grad():
        if family == "gaussian":
            law = stats.norm(parameters, head.variance().sqrt())
        else:
            law = stats.t(head.freedom(), parameters, head.squared_scale().sqrt())
    for column in law.cdf(rows).T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("family", COUNTS)
def test_counts_are_drawn_as_often_as_they_are_probable(family):
    likelihood = random_likelihood((family,))
    parameters, counts = natural(likelihood, 1), torch.arange(6.0).double()[:, None]
    rows = drawn(likelihood, parameters.expand(40_000, -1))
    with torch.no_grad():
        expected = likelihood.log_prob(counts, parameters.expand(6, -1)).exp()
    found = (rows == counts.T).double().mean(0)
    error = (expected * (1 - expected) / len(rows)).sqrt()
    assert ((found - expected).abs() < 4 * error).all()


def test_a_row_decided_on_has_means_and_most_probable_levels():
    likelihood = MixedLikelihood(("gaussian", "categorical", "none"), (1, 3, 1))
    statistics = torch.tensor([[0.5, 0.2, 0.7, 0.1], [-1.0, 0.6, 0.2, 0.2]])
    expected = torch.tensor([[0.5, 1, torch.nan], [-1, 0, torch.nan]])
    torch.testing.assert_close(likelihood.decide(statistics), expected, equal_nan=True)


def test_a_level_that_stands_for_several_counts_as_its_most_frequent():
    likelihood = MixedLikelihood(("gaussian", "categorical", "none"), (1, 3, 1))
    statistics = torch.tensor([[0.5, 0.2, 0.7, 0.1], [-1.0, 0.1, 0.9, 0.0]])
    shares = torch.tensor([1, 1, 0.25, 1])
    expected = torch.tensor([[0.5, 0, torch.nan], [-1, 1, torch.nan]])
    decided = likelihood.decide(statistics, shares)
    torch.testing.assert_close(decided, expected, equal_nan=True)


@given(st.integers(2, 30), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_zero_sum_logits_sum_to_zero_and_keep_distances(n_levels, seed):
    coordinates = normal(2, n_levels - 1, seed=seed)
    logits = zero_sum_logits(coordinates)
    torch.testing.assert_close(logits.sum(-1), torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(
        logits.diff(dim=0).norm(), coordinates.diff(dim=0).norm()
    )
    basis = zero_sum_basis(n_levels)
    torch.testing.assert_close(coordinates @ basis.T, logits)


@pytest.mark.parametrize("families", [(family,) * 3 for family in FAMILIES], ids=str)
def test_columns_start_at_their_own_distribution(families):
    likelihood = random_likelihood(families)
    rows = drawn(likelihood, natural(likelihood, 1).expand(2000, -1))
    rows[::5] = torch.nan
    shares = torch.full((2000,), 1 / 2000, dtype=torch.float64)
    started = MixedLikelihood(families, levels_of(families)).double()
    noise = torch.ones(started.n_parameters, dtype=torch.float64)
    started.start_at(noise, rows, shares)
    assert all(each.isfinite().all() for each in started.parameters())
    if families[0] in ("gaussian", "student_t"):
        return  # whose mean is 0 by standardisation
    zero = torch.zeros(1, started.n_parameters, dtype=torch.float64)
    seen = rows[~rows[:, 0].isnan()]
    if families[0] in LEVELS:
        modes = started.mean(zero)[0]
        torch.testing.assert_close(modes, seen.mode(dim=0).values)
    else:
        found = started.mean(zero)[0]
        torch.testing.assert_close(found, seen.mean(0), rtol=1e-6, atol=1e-6)


def test_ordered_levels_start_at_their_frequencies_however_rare():
    likelihood = MixedLikelihood(["ordinal"], [4]).double()
    rows = torch.tensor([0, 1, 3]).repeat(2000, 1).double().T.reshape(-1, 1)
    shares = torch.full((6000,), 1 / 6000).double()
    likelihood.start_at(torch.ones(1), rows, shares)
    found = likelihood.statistics(torch.zeros(1, 1).double())[0]
    expected = torch.tensor([1 / 3, 1 / 3, 0, 1 / 3]).double()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("noise", [0.2, 0.7])
def test_numbers_start_with_the_variance_of_their_noise(noise):
    likelihood = randomise(MixedLikelihood(["gaussian", "student_t"]), 1.0, 0)
    likelihood.start_at(torch.full((2,), noise), torch.zeros(3, 2), torch.ones(3) / 3)
    normal, heavy = likelihood.heads
    assert normal.variance().item() == pytest.approx(noise)
    freedom = heavy.freedom().item()
    variance = heavy.squared_scale().item() * freedom / (freedom - 2)
    assert variance == pytest.approx(noise)


def test_variances_have_a_floor():
    for family in ("gaussian", "student_t"):
        (head,) = MixedLikelihood([family]).heads
        torch.nn.init.constant_(head.raw_variance, -1000.0)
        scale = head.variance() if family == "gaussian" else head.squared_scale()
        assert scale.item() == pytest.approx(VARIANCE_FLOOR)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [-1e4, 1e4])
def test_extreme_parameters_have_finite_likelihoods_and_gradients(family, size):
    likelihood = MixedLikelihood([family], [4 if family in LEVELS else 1])
    parameters = torch.full((4, likelihood.n_parameters), size).requires_grad_()
    rows = torch.tensor([[0.0], [1.0], [0.0], [1.0]])
    log_prob = likelihood.log_prob(rows, parameters).sum()
    log_prob.backward()
    assert log_prob.isfinite()
    assert parameters.grad.isfinite().all()


@given(st.floats(-10, 200), st.floats(-5, 5))
@settings(deadline=None)
def test_a_student_t_of_many_degrees_of_freedom_is_gaussian(log_freedom, value):
    row = torch.tensor([[value]], dtype=torch.float64)
    head = StudentTHead(1).double()
    torch.nn.init.constant_(head.log_freedom, log_freedom)
    exact = head.log_prob(row, torch.zeros(1, 1, dtype=torch.float64))
    found = head.float().log_prob(row.float(), torch.zeros(1, 1))
    torch.testing.assert_close(found, exact.float(), rtol=1e-5, atol=5e-4)
    if log_freedom > 10:
        gaussian = distributions.Normal(0.0, head.squared_scale().sqrt().double())
        # The relative difference of the densities is (z⁴ − 2z² − 1) / 4ν: at most 0.15.
        torch.testing.assert_close(exact, gaussian.log_prob(row), rtol=0, atol=0.15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_column_without_values_has_the_mean_zero(dtype):
    values = torch.tensor([[torch.nan, 1.0], [torch.nan, torch.nan]], dtype=dtype)
    mean = observed_mean(values, torch.full((2,), 0.5, dtype=dtype))
    torch.testing.assert_close(mean, torch.tensor([0.0, 1.0], dtype=dtype))


@pytest.mark.parametrize("family", COUNTS)
def test_log_probabilities_of_counts_have_second_derivatives(family):
    (head,) = MixedLikelihood([family] * 2).double().heads
    values = torch.tensor([[0.0, 7.0]], dtype=torch.float64)

    def by_torch(natural):
        law = as_distribution(head, family, natural[..., None])
        return law.log_prob(values).sum()

    natural = torch.tensor([[0.3, 1.0]], dtype=torch.float64)
    found = torch.autograd.functional.hessian(
        lambda each: head.log_prob(values, each).sum(), natural
    )
    torch.testing.assert_close(
        found, torch.autograd.functional.hessian(by_torch, natural)
    )


@pytest.mark.parametrize("family", COUNTS)
def test_slopes_of_counts_are_the_same_where_second_derivatives_are_asked_for(family):
    (head,) = MixedLikelihood([family] * 2).double().heads
    values = torch.tensor([[0.0, 7.0]], dtype=torch.float64)
    natural = torch.tensor([[0.3, 1.0]], dtype=torch.float64, requires_grad=True)
    plain, differentiable = (
        torch.autograd.grad(
            head.log_prob(values, natural).sum(),
            [natural, *head.parameters()],
            create_graph=again,
        )
        for again in (False, True)
    )
    torch.testing.assert_close(differentiable, plain)
