"""Remembering what a mutable object holds, to put it back into the same object."""

from __future__ import annotations

import random
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Undo = Callable[[], object]
_MISSING = object()


def remember(value: Any) -> Undo | None:
    """Remember the contents of a container, a buffer of bytes, or the state of a random generator.

    Args:
        value: Any object.

    Returns:
        What puts the contents back, and does nothing where they are still the same objects; None for any other type.
    """
    if isinstance(value, dict):
        return remember_items(value)
    if isinstance(value, (list, deque)):
        return _remember_sequence(value)
    if isinstance(value, set):
        return _remember_members(value)
    if isinstance(value, bytearray):
        content = bytes(value)
        return lambda: value.__setitem__(slice(None), content)
    return _remember_generator(value)


def _remember_generator(value: Any) -> Undo | None:
    if isinstance(value, torch.Generator):
        torch_state = value.get_state()
        return lambda: value.set_state(torch_state)
    if isinstance(value, np.random.Generator):
        bits = value.bit_generator
        numbers = bits.state
        return lambda: setattr(bits, "state", numbers)
    if isinstance(value, np.random.RandomState):
        numpy_state = value.get_state()
        return lambda: value.set_state(numpy_state)
    if isinstance(value, random.Random):
        python_state = value.getstate()
        return lambda: value.setstate(python_state)
    return None


def remember_items(value: dict[Any, Any]) -> Undo:
    """Remember keys, values and order of a dictionary, such as an object's attributes.

    Args:
        value: The dictionary.

    Returns:
        What puts them back.
    """
    saved = list(value.items())

    def undo() -> None:
        now = value.items()
        if len(now) == len(saved) and all(
            key is old_key and item is old for (key, item), (old_key, old) in zip(now, saved, strict=True)
        ):
            return
        (OrderedDict.clear if isinstance(value, OrderedDict) else dict.clear)(value)
        for key, item in saved:
            assign(value, key, item)

    return undo


def assign(value: dict[Any, Any], key: Any, item: Any) -> None:
    """Set a key of a dictionary, past what a subclass makes of it.

    Args:
        value: The dictionary.
        key: The key.
        item: The new value.
    """
    (OrderedDict.__setitem__ if isinstance(value, OrderedDict) else dict.__setitem__)(value, key, item)


def remember_slot(value: Any, name: str) -> Undo:
    """Remember an attribute that is not in the object's dictionary.

    Args:
        value: The object.
        name: Name of the slot.

    Returns:
        What puts it back, or takes it away again.
    """
    item = getattr(value, name, _MISSING)

    def undo() -> None:
        if item is not _MISSING:
            object.__setattr__(value, name, item)  # also where the class is frozen
        elif hasattr(value, name):
            object.__delattr__(value, name)

    return undo


def _remember_members(value: set[Any]) -> Undo:
    saved = list(value)

    def undo() -> None:
        if {id(member) for member in value} != {id(member) for member in saved}:
            value.clear()
            value.update(saved)

    return undo


def _remember_sequence(value: list[Any] | deque[Any]) -> Undo:
    saved = list(value)

    def undo() -> None:
        if len(value) != len(saved) or any(item is not old for item, old in zip(value, saved, strict=True)):
            value.clear()
            value.extend(saved)

    return undo
