"""Ways to train the same network: the estimator, a bare loop, skorch and pythae."""

import contextlib
import io
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from copy import deepcopy

import numpy as np
import torch
from skorch import NeuralNet
from torch import nn

from sklearn_ilvae import ILVAETransformer
from sklearn_ilvae._training.net import NOISE_VARIANCE_RATE
from sklearn_ilvae.vae import VariationalAutoencoder, evidence_lower_bound

N_COMPONENTS, WIDTH, BATCH_SIZE = 8, 64, 512
LEARNING_RATE = 3e-3


def estimator(
    device: str, max_iter: int, early_stopping: bool = False, **model: str
) -> ILVAETransformer:
    """Return an estimator that trains for exactly `max_iter` epochs."""
    return ILVAETransformer(
        N_COMPONENTS,
        hidden_layer_sizes=(WIDTH,),
        batch_size=BATCH_SIZE,
        learning_rate_init=LEARNING_RATE,
        early_stopping=early_stopping,
        tol=0.0,
        n_iter_no_change=sys.maxsize,
        max_iter=max_iter,
        device=device,
        random_state=0,
        **model,
    )


def train_bare(
    network: VariationalAutoencoder, table: np.ndarray, device: str, n_epochs: int
) -> None:
    network = deepcopy(network).to(device).train()
    rows = torch.tensor(table, device=device)
    fast = [head.raw_variance for head in network.likelihood.heads]
    slow = [p for p in network.parameters() if all(p is not each for each in fast)]
    optimizer = torch.optim.Adam(
        [{"params": fast, "lr": NOISE_VARIANCE_RATE * LEARNING_RATE}, {"params": slow}],
        lr=LEARNING_RATE,
        fused=True,
    )
    for _ in range(n_epochs):
        order = torch.randperm(len(rows), device=device)
        for batch in rows[order].split(BATCH_SIZE):
            optimizer.zero_grad()
            noise = torch.randn(len(batch), N_COMPONENTS, device=device)
            loss = -evidence_lower_bound(network, batch, noise).mean()
            loss.backward()
            optimizer.step()


class NegativeBound(nn.Module):
    """The network as skorch wants it: a module whose output is the loss of each row."""

    def __init__(self, network: VariationalAutoencoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the negative bound of every row."""
        noise = torch.randn(len(rows), N_COMPONENTS, device=rows.device)
        return -evidence_lower_bound(self.network, rows, noise)


class MeanOutput(nn.Module):
    """Criterion that ignores the target."""

    def forward(self, losses: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the mean of the losses."""
        return losses.mean()


def train_skorch(
    network: VariationalAutoencoder, table: np.ndarray, device: str, n_epochs: int
) -> None:
    fast = {"lr": NOISE_VARIANCE_RATE * LEARNING_RATE}
    net = NeuralNet(
        NegativeBound(deepcopy(network)),
        criterion=MeanOutput,
        optimizer=torch.optim.Adam,
        optimizer__fused=True,
        optimizer__param_groups=[("network.likelihood.*.raw_variance", fast)],
        lr=LEARNING_RATE,
        max_epochs=n_epochs,
        batch_size=BATCH_SIZE,
        train_split=None,
        device=device,
        verbose=0,
    )
    net.fit(table, y=None)


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Hide progress bars and messages of the block."""
    sink = io.StringIO()
    logging.disable(logging.WARNING)
    with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        yield
    logging.disable(logging.NOTSET)


def pythae_trainer() -> Callable[[np.ndarray, str, int], None] | None:
    """Return a function that trains pythae's VAE; None where it is not installed."""
    try:
        with silence():
            from pythae.data.datasets import BaseDataset
            from pythae.models import VAE, VAEConfig
            from pythae.models.base.base_utils import ModelOutput
            from pythae.models.nn import BaseDecoder, BaseEncoder
            from pythae.trainers import BaseTrainer, BaseTrainerConfig
    except ImportError:
        return None

    class Encoder(BaseEncoder):
        def __init__(self, n_features: int) -> None:
            super().__init__()
            self.hidden = nn.Linear(n_features, WIDTH)
            self.output = nn.Linear(WIDTH, 2 * N_COMPONENTS)

        def forward(self, rows: torch.Tensor) -> ModelOutput:
            hidden = nn.functional.elu(self.hidden(rows))
            mean, log_variance = self.output(hidden).chunk(2, dim=1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self, n_features: int) -> None:
            super().__init__()
            self.hidden = nn.Linear(N_COMPONENTS, WIDTH)
            self.output = nn.Linear(WIDTH, n_features)

        def forward(self, codes: torch.Tensor) -> ModelOutput:
            hidden = nn.functional.elu(self.hidden(codes))
            return ModelOutput(reconstruction=self.output(hidden))

    def train(table: np.ndarray, device: str, n_epochs: int) -> None:
        with silence(), tempfile.TemporaryDirectory() as folder:
            rows = torch.tensor(table)
            n_features = rows.shape[1]
            config = VAEConfig(input_dim=(n_features,), latent_dim=N_COMPONENTS)
            BaseTrainer(
                model=VAE(config, Encoder(n_features), Decoder(n_features)),
                train_dataset=BaseDataset(rows, torch.zeros(len(rows))),
                training_config=BaseTrainerConfig(
                    output_dir=folder,
                    num_epochs=n_epochs,
                    per_device_train_batch_size=BATCH_SIZE,
                    learning_rate=LEARNING_RATE,
                    no_cuda=device == "cpu",
                ),
            ).train()

    return train
