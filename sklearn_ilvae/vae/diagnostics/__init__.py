"""How much the posteriors say: divergences, active units and information.

Divergences of units and the mutual information judge the encoder's q(z|x). The relative
Fisher divergence and its lower bounds judge the posterior p(z|x) of the model itself.
"""

from .fisher import (
    average_fisher_lower_bound,
    fisher_divergence_lower_bound,
    fisher_divergence_per_unit,
    relative_fisher_divergence,
)
from .information import (
    ALIVE,
    QUADRATURE_NODES,
    active_units,
    gauss_hermite,
    kl_per_unit,
    mutual_information,
    posterior,
)

__all__ = [
    "ALIVE",
    "QUADRATURE_NODES",
    "active_units",
    "average_fisher_lower_bound",
    "fisher_divergence_lower_bound",
    "fisher_divergence_per_unit",
    "gauss_hermite",
    "kl_per_unit",
    "mutual_information",
    "posterior",
    "relative_fisher_divergence",
]
