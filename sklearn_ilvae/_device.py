"""Where to compute: the device of a name, and functions of rows that run there."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

GPU_CHUNKS = 8
"""Chunks that a GPU takes at once: it has no such cache, and each costs it a launch."""


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
def torch_defaults() -> Iterator[None]:
    """Compute in the block as if its user had no default device and no autocast."""
    with ExitStack() as stack:
        # Older releases do not name the device of a `with` block when asked for it.
        if torch.empty(0).device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


@torch.no_grad()
@torch_defaults()
def in_chunks_on(
    device: torch.device,
    function: Callable[[Tensor], Tensor],
    rows: Tensor,
    size: int,
) -> Tensor:
    """Return what a function gives for rows, computed on a device.

    Parameters
    ----------
    device : torch.device
        Where the function is called.
    function : callable
        Maps some rows to as many.
    rows : Tensor of shape (n_rows, n_features)
        Rows anywhere; what comes back is there too.
    size : int
        Rows that stay in the cache of a processor.

    Returns
    -------
    Tensor of shape (n_rows, ...)
    """
    size *= 1 if device.type == "cpu" else GPU_CHUNKS
    parts = [function(chunk.to(device)).to(rows.device) for chunk in rows.split(size)]
    return torch.cat(parts)


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
