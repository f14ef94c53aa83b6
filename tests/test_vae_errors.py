"""Networks that cannot be built say which name or shape is wrong, and what is right."""

import pytest
import torch

from sklearn_ilvae.vae import Architecture, VariationalAutoencoder

BAD_NETWORKS = {
    "unknown likelihood": (
        {"likelihood": ("normal",) * 4},
        "likelihood=.*'normal'.* must name one of 'gaussian', 'student_t'",
    ),
    "one name for all columns": (
        {"likelihood": "gaussian"},
        "likelihood='gaussian' must name one of .* for every column",
    ),
    "levels without their number": (
        {"likelihood": ("categorical",) * 4},
        r"n_levels=\(\) must hold as many numbers of levels as there are columns, 4",
    ),
    "too few numbers of levels": (
        {"n_levels": (1, 1)},
        r"n_levels=\(1, 1\) must hold .* as there are columns, 4",
    ),
    "unknown activation": (
        {"activation": "gelu"},
        "activation='gelu' is unknown. Use one of 'tanh', 'relu'",
    ),
    "unknown decoder": ({"decoder": "icnn"}, "must be one of .*'brenier'.* got 'icnn'"),
    "negative constant": (
        {"inverse_lipschitz": -1.0},
        "inverse_lipschitz=-1.0 must be a number of at least 0",
    ),
    "constant nan": ({"inverse_lipschitz": float("nan")}, "inverse_lipschitz=nan must"),
    "no hidden layer": (
        {"hidden_layer_sizes": ()},
        r"hidden_layer_sizes=\(\) must hold at least one width for decoder='anchored'",
    ),
    "directions of another size": (
        {"n_components": 3},
        r"directions has shape \(4, 2\), but must have \(4, 3\)",
    ),
}


@pytest.mark.parametrize(
    ("changes", "message"), BAD_NETWORKS.values(), ids=BAD_NETWORKS
)
def test_what_cannot_be_built_is_refused_by_name(changes, message):
    settings = {
        "decoder": "anchored",
        "n_components": 2,
        "likelihood": ("gaussian",) * 4,
        "hidden_layer_sizes": (8,),
        "activation": "elu",
        "inverse_lipschitz": 0.1,
        "n_mixture_components": 0,
    }
    with pytest.raises(ValueError, match=message):
        VariationalAutoencoder(Architecture(**settings | changes), torch.eye(4)[:, :2])


def test_more_codes_than_parameters_cannot_be_kept_apart():
    architecture = Architecture("anchored", 3, ("gaussian",) * 2, (8,), "elu", 0.1, 0)
    with pytest.raises(ValueError, match=r"n_components=3 must not exceed .*, 2"):
        VariationalAutoencoder(architecture, torch.zeros(2, 3))
