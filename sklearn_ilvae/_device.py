"""Where to compute: the device of a name, for a fit and for a fitted model."""

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
    try:
        device = torch.device(name)
        torch.zeros(1, dtype=dtype, device=device).item()
    except (RuntimeError, AssertionError, ImportError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device={name!r} cannot be used on this machine ({reason}). "
            "Use device='auto' or device='cpu'."
        ) from error
    return device


def inference_device(name: str, dtype: torch.dtype) -> torch.device:
    """Return the device of a name, or the CPU where it is missing or lacks a dtype."""
    try:
        return training_device(name, dtype)
    except ValueError:
        return torch.device("cpu")
