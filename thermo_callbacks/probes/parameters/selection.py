"""Select the watched coordinates of a parameter that this process holds, and read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from thermo_callbacks.probes.real_numbers import as_real, real_count
from thermo_callbacks.probes.sharding import Part, local_part


class Selection(NamedTuple):
    """Watched coordinates of a parameter, and those that this process holds."""

    parameter: nn.Parameter
    places: np.ndarray | None  # flat coordinates in what this process holds; None for all
    here: int  # number of coordinates that are watched in this process
    watched: int  # number of coordinates that are watched in all processes


def chunk_layers(lengths: Sequence[int], chunk: int) -> Tensor:
    """Layer of each chunk of the flat rows; each layer has one, so that no reduction is over nothing."""
    chunks = [max(1, -(-length // chunk)) for length in lengths]
    return torch.arange(len(chunks)).repeat_interleave(torch.tensor(chunks))


def select(
    owned: Sequence[nn.Parameter], choice: np.ndarray | None, parts: Mapping[nn.Parameter, Part] | None
) -> list[Selection]:
    """Split a layer's watched coordinates (sorted and flat, None for all) by parameter, as this process holds them."""
    selections, offset = [], 0
    for parameter in owned:
        size = real_count(parameter)
        inside = None if choice is None else choice[(choice >= offset) & (choice < offset + size)] - offset
        offset += size
        watched = size if inside is None else len(inside)
        if parts is not None:
            inside = parts[parameter].select(inside)
            here = parts[parameter].size if inside is None else len(inside)
        else:
            here = watched
        if inside is not None:  # half the memory traffic of three reads a step
            inside = inside.astype(np.int32 if size < 2**31 else np.int64)
        selections.append(Selection(parameter, inside, here, watched))
    return selections


def unreadable(parameters: Iterable[nn.Parameter]) -> dict[int, nn.Parameter]:
    """Parameters, by identity, that can't be read or whose gradient can't: compressed sparse ones, nested ones."""
    return {id(parameter): parameter for parameter in parameters if not _can_be_read(parameter)}


def _can_be_read(parameter: nn.Parameter) -> bool:
    try:
        for tensor in (parameter.detach(), *([] if parameter.grad is None else [parameter.grad])):
            part = local_part(tensor, parameter)
            target = torch.empty(min(1, part.numel()), dtype=torch.float32, device=part.device)
            read(part, torch.zeros(len(target), dtype=torch.int32, device=part.device), target)
    except Exception:  # whatever a tensor of an unknown kind raises
        return False
    return True


def read(source: Tensor, index: Tensor | None, target: Tensor) -> None:
    """Copy the watched coordinates (None for all) of a parameter or gradient, in whatever form it comes."""
    source = as_real(source)
    if source.is_sparse:
        target.copy_(_read_sparse(source, index))
    elif index is None:
        target.copy_(source.reshape(-1))
    elif source.dtype == target.dtype and source.is_contiguous():
        torch.index_select(source.view(-1), 0, index, out=target)  # the fast path of nearly all parameters
    else:
        target.copy_(torch.take(source, index.long()))  # take() follows strides (channels-last) without a copy


def _read_sparse(source: Tensor, index: Tensor | None) -> Tensor:
    """Watched coordinates of a sparse gradient, without making it dense unless all are watched."""
    if index is None or source.sparse_dim() != 1:
        dense = source.to_dense().reshape(-1)
        return dense if index is None else dense[index]
    source = source.coalesce()
    rows = source.indices()[0]
    if not rows.numel():
        return torch.zeros_like(index, dtype=source.dtype)
    values = source.values().reshape(rows.numel(), -1)
    row, column = index // values.shape[1], index % values.shape[1]
    found = torch.searchsorted(rows, row).clamp(max=rows.numel() - 1)
    return torch.where(rows[found] == row, values[found, column], 0.0)
