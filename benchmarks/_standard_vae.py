"""The VAE of Kingma & Welling (2014), to compare with."""

import torch
from torch import nn

from sklearn_ilvae import ILVAETransformer
from sklearn_ilvae.vae import Design, EncoderInputs
from sklearn_ilvae.vae.encoders import GaussianEncoder


class PlainEncoder(GaussianEncoder):
    """Mean and log-variance from one network, with torch's initialisation."""

    def __init__(self, design: Design, n_components: int, width: int) -> None:
        super().__init__(design, n_components, (width,), "elu")
        self.network = nn.Sequential(
            nn.Linear(design.width, width), nn.ELU(), nn.Linear(width, 2 * n_components)
        )

    def from_inputs(self, inputs: EncoderInputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and log-variance by what the encoder reads of rows."""
        mean, log_variance = self.network(inputs.values).chunk(2, dim=-1)
        return mean, log_variance


class PlainDecoder(nn.Sequential):
    """Unconstrained network with torch's initialisation."""

    def __init__(self, n_components: int, n_features: int, width: int) -> None:
        super().__init__(
            nn.Linear(n_components, width), nn.ELU(), nn.Linear(width, n_features)
        )

    def inverse_lipschitz(self) -> float:
        """Return 0: nothing keeps two codes apart."""
        return 0.0


class StandardVAE(ILVAETransformer):
    """The VAE of Kingma & Welling (2014), trained and scored like the estimator.

    Standard normal prior, unconstrained networks of the same widths that start at
    random, noise variances that start at one.
    """

    def _start(self, *args: object) -> None:
        super()._start(*args)
        architecture = self.module_.architecture
        n_features = len(architecture.likelihood)
        n_components = architecture.n_components
        (width,) = architecture.hidden_layer_sizes
        torch.manual_seed(self.random_state)
        design = self.module_.encoder.design
        self.module_.encoder = PlainEncoder(design, n_components, width)
        self.module_.decoder = PlainDecoder(n_components, n_features, width)
        for head in self.module_.likelihood.heads:
            nn.init.zeros_(head.raw_variance)
