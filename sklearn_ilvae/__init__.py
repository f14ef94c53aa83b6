"""Latent codes that cannot collapse, and scores from samples, for scikit-learn."""

from ._score import SteinScoreEstimator
from ._transformer import ILVAETransformer

__all__ = ["ILVAETransformer", "SteinScoreEstimator"]
__version__ = "0.1.0"
