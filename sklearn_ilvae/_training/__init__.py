"""From an estimator's parameters to a network, and its training with skorch."""

from .continuing import check_same_columns, check_same_network
from .net import OptimizerState, TrainingResult, TrainingSettings, train
from .setup import (
    choose_batch_size,
    choose_patience,
    divergence_explained,
    epoch_hooks,
    split_validation,
    start_model,
)

__all__ = [
    "OptimizerState",
    "TrainingResult",
    "TrainingSettings",
    "check_same_columns",
    "check_same_network",
    "choose_batch_size",
    "choose_patience",
    "divergence_explained",
    "epoch_hooks",
    "split_validation",
    "start_model",
    "train",
]
