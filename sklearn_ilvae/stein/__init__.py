"""Scores of a distribution from its samples, in plain torch."""

from .estimation import Report, Settings, fit_score
from .model import ScoreModel

__all__ = ["Report", "ScoreModel", "Settings", "fit_score"]
