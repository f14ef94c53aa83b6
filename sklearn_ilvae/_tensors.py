"""Arrays of any namespace ↔ torch tensors, without copies."""

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._sklearn import (
    get_namespace_and_device,
    move_to,
    supported_float_dtypes,
)


def view_tensor(array: Any) -> Tensor:
    """Return an array as a tensor that shares its memory where the namespace allows it.

    The tensor must not be written to: the array may be a read-only memory map.
    """
    if torch.is_tensor(array):
        return array.detach()
    if not isinstance(array, np.ndarray):
        array = move_to(array, xp=np, device="cpu")
    if any(stride < 0 for stride in array.strides):
        array = np.ascontiguousarray(array)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


def float_dtypes(array: Any) -> list[Any]:
    """Return the floating dtypes that an array's namespace and device support."""
    namespace, _, device = get_namespace_and_device(array)
    return list(supported_float_dtypes(namespace, device))


def from_tensor(tensor: Tensor, like: Any) -> Any:
    """Return a tensor in the namespace and on the device of another array."""
    namespace, _, device = get_namespace_and_device(like)
    if namespace.__name__.endswith("torch"):
        return tensor.to(device)
    return move_to(tensor.cpu().numpy(), xp=namespace, device=device)


def resolve_device(name: str, *, fallback: bool) -> torch.device:
    """Return the device of a name.

    Parameters
    ----------
    name : str
        ``"auto"`` or the name of a torch device.
    fallback : bool
        Whether a device that this machine lacks becomes the CPU rather than an error.

    Returns
    -------
    torch.device
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, dtype=torch.float64, device=device)
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        if fallback:
            return torch.device("cpu")
        raise ValueError(
            f"device={name!r} cannot be used on this machine in double precision "
            f"({error}). Use device='auto' or device='cpu'."
        ) from error
    return device
