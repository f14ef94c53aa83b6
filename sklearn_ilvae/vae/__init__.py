"""The inverse-Lipschitz variational autoencoder in plain torch."""

from .autoencoder import Architecture, VariationalAutoencoder
from .bounds import (
    evidence_lower_bound,
    importance_log_weights,
    importance_weighted_bound,
    shared_noise,
)
from .decoders import DECODERS, make_decoder
from .start import (
    choose_inverse_lipschitz,
    choose_n_components,
    principal_axes,
    start_at_linear_model,
)

__all__ = [
    "DECODERS",
    "Architecture",
    "VariationalAutoencoder",
    "choose_inverse_lipschitz",
    "choose_n_components",
    "evidence_lower_bound",
    "importance_log_weights",
    "importance_weighted_bound",
    "make_decoder",
    "principal_axes",
    "shared_noise",
    "start_at_linear_model",
]
