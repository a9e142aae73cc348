"""Memory that is kept between measurements."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from thermo_callbacks.probes.curvature import buffers
from thermo_callbacks.probes.curvature.buffers import KeptMemory


def test_one_key_gets_one_tensor_and_another_key_another() -> None:
    memory, source = KeptMemory(), torch.zeros(2, 3)
    first = memory.like("a", source)
    assert memory.like("a", torch.ones(2, 3)) is first
    assert memory.like("b", source) is not first
    assert source.data_ptr() not in {first.data_ptr(), memory.like("b", source).data_ptr()}


def test_it_is_like_its_source_and_needs_no_gradient() -> None:
    source = nn.Parameter(torch.zeros(2, 3, 4, 4, dtype=torch.float64).to(memory_format=torch.channels_last))
    place = KeptMemory().like("a", source)
    assert (place.shape, place.dtype, place.stride()) == (source.shape, source.dtype, source.stride())
    assert type(place) is torch.Tensor
    assert not place.requires_grad


@pytest.mark.parametrize(
    "other", [torch.zeros(3, 2), torch.zeros(2, 3, dtype=torch.float64), torch.zeros(2, 3, device="meta")], ids=str
)
def test_another_shape_dtype_or_device_is_another_tensor(other: torch.Tensor) -> None:
    memory = KeptMemory()
    first = memory.like("a", torch.zeros(2, 3))
    place = memory.like("a", other)
    assert place is not first
    assert (place.shape, place.dtype, place.device) == (other.shape, other.dtype, other.device)


@pytest.mark.parametrize(("limit", "kept"), [(24, True), (23, False)])
def test_much_is_not_kept(limit: int, kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers, "SMALL", limit)
    memory = KeptMemory()
    first, second = memory.like("a", torch.zeros(4)), memory.like("b", torch.zeros(1, dtype=torch.float64))
    memory.rest()
    assert (memory.like("a", torch.zeros(4)) is first) is kept
    assert (memory.like("b", torch.zeros(1, dtype=torch.float64)) is second) is kept


def test_dropped() -> None:
    memory = KeptMemory()
    first = memory.like("a", torch.zeros(4))
    memory.drop()
    assert memory.like("a", torch.zeros(4)) is not first
