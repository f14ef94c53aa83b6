"""The inverse-Lipschitz constant that decoders certify, against what they do."""

from typing import Any, NamedTuple

import pytest
import torch
from autoencoders import CERTIFIED, random_decoder, randomise, trained
from hypothesis import given, settings
from hypothesis import strategies as st
from mixed import people, short
from torch.nn import functional

from sklearn_ilvae.metrics import (
    fisher_divergence_lower_bound,
    relative_fisher_divergence,
)
from sklearn_ilvae.vae import make_decoder
from sklearn_ilvae.vae.maps import ConvexNetworkGradientMap, RidgeGradientMap
from sklearn_ilvae.vae.networks import ACTIVATIONS, jacobian_at_zero

DTYPES = [torch.float32, torch.float64]
SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.sampled_from([0.0, 1e-3, 0.1, 1.0, 3.0])
ANY_ACTIVATION = st.sampled_from(sorted(ACTIVATIONS))
LAYERS = st.lists(st.integers(1, 12), min_size=1, max_size=3)
MANY = settings(max_examples=100, deadline=None)


class Case(NamedTuple):
    decoder: Any
    n_components: int
    asked: float
    dtype: torch.dtype
    seed: int


@st.composite
def cases(draw, dtypes=DTYPES):
    n_features = draw(st.integers(1, 8))
    n_components = draw(st.integers(1, n_features))
    asked = draw(st.sampled_from([0.0, 1e-3, 0.25, 1.0, 3.0]))
    seed, dtype = draw(SEEDS), draw(st.sampled_from(dtypes))
    decoder = random_decoder(
        draw(st.sampled_from(CERTIFIED)),
        n_features,
        n_components,
        draw(LAYERS),
        draw(ANY_ACTIVATION),
        asked,
        draw(SIZES),
        seed,
        dtype,
    )
    return Case(decoder, n_components, asked, dtype, seed)


def pairs(n_components, distance, spread, seed, dtype):
    """50 points around the origin, and one at a given distance from each."""
    generator = torch.Generator().manual_seed(seed)
    here = spread * torch.randn(50, n_components, generator=generator)
    step = torch.randn(50, n_components, generator=generator)
    step = distance * step / step.norm(dim=-1, keepdim=True)
    return here.to(dtype), (here + step).to(dtype)


@torch.no_grad()
def assert_apart(decoder, here, there):
    """``‖f(a) − f(b)‖ ≥ L‖a − b‖``, up to the rounding of the terms of f(a) and f(b).

    The shifts of two maps may cancel, and leave the rounding of either.
    """
    near, far = decoder(here), decoder(there)
    constant = decoder.inverse_lipschitz()
    shifts = sum(p.norm() for name, p in decoder.named_parameters() if "shift" in name)
    terms = near.norm(dim=-1) + far.norm(dim=-1) + shifts
    rounding = 16 * torch.finfo(here.dtype).eps * terms
    apart = (near - far).norm(dim=-1)
    assert (apart + rounding >= constant * (here - there).norm(dim=-1)).all()


def jacobians(function, codes):
    return torch.func.vmap(torch.func.jacrev(function))(codes)


@MANY
@given(cases(), st.sampled_from([1e-4, 1.0, 1e3]), st.sampled_from([0.1, 1.0, 30.0]))
def test_random_decoders_keep_codes_apart(case, distance, spread):
    here, there = pairs(case.n_components, distance, spread, case.seed, case.dtype)
    assert_apart(case.decoder, here, there)


@MANY
@given(cases(dtypes=[torch.float64]), st.sampled_from([0.1, 1.0, 30.0]))
def test_jacobian_has_no_singular_value_below_the_certificate(case, spread):
    codes, _ = pairs(case.n_components, 1.0, spread, case.seed, case.dtype)
    singular = torch.linalg.svdvals(jacobians(case.decoder, codes))
    rounding = 16 * torch.finfo(case.dtype).eps * singular[:, 0]
    assert (singular[:, -1] + rounding >= case.decoder.inverse_lipschitz()).all()


