"""Where to compute: the device of a name, for a fit and for a fitted model."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def training_device(name: str, dtype: torch.dtype) -> torch.device:
    """Return the device of a name, CUDA where there is any for ``"auto"``.

    Parameters
    ----------
    name : str
        ``"auto"`` or the name of a torch device.
    dtype : torch.dtype
        What to compute in: not every device has double precision.

    Returns
    -------
    torch.device
        A device that works.

    Raises
    ------
    ValueError
        When the name is unknown, or this machine lacks the device, or the device the
        dtype.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with _explained(name):
        device = torch.device(name)
        torch.zeros(1, dtype=dtype, device=device).item()
    return device


def inference_device(name: str, dtype: torch.dtype) -> torch.device:
    """Return the device of a name, or the CPU where it is missing or lacks a dtype.

    A model that was fitted elsewhere must work here; a name that no machine knows is an
    error, as in `training_device`.
    """
    if name != "auto":
        with _explained(name):
            torch.device(name)
    try:
        return training_device(name, dtype)
    except ValueError:
        return torch.device("cpu")


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Say in an error of torch about a device what can be used instead."""
    try:
        yield
    except (RuntimeError, AssertionError, ImportError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device={name!r} cannot be used on this machine ({reason}). "
            "Use device='auto' or device='cpu'."
        ) from error
