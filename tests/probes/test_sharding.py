"""Which part of a parameter a process holds, and that the parts make up the whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from integration.processes import in_processes
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.placement_types import _StridedShard

from thermo_callbacks.functional.window.streaming import StreamingWindow
from thermo_callbacks.probes.parameters.coordinates import CoordinateProbe
from thermo_callbacks.probes.parameters.weights import weight_entropies
from thermo_callbacks.probes.sharding import (
    Part,
    ShardingError,
    _chunks,
    is_distributed,
    is_sharded,
    local_part,
    part_of,
)


@st.composite
def parts(draw: st.DrawFn) -> Part:
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=0, max_size=3)))
    positions = [np.flatnonzero(draw(st.lists(st.booleans(), min_size=size, max_size=size))) for size in shape]
    return Part(tuple(positions), shape, counted=draw(st.booleans()))


@given(part=parts(), data=st.data())
def test_elements_are_found_where_the_part_has_them(part: Part, data: st.DataObject) -> None:
    whole = torch.arange(int(np.prod(part.shape, dtype=int))).reshape(part.shape)
    held = whole[np.ix_(*part.positions)] if part.shape else whole
    assert torch.equal(part.cut(whole), held)
    assert part.size == (held.numel() if part.counted else 0)
    chosen = np.array(sorted(data.draw(st.sets(st.sampled_from(whole.flatten().tolist())))), np.int64)
    where, here = part.find(chosen)
    assert torch.equal(held.flatten()[here], torch.from_numpy(chosen[where]))
    assert set(chosen[where].tolist()) == set(chosen.tolist()) & set(held.flatten().tolist())
    everything, selected = part.select(None), part.select(chosen)
    assert selected is not None
    assert selected.tolist() == (here.tolist() if part.counted else [])
    assert (everything is None) == part.counted


@given(length=st.integers(0, 40), count=st.integers(1, 9))
def test_chunks_are_those_of_torch(length: int, count: int) -> None:
    chunks = [chunk.tolist() for chunk in _chunks(np.arange(length), count)]
    expected = [chunk.tolist() for chunk in torch.arange(length).chunk(count)] if length else []
    assert len(chunks) == count
    assert [chunk for chunk in chunks if chunk] == expected


def test_a_parameter_of_one_process_is_not_distributed() -> None:
    layer = nn.Linear(3, 1, bias=False)
    parameter = layer.weight
    assert not is_distributed(parameter)
    assert not is_sharded(layer)
    assert local_part(parameter) is parameter


def arranged(rank: int) -> dict[str, Any]:
    """The parts that four processes hold, in several arrangements; see the test."""
    torch.distributed.init_process_group("gloo", rank=rank, world_size=4)
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
    return {name: _seen(make(mesh)) for name, make in ARRANGEMENTS.items()} | {"refused": _refused(mesh)}


def _seen(parameter: nn.Parameter) -> dict[str, Any]:
    part = part_of(parameter, "weight")
    local = local_part(parameter.detach())
    places = np.arange(parameter.numel())
    where, here = part.find(places)
    whole = parameter.full_tensor() if isinstance(parameter, DTensor) else parameter.detach()
    return {
        "right": torch.equal(local.flatten()[here], whole.detach().flatten()[where])
        and torch.equal(part.cut(whole.detach()), local),
        "counted": torch.from_numpy(where) if part.counted else torch.empty(0, dtype=torch.int64),
        "numel": parameter.numel(),
        "entropy": weight_entropies({"layer": [parameter]}, sample=20)["layer"][0].entropy
        - weight_entropies({"layer": [nn.Parameter(whole.detach())]}, sample=20)["layer"][0].entropy,
    }


def _refused(mesh: Any) -> list[str]:
    pending = DTensor.from_local(torch.ones(4, 4), mesh, [Partial(), Shard(0)])
    ready = distribute_tensor(torch.ones(8, 4), mesh, [Replicate(), Shard(0)])
    messages = []
    for refuse in (lambda: part_of(nn.Parameter(pending), "weight"), lambda: local_part(pending, ready)):
        with pytest.raises(ShardingError) as caught:
            refuse()
        messages.append(str(caught.value))
    return messages


def _values(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def _distributed(shape: tuple[int, ...], placements: list[Any]) -> Callable[[Any], nn.Parameter]:
    return lambda mesh: nn.Parameter(distribute_tensor(_values(*shape), mesh, placements))


ARRANGEMENTS: dict[str, Callable[[Any], nn.Parameter]] = {
    "whole in all": lambda mesh: nn.Parameter(_values(5, 3)),
    "copies": _distributed((6, 5), [Replicate(), Replicate()]),
    "rows in copies": _distributed((7, 5), [Replicate(), Shard(0)]),
    "columns": _distributed((6, 9), [Shard(1), Replicate()]),
    "rows and columns": _distributed((5, 7), [Shard(0), Shard(1)]),
    "fewer rows than processes": _distributed((3, 5), [Shard(0), Shard(0)]),
    "pieces of pieces": lambda mesh: nn.Parameter(
        DTensor.from_local(
            _values(8, 3).chunk(2)[mesh.get_coordinate()[1]].chunk(2)[mesh.get_coordinate()[0]],
            mesh,
            [_StridedShard(0, split_factor=2), Shard(0)],
        )
    ),
    "one of two meshes": lambda mesh: nn.Parameter(distribute_tensor(_values(9), mesh["data"], [Shard(0)])),
}


def test_the_parts_of_four_processes_make_up_the_whole_once(tmp_path: Path) -> None:
    answers = in_processes(4, arranged, tmp_path)
    for name in ARRANGEMENTS:
        seen = [answer[name] for answer in answers]
        assert all(one["right"] for one in seen), name
        counted = torch.cat([one["counted"] for one in seen]).sort().values
        assert torch.equal(counted, torch.arange(seen[0]["numel"])), name
        assert all(abs(one["entropy"]) < 1e-6 for one in seen), name
    for answer in answers:
        assert answer["refused"] == [
            "the parameter weight is distributed as (P(sum), S(0)), a sum still to be made",
            "a tensor of shape [8, 4] is distributed as (P(sum), S(0)) and its parameter as (R, S(0)): redistribute "
            "its gradient before the optimizer steps",
        ]


class OfTwenty(nn.Parameter):
    """Holds some of twenty elements, and tells the number of all."""

    def numel(self) -> int:
        return 20


@pytest.mark.parametrize("sample", [None, 9])
@torch.no_grad()
def test_windows_of_parts_add_up_to_that_of_the_whole(sample: int | None) -> None:
    generator = torch.Generator().manual_seed(2)
    whole = nn.Parameter(torch.randn(5, 4, generator=generator, dtype=torch.float64))
    halves = [whole[rows].clone() for rows in (slice(0, 3), slice(3, 5))]
    held = [Part((np.arange(0, 3), np.arange(4)), (5, 4), True), Part((np.arange(3, 5), np.arange(4)), (5, 4), True)]

    def window_of(probe: CoordinateProbe) -> StreamingWindow:
        return StreamingWindow(
            probe.chunk_layers, 1, length=6, device=probe.device, dtype=probe.dtype, sampled=probe.sampled
        )

    def probe_of(parameter: nn.Parameter, part: Part | None) -> CoordinateProbe:
        known = None if part is None else {parameter: part}
        return CoordinateProbe({"layer": [parameter]}, sample=sample, seed=0, chunk=256, parts=known)

    parameters = [whole, *(OfTwenty(half) for half in halves)]
    probes = [probe_of(parameter, part) for parameter, part in zip(parameters, [None, *held], strict=True)]
    windows = [window_of(probe) for probe in probes]
    for _ in range(6):
        gradient = torch.randn(5, 4, generator=generator, dtype=torch.float64)
        for parameter, probe, window, rows in zip(
            parameters, probes, windows, (slice(0, 5), slice(0, 3), slice(3, 5)), strict=True
        ):
            parameter.grad = gradient[rows].clone()
            assert probe.has_gradient
            probe.before_step()
            parameter.add_(parameter.grad, alpha=-0.1)
            probe.after_step()
            window.update(probe.rows, 0.0, 1.0, 0.1)
    right, *shares = (window.layer_sums() for window in windows)
    for expected, one, other in zip(right, *shares, strict=True):
        if expected is right.flags:
            assert torch.equal(expected, one)
        else:
            torch.testing.assert_close(one + other, expected, rtol=1e-12, atol=1e-12)
    for probe in probes[1:]:
        for found, expected in zip(probe.coordinates(6), probes[0].coordinates(6), strict=True):
            assert torch.equal(found, expected)
        assert torch.equal(probe.whole_chunk_layers, probes[0].chunk_layers)
