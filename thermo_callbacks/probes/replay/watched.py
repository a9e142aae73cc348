"""Tell whether something has changed that can be neither copied nor put back."""

from __future__ import annotations

import pickle
import queue
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from thermo_callbacks.probes.replay.object_types import is_own_code

Look = Callable[[], Any]
_NO_ROOM = "{} was written to, and there was no room for a copy of it"
_LOST = "{} was changed, and can't be put back"
_BYTES = 2**28  # of an array that are looked at: a sample of what is beyond


class Watch:
    """What is neither copied nor put back, with its place."""

    def __init__(self) -> None:
        self._tensors: list[tuple[str, Tensor, int]] = []
        self._looks: list[tuple[str, Look, Any]] = []
        self._others: list[tuple[str, Any]] = []

    def add_tensor(self, path: str, tensor: Tensor) -> None:
        """Watch a tensor's version."""
        if not tensor.is_inference():  # it can't be written to
            self._tensors.append((path, tensor, tensor._version))

    def add_look(self, path: str, look: Look) -> None:
        """Watch what a function gives."""
        self._looks.append((path, look, look()))

    def add(self, path: str, value: Any) -> None:
        """Watch an object where there is time for it."""
        self._others.append((path, value))

    def changed(self) -> list[str]:
        """What has changed, as far as that can be told in a moment."""
        faults = [_NO_ROOM.format(path) for path, tensor, version in self._tensors if tensor._version != version]
        return faults + [_LOST.format(path) for path, look, before in self._looks if look() != before]

    def looks(self) -> list[tuple[str, Look]]:
        """What tells of everything whether it has changed, with what that would mean."""
        versions = [(_NO_ROOM.format(path), partial(getattr, tensor, "_version")) for path, tensor, _ in self._tensors]
        return versions + [(_LOST.format(path), thorough_look(value)) for path, value in self._others]


def quick_look(value: Any) -> Look | None:
    """What tells of a cache or a queue whether it was written to, in a moment; None for any other object."""
    if isinstance(value, queue.SimpleQueue):
        return value.qsize
    if callable(getattr(type(value), "cache_info", None)):  # functools.lru_cache: a hit is no change
        return lambda: value.cache_info()[1:]
    return None


def thorough_look(value: Any) -> Look:
    """What gives the same as long as an object holds the same, or None where nothing can be told of it."""
    quick = quick_look(value)
    if quick is not None:
        return quick
    if isinstance(value, np.ndarray):
        return partial(_checksum, value)
    if isinstance(value, (dict, list, set, deque)):
        # its items are put back, but not what is in them
        tensors = list(_tensors(value.values() if isinstance(value, dict) else value))
        return lambda: [tensor._version for tensor in tensors]
    if is_own_code(type(value).__module__) and type(getattr(value, "__dict__", None)) is dict:
        return lambda: [(name, _content(item)) for name, item in vars(value).items()]
    return partial(_pickled, value)


def _tensors(values: Iterable[Any], depth: int = 2) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            if not value.is_inference():
                yield value
        elif depth and isinstance(value, (tuple, list, dict)):
            yield from _tensors(value.values() if isinstance(value, dict) else value, depth - 1)


def _content(value: Any) -> Any:
    """The object that an attribute is, and what it holds if that can be told quickly."""
    if isinstance(value, Tensor):
        return id(value), None if value.is_inference() else value._version
    if isinstance(value, np.ndarray):
        return id(value), _checksum(value)
    if isinstance(value, (dict, list, set, deque)):
        return id(value), [_content(item) for item in (value.values() if isinstance(value, dict) else value)]
    return value if isinstance(value, (bool, int, float, str)) else id(value)


def _checksum(array: np.ndarray) -> Any:
    if array.dtype.hasobject or not array.size:
        return id(array)
    stride = -(-array.nbytes // _BYTES)
    return zlib.crc32(np.ascontiguousarray(array[::stride] if array.ndim else array).view(np.uint8).reshape(-1).data)


def _pickled(value: Any) -> Any:
    """By what pickling finds in an object; None where it can't be pickled."""
    checksum = _Checksum()
    try:
        pickle.Pickler(checksum).dump(value)
    except Exception:  # whatever an object that can't be pickled raises
        return None
    return checksum.value


class _Checksum:
    """Takes what is written to it, up to a limit."""

    def __init__(self) -> None:
        self.value = self._size = 0

    def write(self, data: Any) -> int:
        """Take some bytes in."""
        view = memoryview(data).cast("B")
        self._size += len(view)
        if self._size > _BYTES:
            raise ValueError("too large")
        self.value = zlib.crc32(view, self.value)
        return len(view)
