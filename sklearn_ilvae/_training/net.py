"""Training of an autoencoder with skorch, on averaged weights."""

import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochTimer, PrintLog
from skorch.helper import predefined_split
from torch import Tensor

from ..vae import (
    EncoderInputs,
    RunningAverage,
    VariationalAutoencoder,
    evidence_lower_bound,
)
from .batches import InMemoryBatches, WeightedRows
from .callbacks import BestWeights, EpochHooks, NonFiniteLossError, StopWhen
from .recording import Recorder

NOISE_VARIANCE_RATE = 10.0
"""Learning rate of the noise variances relative to the other parameters.

They set the scale of the whole loss and are the last to arrive at the common rate.
"""

VALIDATION_CHUNK, VALIDATION_NUMBERS = 8192, 1 << 22
"""Validation rows, and numbers of a layer for a draw of each, held at once at most."""


@dataclass(frozen=True)
class TrainingSettings:
    """How to train; the names are those of the estimator's parameters."""

    learning_rate_init: float
    batch_size: int
    max_iter: int
    n_iter_no_change: int
    tol: float
    kl_weight: float
    verbose: int


@dataclass(frozen=True)
class OptimizerState:
    """What the optimiser knows of every parameter, in which nobody looks for arrays.

    scikit-learn moves an estimator to another namespace array by array, also those in
    dicts; what torch continues from must stay torch's.

    Parameters
    ----------
    moments : dict of int to dict of str to Tensor
        Running averages and the number of steps, by parameter and name.
    """

    moments: dict[int, dict[str, Tensor]]

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the tensors as NumPy arrays by name, such as ``"0.exp_avg"``."""
        return {
            f"{parameter}.{name}": tensor.cpu().numpy().copy()
            for parameter, tensors in self.moments.items()
            for name, tensor in tensors.items()
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Return the state, on the CPU, that `to_arrays` gave the arrays of."""
        moments: dict[int, dict[str, Tensor]] = {}
        for key, array in arrays.items():
            parameter, name = key.split(".")
            tensors = moments.setdefault(int(parameter), {})
            tensors[name] = torch.from_numpy(np.array(array))
        return cls(moments)


@dataclass
class TrainingResult:
    """What training reports.

    Parameters
    ----------
    loss_curve : list of float
        Negative bound on the training rows, an entry an epoch, in nats a row.
    validation_scores : list of float
        Bound on the validation rows after each epoch; empty without validation rows.
    optimizer_state : OptimizerState
        State of the optimiser, to continue from.
    """

    loss_curve: list[float]
    validation_scores: list[float]
    optimizer_state: OptimizerState


