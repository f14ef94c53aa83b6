"""What happens around the epochs of a training: comparing, reporting, stopping."""

from collections.abc import Callable
from copy import deepcopy
from math import inf, isfinite
from typing import Any

from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor

from .batches import WeightedRows


class NonFiniteLossError(ArithmeticError):
    """The training loss became infinite or not a number."""


class BestWeights(Callback):
    """Notice when the monitored loss stalls; leave the averages of its best epoch.

    Parameters
    ----------
    validation : WeightedRows or None
        Rows to monitor. The state before training competes too. None monitors the
        training loss, and then the last averages stay.
    patience : int
        Epochs without improvement by `tol` after which the loss counts as stalled.
    tol : float
        Least improvement that counts, in nats a row.
    """

    def __init__(
        self, validation: WeightedRows | None, patience: int, tol: float
    ) -> None:
        self.validation = validation
        self.patience = patience
        self.tol = tol

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Take the state before training as the first candidate."""
        self.threshold_ = self.best_loss_ = inf
        self.misses_ = 0
        self.best_state_: dict[str, Tensor] | None = None
        if self.validation is not None:
            loss = net.validation_step(self.validation.tensors)["loss"]
            self._compare(net, float(loss))

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Compare the epoch with the best."""
        if not isfinite(net.history[-1, "train_loss"]):
            raise NonFiniteLossError
        monitored = "train_loss" if self.validation is None else "valid_loss"
        self._compare(net, net.history[-1, monitored])

    @property
    def stalled(self) -> bool:
        """Whether there were too many misses."""
        return self.misses_ >= self.patience

    def on_train_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Set the best averages, after a full run as after an interruption."""
        best = self.best_state_ or net.average.module.state_dict()
        net.module_.load_state_dict(best)

    def _compare(self, net: NeuralNet, loss: float) -> None:
        self.misses_ += 1
        if loss < self.threshold_ - self.tol:
            self.threshold_ = loss
            self.misses_ = 0
        if loss < self.best_loss_ and self.validation is not None:
            self.best_loss_ = loss
            self.best_state_ = deepcopy(net.average.module.state_dict())


class EpochHooks(Callback):
    """Tell a listener about every epoch, and note whether it asks to stop.

    Parameters
    ----------
    begin : callable
        Called before an epoch.
    end : callable
        Called after an epoch; a true return value asks to stop training.
    """

    asked_to_stop = False

    def __init__(self, begin: Callable[[], None], end: Callable[[], bool]) -> None:
        self.begin = begin
        self.end = end

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Announce an epoch."""
        self.begin()

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Report an epoch."""
        self.asked_to_stop = self.end()


class StopWhen(Callback):
    """Stop training before an epoch; the first callback, so that no other sees it.

    Stopping after an epoch would hide that epoch from the log, which skorch calls last.

    Parameters
    ----------
    condition : callable
        Returns whether to stop.
    """

    def __init__(self, condition: Callable[[], bool]) -> None:
        self.condition = condition

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Stop in the way that skorch stops at Ctrl-C."""
        if self.condition():
            raise KeyboardInterrupt
