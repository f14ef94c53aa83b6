"""From an estimator's parameters to a network, and its training with skorch."""

from .callbacks import NonFiniteLossError
from .net import TrainingSettings, train
from .setup import (
    check_same_columns,
    check_same_network,
    choose_batch_size,
    choose_patience,
    epoch_hooks,
    explain_divergence,
    split_validation,
    start_model,
)

__all__ = [
    "NonFiniteLossError",
    "TrainingSettings",
    "check_same_columns",
    "check_same_network",
    "choose_batch_size",
    "choose_patience",
    "epoch_hooks",
    "explain_divergence",
    "split_validation",
    "start_model",
    "train",
]
