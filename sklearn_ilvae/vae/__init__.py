"""The inverse-Lipschitz variational autoencoder in plain torch."""

from .autoencoder import Architecture, VariationalAutoencoder
from .averaging import RunningAverage
from .axes import choose_n_components, principal_axes
from .bounds import (
    evidence_lower_bound,
    importance_log_weights,
    importance_weighted_bound,
    shared_noise,
)
from .completion import LinearCompletion
from .concentration import closest_weights, robust_distances
from .decoders import DECODERS, make_decoder
from .design import Design
from .encoders import EncoderInputs
from .imputation import drawn_rows, expected_rows
from .laplace import LikelihoodTerms, laplace_terms
from .neighbours import comparable_points, neighbour_terms
from .start import choose_inverse_lipschitz, linear_model, start_at_linear_model

__all__ = [
    "DECODERS",
    "Architecture",
    "Design",
    "EncoderInputs",
    "LikelihoodTerms",
    "LinearCompletion",
    "RunningAverage",
    "VariationalAutoencoder",
    "choose_inverse_lipschitz",
    "choose_n_components",
    "closest_weights",
    "comparable_points",
    "drawn_rows",
    "evidence_lower_bound",
    "expected_rows",
    "importance_log_weights",
    "importance_weighted_bound",
    "laplace_terms",
    "linear_model",
    "make_decoder",
    "neighbour_terms",
    "principal_axes",
    "robust_distances",
    "shared_noise",
    "start_at_linear_model",
]