@MANY
@given(cases())
def test_certificate_is_at_least_the_constant_asked_for(case):
    certified = case.decoder.inverse_lipschitz()
    assert isinstance(certified, float)
    # It is a product of the constants of some maps, and may round.
    assert certified >= case.asked * (1 - 16 * torch.finfo(torch.float64).eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("prior", ["mixture", "standard_normal"])
@pytest.mark.parametrize("family", CERTIFIED)
def test_trained_decoders_keep_codes_apart(family, prior, dtype):
    estimator = trained(family, prior)
    assert estimator.inverse_lipschitz_ >= 0.3
    decoder = random_decoder(
        family, 13, 3, (16,), "elu", 0.3, size=0.0, seed=0, dtype=dtype
    )
    decoder.load_state_dict(estimator.module_.decoder.state_dict())
    assert decoder.inverse_lipschitz() == pytest.approx(estimator.inverse_lipschitz_)
    for distance in (1e-4, 1.0, 1e3):
        for spread in (0.1, 1.0, 30.0):
            assert_apart(decoder, *pairs(3, distance, spread, 0, dtype))
    codes, _ = pairs(3, 1.0, 2.0, 0, torch.float64)
    smallest = torch.linalg.svdvals(jacobians(decoder.double(), codes))[:, -1]
    assert smallest.min() >= decoder.inverse_lipschitz()


def test_certificate_is_tight():
    """All nonlinear parts off, what is left is the linear map ``L V``."""
    for family in CERTIFIED:
        decoder = random_decoder(
            family, 6, 4, (8, 8), "tanh", 0.7, size=0.0, seed=1, dtype=torch.float64
        )
        codes, _ = pairs(4, 1.0, 1.0, 0, torch.float64)
        singular = torch.linalg.svdvals(jacobians(decoder, codes))
        torch.testing.assert_close(singular, torch.full_like(singular, 0.7))
        assert decoder.inverse_lipschitz() == pytest.approx(0.7)


def test_mlp_certifies_nothing():
    decoder = make_decoder("mlp", torch.eye(3)[:, :2], (4,), "elu", 0.0)
    assert decoder.inverse_lipschitz() == 0.0
    with torch.no_grad():
        decoder.linear[:, 1] = 0.0
        here, there = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 5.0]])
        assert torch.equal(decoder(here), decoder(there))


def gradient_maps(n_features, hidden, constant, activation):
    yield RidgeGradientMap(n_features, hidden[0], constant, activation)
    yield ConvexNetworkGradientMap(n_features, hidden, constant)


@MANY
@given(st.integers(1, 6), LAYERS, st.sampled_from([0.0, 0.5, 2.0]), ANY_ACTIVATION)
def test_maps_are_gradients_of_strongly_convex_potentials(
    n_features, hidden, constant, activation
):
    for each in gradient_maps(n_features, hidden, constant, activation):
        randomise(each.double(), 1.0, 0)
        points, _ = pairs(n_features, 1.0, 2.0, 0, torch.float64)
        jacobian = jacobians(each, points)
        rounding = 16 * torch.finfo(torch.float64).eps * jacobian.abs().max()
        assert (jacobian - jacobian.mT).abs().max() <= rounding
        eigenvalues = torch.linalg.eigvalsh(jacobian)
        assert (eigenvalues[:, 0] + rounding >= each.inverse_lipschitz()).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), LAYERS, SEEDS)
def test_convex_network_map_is_the_gradient_of_its_potential(n_features, hidden, seed):
    mapping = ConvexNetworkGradientMap(n_features, hidden, 0.5).double()
    randomise(mapping, 1.0, seed)

    def potential(point):
        weights, biases = mapping.input_weight, mapping.input_bias
        layer = functional.softplus(weights[0] @ point + biases[0])
        for between, weight, bias in zip(
            mapping.root_between, weights[1:], biases[1:], strict=True
        ):
            layer = functional.softplus(
                between.square() @ layer + weight @ point + bias
            )
        quadratic = (0.5 + mapping.root_slope.square()) @ point.square() / 2
        return mapping.root_gain.square() @ layer + quadratic + mapping.shift @ point

    points, _ = pairs(n_features, 1.0, 2.0, seed, torch.float64)
    gradients = torch.func.vmap(torch.func.grad(potential))(points)
    torch.testing.assert_close(mapping(points), gradients)


def test_unknown_family():
    with pytest.raises(ValueError, match="decoder must be one of"):
        make_decoder("linear", torch.eye(2), (4,), "elu", 0.0)


@pytest.mark.parametrize("decoder", ["anchored", "anchored_warped"])
def test_the_certificate_holds_in_natural_parameters(decoder):
    frame = people()
    chosen = {"visits": "negative_binomial", "wait": "student_t"}
    model = short(
        decoder=decoder, likelihood=chosen, inverse_lipschitz=0.3, max_iter=10
    ).fit(frame)
    network = model.module_
    rng = torch.Generator().manual_seed(0)
    for point in torch.randn(10, 2, generator=rng):
        jacobian = jacobian_at_zero(lambda z, p=point: network.decoder(z + p), point)
        assert torch.linalg.svdvals(jacobian)[-1] >= 0.3 * (1 - 1e-3)
    rows = people(gaps=0.2).astype(frame.drop(columns=["visits", "smoker"]).dtypes)
    for table in (frame, rows):
        found = relative_fisher_divergence(model, table, n_draws=20)
        bound = fisher_divergence_lower_bound(model, table, n_draws=20)
        assert (found >= bound * (1 - 1e-9)).all()
        assert bound.max() > 0
