"""Scores of a distribution from its samples, in plain torch."""

from .estimation import Report, ScoreModel, Settings, fit_score

__all__ = ["Report", "ScoreModel", "Settings", "fit_score"]
