"""Fitted scores as named arrays, and on another device."""

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from .bases.fitted import BASES
from .kernels.forms import FORMS
from .kernels.published import fit_published
from .kernels.radial import KERNELS, Kernel, make_kernel
from .model import AveragedScore, Score, ScoreModel

Record = TypeVar("Record")


def model_to(model: Record, device: torch.device) -> Record:
    """Return a model, or any dataclass of tensors, on another device.

    All are contiguous like the arrays of a pickle: other strides round otherwise.
    """
    changed: dict[str, Any] = {}
    for field in fields(model):  # type: ignore[arg-type]
        value = getattr(model, field.name)
        if isinstance(value, Tensor):
            changed[field.name] = value.to(device).contiguous()
        elif is_dataclass(value):
            changed[field.name] = model_to(value, device)
        elif isinstance(value, tuple):
            changed[field.name] = tuple(model_to(each, device) for each in value)
    return replace(model, **changed)  # type: ignore[type-var]


def model_to_arrays(model: Score) -> dict[str, Any]:
    """Return a model as NumPy arrays, numbers and strings by name."""
    if isinstance(model, AveragedScore):
        return {"members": [model_to_arrays(member) for member in model.members]}
    saved: dict[str, Any] = {
        "center": _array(model.center),
        "inverse_scale": _array(model.inverse_scale),
        "base": next(name for name, k in BASES.items() if type(model.base) is k),
    }
    if model.axes is not None:
        saved["axes"] = _array(model.axes)
    for field in fields(model.base):  # type: ignore[arg-type]
        value = getattr(model.base, field.name)
        if value is not None:
            saved[f"base_{field.name}"] = (
                _array(value) if isinstance(value, Tensor) else value
            )
    if model.form is not None and model.coefficients is not None:
        form = next(name for name, kind in FORMS.items() if type(model.form) is kind)
        saved |= _kernel_to_values(model.form.kernel)
        saved |= {
            "form": form,
            "landmarks": _array(model.form.landmarks),
            "coefficients": _array(model.coefficients),
            "longest": model.longest,
            "reach": model.reach,
        }
    if model.published is not None:
        # The factorised kernel matrix is as large as the sample is long, squared, and
        # follows from the sample.
        saved |= _kernel_to_values(model.published.kernel)
        saved |= {
            "sample": _array(model.published.sample),
            "counts": _array(model.published.counts),
            "ridge": model.published.regularization,
        }
    return saved


@torch.inference_mode(False)  # torch could never differentiate it
def model_from_arrays(saved: dict[str, Any]) -> Score:
    """Rebuild, on the CPU, a model saved by `model_to_arrays`."""
    model: Score = (
        AveragedScore(tuple(_model_from(each) for each in saved["members"]))
        if "members" in saved
        else _model_from(saved)
    )
    return model_to(model, torch.device("cpu"))


def _model_from(saved: dict[str, Any]) -> ScoreModel:
    def tensor(name: str) -> Tensor:
        return torch.from_numpy(np.array(saved[name]))

    kind = BASES[saved["base"]]
    base: dict[str, Any] = {
        field.name: saved[name] if isinstance(saved[name], float) else tensor(name)
        for field in fields(kind)
        if (name := f"base_{field.name}") in saved
    }
    model = ScoreModel(
        center=tensor("center"),
        inverse_scale=tensor("inverse_scale"),
        base=kind(**base),
        axes=tensor("axes") if "axes" in saved else None,
    )
    if "kernel" not in saved:
        return model
    kernel = make_kernel(saved["kernel"], saved["bandwidth"])
    if "sample" in saved:
        published = fit_published(
            kernel, tensor("sample"), saved["ridge"], tensor("counts")
        )
        return replace(model, published=published)
    form = FORMS[saved["form"]](kernel, tensor("landmarks"))
    return replace(
        model,
        form=form,
        coefficients=tensor("coefficients"),
        longest=saved["longest"],
        reach=saved["reach"],
    )


def _array(tensor: Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    return tensor.cpu().numpy().copy()


def _kernel_to_values(kernel: Kernel) -> dict[str, Any]:
    name = next(name for name, kind in KERNELS.items() if type(kernel) is kind)
    return {"kernel": name, "bandwidth": kernel.bandwidth}
