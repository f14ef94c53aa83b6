"""Where something is computed, on machines with and without other devices."""

import pytest
import torch

from sklearn_ilvae._device import (
    GPU_CHUNKS,
    in_chunks_on,
    inference_device,
    torch_defaults,
    training_device,
)

BOTH = [training_device, inference_device]


@pytest.mark.parametrize("device_of", BOTH)
@pytest.mark.parametrize(("cuda", "kind"), [(True, "cuda"), (False, "cpu")])
def test_a_gpu_is_used_where_there_is_one(monkeypatch, device_of, cuda, kind):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    assert device_of("auto", torch.float32).type == kind


def test_what_a_device_cannot_hold_is_trained_nowhere_and_computed_on_the_processor(
    monkeypatch,
):
    """One of Apple's has no double precision."""

    def zeros(size, dtype, device):
        if dtype == torch.float64 and device.type == "mps":
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return torch.ones(size, dtype=dtype)

    monkeypatch.setattr(torch, "zeros", zeros)
    for device_of in BOTH:
        assert device_of("mps", torch.float32).type == "mps"
    assert inference_device("mps", torch.float64).type == "cpu"
    with pytest.raises(ValueError, match=r"'mps' cannot .*float64.*'auto' or"):
        training_device("mps", torch.float64)


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_precision_that_code_around_lowers_comes_back_after_a_block(kind):
    torch.set_autocast_enabled(kind, True)
    try:
        with torch_defaults():
            assert not torch.is_autocast_enabled(kind)
        assert torch.is_autocast_enabled(kind)
    finally:
        torch.set_autocast_enabled(kind, False)


@pytest.mark.parametrize(("kind", "size"), [("cpu", 3), ("meta", 3 * GPU_CHUNKS)])
def test_rows_are_taken_in_order_in_chunks_that_suit_the_device(kind, size):
    """Which is also where they are; no other device than the processor has a cache."""
    rows, sizes = torch.arange(50.0, device=kind, requires_grad=True)[:, None], []

    def doubled(chunk):
        sizes.append(len(chunk))
        return 2 * chunk

    found = in_chunks_on(torch.device(kind), doubled, rows, 3)
    assert sizes == [size] * (50 // size) + [50 % size]
    assert found.device.type == kind
    assert not found.requires_grad
    if kind == "cpu":
        assert torch.equal(found, 2 * rows)
