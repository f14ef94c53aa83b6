"""Latent codes that cannot collapse, and scores from samples, for scikit-learn."""

__version__ = "0.1.0"