class AutoencoderNet(NeuralNet):
    """skorch net whose loss is the negative evidence lower bound.

    Parameters
    ----------
    module : VariationalAutoencoder
        The model to train.
    kl_weight : float
        Weight of the divergence in the bound.
    generator : torch.Generator
        Source of the noise in training.
    validation_noise : Tensor of shape (n_draws, 1, n_components)
        Noise shared by all validation rows at every epoch, so that two epochs
        differ by their weights alone.
    average : RunningAverage
        Follows the weights; it is the average that is validated and kept.
    recorder : Recorder or None
        Through which to call steps and validations; None calls them directly.
    """

    def __init__(
        self,
        module: VariationalAutoencoder,
        *,
        kl_weight: float,
        generator: torch.Generator,
        validation_noise: Tensor,
        average: RunningAverage,
        recorder: Recorder | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(module, **kwargs)
        self.kl_weight = kl_weight
        self.generator = generator
        self.validation_noise = validation_noise
        self.average = average
        self.recorder = recorder

    def train_step(
        self, batch: tuple[Tensor, ...], **fit_params: Any
    ) -> dict[str, Any]:
        """Take a step of the optimiser and add its weights to the average."""
        loss = self._call(self._take_step, batch)
        self.average.update()
        return {"loss": loss, "y_pred": None}

    def train_step_single(
        self, batch: tuple[Tensor, ...], **fit_params: Any
    ) -> dict[str, Any]:
        """Compute the loss of a batch with fresh noise, and its gradients."""
        n_components = self.module_.architecture.n_components
        noise = torch.randn(
            (len(batch[0]), n_components),
            generator=self.generator,
            device=batch[0].device,
            dtype=batch[0].dtype,
        )
        loss = self._loss(self.module_, noise, *batch)
        loss.backward()
        return {"loss": loss.detach(), "y_pred": None}

    def validation_step(
        self, batch: tuple[Tensor, ...], **fit_params: Any
    ) -> dict[str, Any]:
        """Compute the loss of the average on a batch with the shared noise."""
        return {"loss": self._call(self._validate, batch), "y_pred": None}

    def run_single_epoch(
        self,
        iterator: InMemoryBatches | None,
        training: bool,
        prefix: str,
        step_fn: Callable[..., dict[str, Any]],
        **fit_params: Any,
    ) -> None:
        """Run over all batches and record their mean loss.

        Losses are added up on the device and read once: reading each, as skorch
        does, would make a GPU wait at every batch.
        """
        if iterator is None:
            return
        total = iterator.dataset.rows.new_zeros(())
        for batch in iterator:
            loss = step_fn(batch, **fit_params)["loss"]
            total += loss * len(batch[0])
        self.history.record(f"{prefix}_loss", float(total) / len(iterator.dataset))

    def _call(
        self, function: Callable[..., Tensor], batch: tuple[Tensor, ...]
    ) -> Tensor:
        if self.recorder is None:
            return function(*batch)
        return self.recorder.call(function, *batch)

    def _take_step(self, *batch: Tensor) -> Tensor:
        step: dict[str, Tensor] = super().train_step(batch)
        return step["loss"]

    @torch.no_grad()
    def _validate(self, *batch: Tensor) -> Tensor:
        few = max(1, VALIDATION_NUMBERS // self.average.module.widest_layer)
        size = min(VALIDATION_CHUNK, few)
        chunks = zip(*(each.split(size) for each in batch), strict=True)
        losses = [
            self._loss(self.average.module, self.validation_noise, *chunk)
            * (len(chunk[0]) / len(batch[0]))
            for chunk in chunks
        ]
        return torch.stack(losses).sum()

    def _loss(
        self,
        model: VariationalAutoencoder,
        noise: Tensor,
        rows: Tensor,
        weights: Tensor,
        values: Tensor | None = None,
        increase: Tensor | None = None,
    ) -> Tensor:
        inputs = None if values is None else EncoderInputs(values, increase)
        bound = evidence_lower_bound(model, rows, noise, self.kl_weight, inputs)
        return -(weights * bound).mean()


def train(
    model: VariationalAutoencoder,
    training: WeightedRows,
    validation: WeightedRows | None,
    validation_noise: Tensor,
    settings: TrainingSettings,
    generator: torch.Generator,
    hooks: EpochHooks,
    optimizer_state: OptimizerState | None = None,
) -> TrainingResult:
    """Maximise the evidence lower bound of the training rows, in place.

    Parameters
    ----------
    model : VariationalAutoencoder
        The model, on the device of the rows.
    training : WeightedRows
        Rows to learn from.
    validation : WeightedRows or None
        Rows that decide when to stop and which weights to keep.
    validation_noise : Tensor of shape (n_draws, 1, n_components)
        Noise shared by all validation rows.
    settings : TrainingSettings
        How to train.
    generator : torch.Generator
        Source of order and noise, on the device of the rows.
    hooks : EpochHooks
        Listener to the epochs.
    optimizer_state : OptimizerState, default=None
        State of the optimiser to continue from.

    Returns
    -------
    TrainingResult
        Losses of all epochs that ended.

    Raises
    ------
    NonFiniteLossError
        When the training loss is infinite or not a number after an epoch, or a weight
        at the end.

    Warns
    -----
    UserWarning
        When Ctrl-C ended it.
    """
    on_gpu = training.rows.is_cuda
    training = training.with_inputs(model.encoder)
    validation = validation and validation.with_inputs(model.encoder)
    parts = [part for part in (training, validation) if part is not None]
    # Without inputs each batch would be asked for gaps, and one thread would disturb
    # what another records.
    recordable = (
        on_gpu
        and all(part.inputs for part in parts)
        and threading.current_thread() is threading.main_thread()
    )
    fast = NOISE_VARIANCE_RATE * settings.learning_rate_init
    best = BestWeights(validation, settings.n_iter_no_change, settings.tol)
    stop = StopWhen(lambda: best.stalled or hooks.asked_to_stop)
    # The timer marks an epoch as ended: when it was compared, which Ctrl-C may prevent.
    callbacks: list[Callback] = [stop, best, EpochTimer(), hooks]
    if settings.verbose:
        callbacks.append(PrintLog())
    net = AutoencoderNet(
        model,
        kl_weight=settings.kl_weight,
        generator=generator,
        validation_noise=validation_noise,
        average=RunningAverage(model),
        recorder=Recorder(generator) if recordable else None,
        criterion=torch.nn.Identity,
        optimizer=torch.optim.Adam,
        optimizer__fused=True,
        optimizer__capturable=on_gpu,
        optimizer__param_groups=[("likelihood.*.raw_variance", {"lr": fast})],
        lr=settings.learning_rate_init,
        max_epochs=settings.max_iter,
        batch_size=settings.batch_size,
        iterator_train=InMemoryBatches,
        iterator_train__generator=generator,
        iterator_valid=InMemoryBatches,
        iterator_valid__batch_size=max(1, len(validation or training)),
        train_split=None if validation is None else predefined_split(validation),
        callbacks__epoch_timer=None,
        callbacks__train_loss=None,
        callbacks__valid_loss=None,
        callbacks__print_log=None,
        callbacks=callbacks,
        device=training.rows.device,
        verbose=settings.verbose,
    )
    net.initialize()
    if optimizer_state is not None:
        # The moments continue; the learning rate is that of the present settings.
        present = net.optimizer_.state_dict()
        net.optimizer_.load_state_dict(present | {"state": optimizer_state.moments})
    net.partial_fit(training)
    if not all(bool(weights.isfinite().all()) for weights in model.parameters()):
        raise NonFiniteLossError
    # Ctrl-C may come after the batches of an epoch, while it is validated, and after
    # all of it, while it is reported.
    ended = [epoch for epoch in net.history if "dur" in epoch]
    if len(ended) < settings.max_iter and not stop.condition():
        warnings.warn(
            f"Training was interrupted in epoch {len(net.history)}. The best weights "
            "so far are kept.",
            stacklevel=2,
        )
    return TrainingResult(
        loss_curve=[epoch["train_loss"] for epoch in ended],
        validation_scores=[
            -epoch["valid_loss"] for epoch in ended if "valid_loss" in epoch
        ],
        optimizer_state=OptimizerState(net.optimizer_.state_dict()["state"]),
    )
