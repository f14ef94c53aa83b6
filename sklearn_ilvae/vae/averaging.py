"""Averages of the weights of a model while it trains."""

from copy import deepcopy

import torch

from .autoencoder import VariationalAutoencoder

AVERAGING_DEGREE = 9
"""Degree of the polynomial-decay average of the weights.

The average reaches back over about a tenth of the steps so far: enough to remove the
noise of a high learning rate, and never far behind the last weights.
"""


class RunningAverage:
    """Average of the weights of a model over its last steps.

    ``w̄ₜ = w̄ₜ₋₁ + (η + 1) / (t + η) (wₜ − w̄ₜ₋₁)`` with η the degree (Shamir & Zhang,
    ICML 2013, Section 4).

    Parameters
    ----------
    model : VariationalAutoencoder
        The model to follow.

    Attributes
    ----------
    module : VariationalAutoencoder
        A copy of the model with averaged weights.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ilvae import vae
    >>> shape = vae.Architecture("anchored", 2, ("gaussian",) * 3, (8,), "elu", 0.1, 0)
    >>> model = vae.VariationalAutoencoder(shape, torch.eye(3)[:, :2])
    >>> average = vae.RunningAverage(model)
    >>> average.update()
    >>> torch.equal(average.module.encoder.linear, model.encoder.linear)
    True
    """

    def __init__(self, model: VariationalAutoencoder) -> None:
        self.module = deepcopy(model)
        self.averages = [weights.detach() for weights in self.module.parameters()]
        self.weights = [weights.detach() for weights in model.parameters()]
        self.n_steps = 0

    def update(self) -> None:
        """Take in the present weights of the model."""
        self.n_steps += 1
        share = (AVERAGING_DEGREE + 1) / (AVERAGING_DEGREE + self.n_steps)
        torch._foreach_lerp_(self.averages, self.weights, share)
