"""Arrays of any namespace as tensors, and tensors as such arrays."""

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._sklearn import get_namespace_and_device, move_to, supported_float_dtypes


def to_tensor(array: Any) -> Tensor:
    """Return an array of any namespace as a tensor, which must not be written to.

    It shares the memory of the array: a copy would read a memory-mapped file whole.
    """
    if torch.is_tensor(array):
        return array.detach()
    array = move_to(array, xp=np, device="cpu")
    if min(array.strides, default=0) < 0:  # torch has no negative strides
        array = array.copy()
    if not array.dtype.isnative:  # scikit-learn leaves that of a data frame as it is
        array = array.astype(array.dtype.newbyteorder("="))
    with warnings.catch_warnings():
        # Torch has no read-only tensors, and says so.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


def to_numpy(array: Any) -> np.ndarray:
    """Return an array of any namespace, or what NumPy takes for one, as NumPy's."""
    if isinstance(array, np.ndarray) or not hasattr(array, "__dlpack__"):
        return np.asarray(array)
    tensor = to_tensor(array).cpu()
    # NumPy has no bfloat16.
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def with_gaps_for_masks(X: Any) -> Any:
    """Return a masked array as an array with missing values, others as they are."""
    if not isinstance(X, np.ma.MaskedArray):
        return X
    if X.dtype.kind in "biuf":  # numbers
        values = X.data if X.dtype.kind == "f" else X.data.astype(np.float64)
        return np.where(np.ma.getmaskarray(X), np.nan, values)
    objects = X.data.astype(object)
    objects[np.ma.getmaskarray(X)] = None
    return objects


def from_tensor(tensor: Tensor, like: Any) -> Any:
    """Return a tensor in the namespace and on the device of another array."""
    namespace, _, device = get_namespace_and_device(like)
    if namespace.__name__.endswith("torch"):
        return tensor.to(device)
    return move_to(tensor.cpu().numpy(), xp=namespace, device=device)


def float_dtypes(array: Any) -> list[Any]:
    """Return the floating dtypes that an array may keep: double and single."""
    namespace, _, device = get_namespace_and_device(array)
    half = getattr(namespace, "float16", None)
    return [
        dtype for dtype in supported_float_dtypes(namespace, device) if dtype != half
    ]
