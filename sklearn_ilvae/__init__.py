"""Latent codes that cannot collapse, outliers with reasons, and scores from samples."""

from ._outlier import ILVAEOutlierDetector
from ._score import SteinScoreEstimator
from ._transformer import ILVAETransformer

__all__ = ["ILVAEOutlierDetector", "ILVAETransformer", "SteinScoreEstimator"]
__version__ = "0.1.0"
