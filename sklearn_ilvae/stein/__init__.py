"""Scores of a distribution from its samples, in plain torch."""

from .divergences import (
    DensityScore,
    fisher_divergence_cross_fitted,
    fisher_divergence_held_out,
    fisher_divergence_plug_in,
    kernel_stein_discrepancy,
)
from .estimation import fit_score
from .functional import entropy_surrogate, stein_score
from .kernels.radial import RBF, InverseMultiquadric
from .model import AveragedScore, ScoreModel
from .settings import Report, Settings

__all__ = [
    "RBF",
    "AveragedScore",
    "DensityScore",
    "InverseMultiquadric",
    "Report",
    "ScoreModel",
    "Settings",
    "entropy_surrogate",
    "fisher_divergence_cross_fitted",
    "fisher_divergence_held_out",
    "fisher_divergence_plug_in",
    "fit_score",
    "kernel_stein_discrepancy",
    "stein_score",
]
