"""Means and variances of what comes in, a few features of each batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

FEATURES = 64
"""Features of a tensor that are looked at, evenly over it."""
MOST_TENSORS = 4
"""Tensors of a batch that are looked at: inputs, targets, perhaps masks."""
MOST_BATCHES = 16
"""Batches that are kept between two moments of reading."""


class BatchMoments(NamedTuple):
    """Moments of the features of some batches of one size, on the CPU, float64.

    Attributes:
        means: ``[n, f]``.
        variances: ``[n, f]``; NaN of batches with one sample.
        samples: Samples of a batch.
        inputs: Which features are real numbers that come in, and not whole numbers or targets, ``[f]``.
    """

    means: Tensor
    variances: Tensor
    samples: int
    inputs: Tensor


class BatchProbe:
    """Keeps mean and variance of some features of each batch that it is shown, on the device; nothing waits for it."""

    def __init__(self) -> None:
        self._kind: tuple[Any, ...] = ()  # sizes and types of the tensors of a batch
        self._places: list[tuple[Tensor, ...]] = []
        self._moments: list[Tensor] = []

    def add(self, batch: Any) -> None:
        """Take in a batch; what has another shape than the first since the last reading is passed over."""
        if len(self._moments) >= MOST_BATCHES:
            return
        tensors = list(filter(_is_readable, tensors_in(batch)))[:MOST_TENSORS]
        tensors = [each for each in tensors if len(each) == len(tensors[0]) and each.device == tensors[0].device]
        if not tensors:
            return
        kind = tuple((each.shape, each.dtype) for each in tensors)
        if kind != self._kind:
            if self._moments:
                return
            self._kind, self._places = kind, []
        if not self._places:
            self._places = [_places(each) for each in tensors]
        chosen = [
            _chosen(each, places).reshape(len(each), -1).float()
            for each, places in zip(tensors, self._places, strict=True)
        ]
        features = torch.cat(chosen, 1) if len(chosen) > 1 else chosen[0]
        # one sample has no variance, and asking for it warns
        moments = torch.var_mean(features, 0, correction=int(len(features) > 1))
        self._moments.append(torch.stack(moments))

    def take(self) -> BatchMoments | None:
        """Moments of the batches since the last reading; None if there was none."""
        if not self._moments:
            return None
        # those of a checkpoint lie on the CPU
        device = self._moments[-1].device
        stacked = torch.stack([each.to(device) for each in self._moments])
        variances, means = stacked.cpu().double().unbind(1)
        self._moments.clear()
        samples = int(self._kind[0][0][0])
        if samples == 1:
            variances = torch.full_like(variances, torch.nan)
        counts = [1 if len(shape) == 1 else min(FEATURES, shape[1:].numel()) for shape, _ in self._kind]
        real = [
            kind.is_floating_point and (not place or len(shape) > 2) for place, (shape, kind) in enumerate(self._kind)
        ]
        flags = [torch.full((count,), flag) for count, flag in zip(counts, real, strict=True)]
        return BatchMoments(means, variances, samples, torch.cat(flags))

    def state_dict(self) -> dict[str, Any]:
        """Moments of the open window for a checkpoint."""
        return {
            "moments": [each.cpu().clone() for each in self._moments],
            "kind": [[list(shape), str(dtype).removeprefix("torch.")] for shape, dtype in self._kind],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back :meth:`state_dict`."""
        self._kind = tuple((torch.Size(shape), getattr(torch, dtype)) for shape, dtype in state["kind"])
        self._moments, self._places = list(state["moments"]), []


def tensors_in(batch: Any) -> Iterator[Tensor]:
    """Tensors of a batch, in its order: in what loaders make of samples, however nested."""
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, Mapping):
        for item in batch.values():
            yield from tensors_in(item)
    elif isinstance(batch, (list, tuple)):
        for item in batch:
            yield from tensors_in(item)
    elif is_dataclass(batch) and not isinstance(batch, type):
        for field in fields(batch):
            yield from tensors_in(getattr(batch, field.name))


def _is_readable(tensor: Tensor) -> bool:
    """Whether a tensor has samples of real or whole numbers."""
    return bool(tensor.ndim and tensor.numel()) and not tensor.is_complex() and tensor.layout == torch.strided


def _chosen(tensor: Tensor, places: tuple[Tensor, ...]) -> Tensor:
    if len(places) == 1:
        return tensor.detach().index_select(1, places[0])
    index: tuple[Any, ...] = (slice(None), *places)
    return tensor.detach()[index]


def _places(tensor: Tensor) -> tuple[Tensor, ...]:
    """Indices of the features that are looked at, beyond the first dimension."""
    shape = tensor.shape[1:]
    if not shape:
        return ()
    size = shape.numel()
    # the middles of as many equal parts: neither the first value of all rows, nor the last
    count = min(FEATURES, size)
    flat = ((torch.arange(count, dtype=torch.float64) + 0.5) * size / count).long()
    return tuple(each.to(tensor.device) for each in torch.unravel_index(flat, shape))
