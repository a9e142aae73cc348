"""Remember what a mutable object holds, to put it back into the same object."""

from __future__ import annotations

import array
import operator
import os
import random
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from functools import partial
from io import BytesIO, IOBase, StringIO
from itertools import chain
from typing import Any

import numpy as np
import torch

Undo = Callable[[], object]
_MISSING = object()
_STREAMS = (
    (torch.Generator, "get_state", "set_state"),
    (np.random.RandomState, "get_state", "set_state"),
    (random.Random, "getstate", "setstate"),
)


def remember(value: Any) -> Undo | None:
    """What puts the contents of a container, a random generator or a file back; None for any other type."""
    # it does nothing where the contents are still the same objects
    if isinstance(value, dict):
        return remember_items(value)
    if isinstance(value, (list, deque)):
        return _remember_members(value, value.extend)
    if isinstance(value, set):
        return _remember_members(value, value.update)
    if isinstance(value, (bytearray, array.array)):
        return partial(value.__setitem__, slice(None), value[:])
    if isinstance(value, IOBase):
        return _remember_file(value)
    if isinstance(value, np.random.Generator):
        return partial(setattr, value.bit_generator, "state", value.bit_generator.state)
    for kind, read, write in _STREAMS:
        if isinstance(value, kind):
            return partial(getattr(value, write), getattr(value, read)())
    return None


def remember_items(value: dict[Any, Any], *, ordered: bool = True) -> Undo:
    """What puts keys, values and, where that matters, order of a dictionary back, such as an object's attributes."""
    saved = list(value.items())

    def undo() -> None:
        if len(value) == len(saved) and _identical(chain(*value.items()), chain(*saved)):
            return
        # one by one, and never empty in between: another thread or a signal's handler may look for a name here
        former = dict(saved)
        for key in [key for key in value if key not in former]:
            (OrderedDict.__delitem__ if isinstance(value, OrderedDict) else dict.__delitem__)(value, key)
        for key, item in saved:
            if dict.get(value, key, _MISSING) is not item:
                assign(value, key, item)
        if ordered and not _identical(value, former):
            (OrderedDict.clear if isinstance(value, OrderedDict) else dict.clear)(value)
            for key, item in saved:
                assign(value, key, item)

    return undo


def remember_class(kind: type) -> Undo:
    """What puts the attributes of a class back."""
    saved = dict(vars(kind))

    def undo() -> None:
        now = vars(kind)
        if len(now) == len(saved) and _identical(chain(*now.items()), chain(*saved.items())):
            return
        for name in now.keys() - saved.keys():
            type.__delattr__(kind, name)
        for name, item in saved.items():
            if now.get(name, _MISSING) is not item:
                type.__setattr__(kind, name, item)

    return undo


def assign(value: dict[Any, Any], key: Any, item: Any) -> None:
    """Set a key of a dictionary, past what a subclass makes of it."""
    (OrderedDict.__setitem__ if isinstance(value, OrderedDict) else dict.__setitem__)(value, key, item)


def remember_slot(value: Any, name: str) -> Undo:
    """What puts an attribute that is not in the object's dictionary back, or takes it away again."""
    item = getattr(value, name, _MISSING)

    def undo() -> None:
        if getattr(value, name, _MISSING) is item:
            return  # a class may have a constant or a property in the place of a base's slot, which refuses any writing
        if item is not _MISSING:
            object.__setattr__(value, name, item)  # also where the class is frozen
        else:
            object.__delattr__(value, name)

    return undo


def _remember_members(value: Any, fill: Callable[[list[Any]], object]) -> Undo:
    saved = list(value)  # a set that was not written to gives its members in the same order

    def undo() -> None:
        if len(value) != len(saved) or not _identical(value, saved):
            value.clear()
            fill(saved)

    return undo


def _remember_text(value: Any) -> Undo:
    place, saved = value.tell(), value.getvalue()

    def undo() -> None:
        if value.getvalue() != saved:
            value.seek(0)
            value.truncate()
            value.write(saved)
        value.seek(place)

    return undo


def _remember_file(file: Any) -> Undo | None:
    """What cuts a file off where it ended, or reads on from where it was; None where the place can't be told."""
    try:
        if file.closed or not file.seekable():
            return None
        if isinstance(file, (StringIO, BytesIO)):
            return _remember_text(file)
        if writable := file.writable():
            file.flush()
        place, size = file.tell(), os.fstat(file.fileno()).st_size
    except (OSError, ValueError):  # while a loop reads its lines, a text file does not know
        return None

    def undo() -> None:
        if file.closed:
            raise ValueError(f"the file {getattr(file, 'name', '')!r} was closed")
        if file.tell() == place:
            return
        if writable and place != size:
            raise ValueError(f"the file {getattr(file, 'name', '')!r} was written to before its end")
        file.seek(place)
        if writable:
            file.truncate()

    return undo


def _identical(now: Iterable[Any], saved: Iterable[Any]) -> bool:
    return all(map(operator.is_, now, saved))
