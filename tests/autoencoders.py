"""Small models that several test files share."""

from functools import cache

import numpy as np
import torch
from numpy.testing import assert_allclose
from sklearn.datasets import load_wine

from sklearn_ilvae import ILVAEOutlierDetector, ILVAETransformer
from sklearn_ilvae._random import draw_held_out, draw_seed
from sklearn_ilvae._training.setup import split_validation
from sklearn_ilvae._transformer import VALIDATION_DRAWS
from sklearn_ilvae.vae import (
    DECODERS,
    Architecture,
    Design,
    VariationalAutoencoder,
    evidence_lower_bound,
    linear_model,
    make_decoder,
    principal_axes,
    shared_noise,
    start_at_linear_model,
)

CERTIFIED = [family for family in DECODERS if family != "mlp"]

SHORT = {"n_components": 2, "max_iter": 3, "random_state": 0, "device": "cpu"}
"""On the processor, where equal steps give equal bits: a GPU rounds otherwise."""


def short(**parameters):
    """A transformer that trains for few epochs."""
    return ILVAETransformer(**SHORT | parameters)


def short_detector(**parameters):
    """A detector that trains for few epochs."""
    return ILVAEOutlierDetector(**SHORT | parameters)


def correlated_rows(n_rows, n_features, n_factors, seed, noise=0.3):
    """Standardised rows of a linear factor model, in float64."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    rows = normal(n_rows, n_factors) @ normal(n_factors, n_features)
    rows = rows + noise * normal(n_rows, n_features)
    return (rows - rows.mean(0)) / rows.std(0, correction=0)


def started_model(rows, family, n_components, **changes):
    """A float64 model at the start of its training on the rows."""
    n_features = rows.shape[1]
    settings = {
        "likelihood": ("gaussian",) * n_features,
        "hidden_layer_sizes": (16,),
        "activation": "elu",
        "inverse_lipschitz": 0.0 if family == "mlp" else 0.1,
        "n_mixture_components": 0,
    }
    architecture = Architecture(
        decoder=family, n_components=n_components, **(settings | changes)
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = torch.ones(len(rows), dtype=rows.dtype)
        design = Design(architecture.likelihood, architecture.n_levels)
        units = design.fit(rows, weights / len(rows))
        axes = principal_axes(design.coordinates(rows), weights, n_components)
        linear = linear_model(axes, n_components, units)
        model = VariationalAutoencoder(architecture, linear.directions).double()
    model.encoder.design.load_state_dict(design.state_dict())
    start_at_linear_model(model, linear, rows, weights)
    return model


@torch.no_grad()
def randomise(module, size, seed):
    """Replace every parameter by independent normal draws of the given size."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        draws = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        parameter.copy_(size * draws)
    return module


def random_decoder(
    family, n_features, n_components, hidden, activation, constant, size, seed, dtype
):
    """A decoder of random parameters of the given size."""
    generator = torch.Generator().manual_seed(seed)
    square = torch.randn(n_features, n_features, generator=generator).double()
    directions = torch.linalg.qr(square).Q[:, :n_components].to(dtype)
    decoder = make_decoder(family, directions, hidden, activation, constant)
    return randomise(decoder.to(dtype), size, seed)


@cache
def mixed_table():
    """Wine with a binary column beside the Gaussian ones."""
    X, y = load_wine(return_X_y=True)
    return np.column_stack([X[:, :7], y == 0])


@cache
def trained(family, prior="mixture", table="wine"):
    """An estimator fitted for some epochs; not to be changed."""
    X = load_wine().data if table == "wine" else mixed_table()
    estimator = ILVAETransformer(
        n_components=3,
        decoder=family,
        prior=prior,
        inverse_lipschitz="auto" if family == "mlp" else 0.3,
        hidden_layer_sizes=(16,),
        max_iter=25,
        random_state=0,
    )
    return estimator.fit(X)


def weights_of(model):
    """The weights of a fitted transformer, copied."""
    return {k: v.numpy().copy() for k, v in model.module_.state_dict().items()}


def assert_same_weights(first, second, **tolerance):
    """Assert that two models have the same weights."""
    assert first.keys() == second.keys()
    for name in first:
        assert_allclose(first[name], second[name], **tolerance, err_msg=name)


def validation_score(model, table, seed=0):
    """Score the validation rows of a fit with a given random_state."""
    rows = model._scaling().transform(torch.tensor(table)).float()
    seed = draw_seed(seed)
    validated = draw_held_out(len(rows), 0.1, seed, least_kept=1)
    _, validation = split_validation(rows, torch.ones(len(rows)), validated)
    noise = shared_noise(VALIDATION_DRAWS, model.n_components_, seed)
    with torch.no_grad():
        bound = evidence_lower_bound(
            model.module_, validation.rows, noise[:, None].float()
        )
    return float(bound.mean())
