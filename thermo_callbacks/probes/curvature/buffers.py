"""Memory for tensors that are written anew at each measurement."""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor

SMALL = 2**25
"""Bytes that may lie about between measurements."""


class KeptMemory:
    """Tensors that are kept from measurement to measurement where they are small.

    Fresh pages cost a small network several times what the copying does; those of a large one would be missed.

    Example:
        >>> import torch
        >>> memory = KeptMemory()
        >>> first = memory.like("gradient", torch.zeros(3))
        >>> memory.rest()
        >>> memory.like("gradient", torch.ones(3)) is first
        True
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, Tensor] = {}

    def like(self, key: Hashable, source: Tensor) -> Tensor:
        """A tensor like the source to write to: the same for a key, as whoever wrote to it last left it."""
        place = self._kept.get(key)
        if place is None or place.shape != source.shape or place.dtype != source.dtype or place.device != source.device:
            place = self._kept[key] = torch.empty_like(source, requires_grad=False)
        return place

    def rest(self) -> None:
        """Drop all tensors between measurements if they are large."""
        if sum(place.numel() * place.element_size() for place in self._kept.values()) > SMALL:
            self.drop()

    def drop(self) -> None:
        """Keep nothing."""
        self._kept.clear()
