"""Find the part of a sharded parameter that this process holds, and sum over all processes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class ShardingError(RuntimeError):
    """Parameters are distributed in a way that can't be watched; the message says which."""


@dataclass(frozen=True)
class Part:
    """What this process holds of a parameter."""

    positions: tuple[np.ndarray, ...]  # where its elements stand in the whole parameter, along each dimension
    shape: tuple[int, ...]  # of the whole parameter
    counted: bool  # whether its elements count here, and not in another process that holds the same

    @property
    def size(self) -> int:
        """Elements that count here."""
        return int(np.prod([len(places) for places in self.positions], dtype=np.int64)) if self.counted else 0

    def select(self, chosen: np.ndarray | None) -> np.ndarray | None:
        """Flat indices in the part of chosen elements (sorted, None for all) that count here; None for all of it."""
        if not self.counted:
            return np.empty(0, np.int64)
        return None if chosen is None else self.find(chosen)[1]

    def find(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places in ``chosen``, flat indices in the whole, of what is held here, and flat indices in the part."""
        held, flat = np.ones(len(chosen), bool), np.zeros(len(chosen), np.int64)
        for places, size, along in zip(self.positions, self.shape, _unravel(chosen, self.shape), strict=True):
            table = np.full(size, -1, np.int64)
            table[places] = np.arange(len(places))
            here = table[along]
            held &= here >= 0
            flat = flat * len(places) + here
        where = np.flatnonzero(held)
        return where, flat[where]

    def cut(self, whole: Tensor) -> Tensor:
        """What this process holds of a tensor of the whole parameter's shape."""
        for dimension, places in enumerate(self.positions):
            if len(places) < whole.shape[dimension]:
                whole = whole.index_select(dimension, torch.from_numpy(places).to(whole.device))
        return whole


def is_distributed(tensor: Tensor) -> bool:
    """Whether a tensor knows how it is distributed over processes: whether it is a DTensor."""
    kinds = sys.modules.get("torch.distributed.tensor")  # without the module there is none, and importing it takes long
    return kinds is not None and isinstance(tensor, kinds.DTensor)


def local_part(tensor: Tensor, like: Tensor | None = None) -> Tensor:
    """Part of a tensor that this process holds, in the tensor's own memory; the tensor itself if not distributed."""
    # it must be distributed as the parameter that it is like, which gradients that wait to be summed are not
    if not is_distributed(tensor):
        return tensor
    distributed: Any = tensor
    if like is not None and is_distributed(like) and distributed.placements != like.placements:  # type: ignore[attr-defined]
        raise ShardingError(
            f"a tensor of shape {list(tensor.shape)} is distributed as {_words(distributed)} and its parameter as "
            f"{_words(like)}: redistribute its gradient before the optimizer steps"
        )
    part: Tensor = distributed.to_local()
    return part


def part_of(parameter: nn.Parameter, name: str) -> Part:
    """What this process holds of a parameter; a whole parameter that all processes hold counts in the first."""
    shape = tuple(parameter.shape)
    positions = [np.arange(size) for size in shape]
    if not is_distributed(parameter):
        return Part(tuple(positions), shape, torch.distributed.get_rank() == 0)
    distributed: Any = parameter
    mesh = distributed.device_mesh
    coordinate, counted = mesh.get_coordinate(), bool((mesh.mesh == 0).any())  # others hold the same as its processes
    for axis, placement in enumerate(distributed.placements):
        if placement.is_replicate():
            counted &= coordinate[axis] == 0
        elif placement.is_partial():
            raise ShardingError(f"the parameter {name} is distributed as {_words(parameter)}, a sum still to be made")
        else:
            here = positions[placement.dim]
            # where tensor parallelism has split a dimension before, each of its pieces is split in turn
            pieces = _chunks(here, getattr(placement, "split_factor", 1))
            positions[placement.dim] = np.concatenate(
                [_chunks(piece, mesh.size(axis))[coordinate[axis]] for piece in pieces]
            )
    part = Part(tuple(positions), shape, counted)
    if tuple(len(places) for places in positions) != tuple(distributed.to_local().shape):
        raise ShardingError(f"the parameter {name} is distributed as {_words(parameter)}, in parts of unknown places")
    return part


def _chunks(places: np.ndarray, count: int) -> list[np.ndarray]:
    """Chunks as torch makes them: equal ones, then a shorter one, then empty ones."""
    length = -(-len(places) // count)
    return [places[length * index : length * (index + 1)] for index in range(count)]


def _unravel(flat: np.ndarray, shape: Sequence[int]) -> list[np.ndarray]:
    """Indices along each dimension."""
    along = []
    for size in reversed(shape):
        along.append(flat % size)
        flat = flat // size
    return along[::-1]


def _words(tensor: Any) -> str:
    """The placements of a distributed tensor."""
    return f"({', '.join(str(placement) for placement in tensor.placements)})"


def is_sharded(model: nn.Module) -> bool:
    """Whether each process holds a part of a model's parameters; to be asked between two passes."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return False
    reshard(model)
    return any(is_distributed(parameter) for parameter in model.parameters())


def reshard(model: nn.Module) -> None:
    """Reshard a model between two passes: after one without gradients FSDP2 leaves the whole parameters in place."""
    kinds = sys.modules.get("torch.distributed.fsdp")
    sharded = getattr(kinds, "FSDPModule", None)
    if sharded is not None:
        for module in model.modules():
            if isinstance(module, sharded):
                module.reshard()


def sum_over_processes(values: Tensor, device: torch.device) -> Tensor:
    """Sum of one tensor over all processes, exchanged on a device; each process must call this."""
    total = values.to(device, copy=True)
    torch.distributed.all_reduce(total)
    return total.to(values.device)
