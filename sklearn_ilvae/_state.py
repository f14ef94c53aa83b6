"""What an estimator keeps: a network as named arrays, and all or nothing in a fit."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from ._columns import to_tensor
from ._device import torch_defaults
from ._random import seeded
from .vae import Architecture, VariationalAutoencoder


def module_to_arrays(module: VariationalAutoencoder) -> dict[str, Any]:
    """Return architecture and parameters as plain values and NumPy arrays by name."""
    arrays = {
        name: tensor.detach().cpu().numpy().copy()
        for name, tensor in module.state_dict().items()
    }
    return {"architecture": asdict(module.architecture), "arrays": arrays}


@torch.inference_mode(False)  # torch could never differentiate it
def module_from_arrays(saved: Mapping[str, Any]) -> VariationalAutoencoder:
    """Rebuild, on the CPU, a network saved by `module_to_arrays`."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in saved["architecture"].items()
    }
    with torch_defaults(), seeded(0):  # the weights drawn here are overwritten
        module = VariationalAutoencoder(Architecture(**values))
    tensors = {
        name: to_tensor(np.asarray(array))  # which may be a file mapped to memory
        for name, array in saved["arrays"].items()
    }
    module.load_state_dict(tensors)
    return module.eval()


@contextmanager
def unchanged_on_error(estimator: object) -> Iterator[None]:
    """Give an estimator its attributes back when the block raises."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
