"""The inverse-Lipschitz variational autoencoder in plain torch."""

from .autoencoder import Architecture, VariationalAutoencoder
from .bounds import (
    BoundTerms,
    antithetic_noise,
    bound_terms,
    evidence_lower_bound,
    importance_log_weights,
    importance_weighted_bound,
    shared_noise,
)
from .concentration import closest_weights, robust_distances
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
    "BoundTerms",
    "VariationalAutoencoder",
    "antithetic_noise",
    "bound_terms",
    "choose_inverse_lipschitz",
    "choose_n_components",
    "closest_weights",
    "evidence_lower_bound",
    "importance_log_weights",
    "importance_weighted_bound",
    "make_decoder",
    "principal_axes",
    "robust_distances",
    "shared_noise",
    "start_at_linear_model",
]
