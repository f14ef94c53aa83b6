"""Latent codes that cannot collapse, and scores from samples, for scikit-learn."""

from ._transformer import ILVAETransformer

__all__ = ["ILVAETransformer"]
__version__ = "0.1.0"
