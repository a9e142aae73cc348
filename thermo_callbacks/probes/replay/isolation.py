"""Copies in the place of everything that a function may write to, and the originals back in their place."""

from __future__ import annotations

import queue
import sys
import threading
import types
import weakref
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from io import IOBase
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from thermo_callbacks.probes.replay.restore import Undo, assign, remember, remember_items, remember_slot

_LONG = 100_000  # items from which a container is data: it is put back, and its items are not looked into
_LIBRARIES = frozenset({"torch", "lightning", "pytorch_lightning", "lightning_fabric"})
_HOLDERS = frozenset({"collections", "types"})  # modules of the standard library whose objects only hold values
_CODE_TYPES = (types.FunctionType, types.MethodType, types.BuiltinFunctionType, weakref.ref)
_VALUE_TYPES = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size)
_ATOMS = frozenset({*_CODE_TYPES, *_VALUE_TYPES})
_CONTAINERS = frozenset({dict, OrderedDict, list, set, deque})
_CODE = (type, types.FunctionType, types.MethodType, types.ModuleType)
_LOCKS = (type(threading.Lock()), type(threading.RLock()), threading.Condition, threading.Event, threading.Thread)

_open_types: dict[type, bool] = {}  # whether objects of a type are looked into
_slots_of: dict[type, Iterable[str]] = {}


class IsolationError(Exception):
    """Something can't be protected, or was changed and can't be put back."""


class Isolation:
    """Makes a copy of each tensor and array that hangs on some objects and puts it in the original's place.

    What a function then writes to is a copy. Lists, dictionaries, sets, deques and objects stay the same, since others
    may hold them, and get their contents back in the end. Objects of torch and of Lightning other than modules, data
    sets among them, and those that share a lock with other threads are left as they are.

    Copies of 16-bit numbers have 32 bits.

    Args:
        given: Stand-ins made by the caller, by the identity of what they stand for: the parameters' new values.
        room: Bytes that may be copied. Tensors beyond are used themselves, and :meth:`restore` tells if one of them
            was written to.
    """

    def __init__(self, given: Mapping[int, Any], room: float) -> None:
        self._memo: dict[int, Any] = dict(given)
        self._room = room
        self._originals: list[Any] = []  # kept alive, so that no identity in the memo is used again
        self._undo: list[Undo] = []
        self._empty: list[Any] = []  # containers without items: most of what a module has
        self._watched: list[tuple[str, Tensor, int]] = []
        self._todo: list[tuple[Any, str]] = []

    def replace(self, value: Any, path: str, *, all_of_it: bool = False) -> Any:
        """Put copies into everything that can be reached from a value.

        Args:
            value: The value.
            path: What to call it in a message.
            all_of_it: Whether to copy beyond the room.

        Returns:
            What to use in its place: a copy of a tensor, an array or a tuple of them, else the value itself.

        Raises:
            IsolationError: If there is an iterator, which can't be rewound, or a scripted module.
        """
        room, self._room = self._room, torch.inf if all_of_it else self._room
        stand_in = self._stand_in(value, path)
        while self._todo:
            self._open(*self._todo.pop())
        if all_of_it:
            self._room = room
        return stand_in

    def keep_attributes(self, value: Any) -> None:
        """Have the attributes of an object put back, without looking into them.

        Args:
            value: The object.
        """
        self._undo.append(remember_items(vars(value)))

    def restore(self) -> None:
        """Put everything back.

        Raises:
            IsolationError: If something was changed that can't be put back.
        """
        faults = []
        for container in self._empty:
            if container:
                container.clear()
        for undo in reversed(self._undo):
            try:
                undo()
            except Exception as fault:  # the rest is put back all the same
                faults.append(f"{type(fault).__name__}: {fault}")
        faults += [
            f"{path} was written to, and there was no room for a copy of it"
            for path, tensor, version in self._watched
            if tensor._version != version
        ]
        self._undo, self._empty, self._memo, self._originals, self._watched = [], [], {}, [], []
        if faults:
            raise IsolationError("; ".join(faults))

    def _stand_in(self, value: Any, path: str) -> Any:
        """What to use in place of a value; containers and objects are opened later, each once."""
        kind = type(value)
        if kind in _ATOMS:
            return value
        known = self._memo.get(id(value), self)
        if known is not self:
            return known
        if kind in _CONTAINERS and not value:
            self._empty.append(value)
            return value
        if isinstance(value, Tensor):
            stand_in: Any = self._copy(value, path)
        elif isinstance(value, np.ndarray):
            stand_in = self._copy_array(value)
        elif isinstance(value, tuple):
            stand_in = self._tuple(value, path)
        else:
            stand_in = value
            self._visit(value, path)
        self._memo[id(value)] = stand_in
        self._originals.append(value)
        return stand_in

    def _visit(self, value: Any, path: str) -> None:
        """Put off what holds other things, and remember the rest."""
        if isinstance(value, (dict, list, deque)) or _is_open(value):
            self._todo.append((value, path))
        elif isinstance(value, queue.Queue):
            self._todo += [(vars(value), path), (value.queue, path)]
        else:
            self._keep(value, path)

    def _tuple(self, value: tuple[Any, ...], path: str) -> tuple[Any, ...]:
        items = [self._stand_in(item, f"{path}[{index}]") for index, item in enumerate(value)]
        if all(item is original for item, original in zip(items, value, strict=True)):
            return value
        return tuple.__new__(type(value), items)

    def _copy(self, tensor: Tensor, path: str) -> Tensor:
        """A tensor's stand-in: of its own storage where there is room."""
        if is_lazy(tensor):
            return tensor
        narrow = tensor.is_floating_point() and tensor.dtype.itemsize < 4
        size = tensor.numel() * max(tensor.element_size(), 4 if narrow else 1)
        copy = tensor.detach()
        if size > self._room:
            if not tensor.is_inference():  # it can't be written to
                self._watched.append((path, tensor, tensor._version))
        else:
            self._room -= size
            copy = copy.float() if narrow else copy.clone()
        if isinstance(tensor, nn.Parameter):
            return nn.Parameter(copy, requires_grad=tensor.requires_grad)
        return copy.requires_grad_(tensor.requires_grad)

    def _copy_array(self, array: np.ndarray) -> np.ndarray:
        if array.nbytes > self._room or not array.flags.writeable:
            return array
        self._room -= array.nbytes
        return array.copy()

    def _open(self, value: Any, path: str) -> None:
        """Replace the items and attributes of a container or an object, and remember what they were."""
        if isinstance(value, dict):
            self._open_dict(value, path)
        elif isinstance(value, (list, deque)):
            self._keep(value, path)
            for index, item in enumerate(value if len(value) < _LONG else ()):
                if type(item) not in _ATOMS and (stand_in := self._stand_in(item, f"{path}[{index}]")) is not item:
                    value[index] = stand_in
        attributes = getattr(value, "__dict__", None)
        if type(attributes) is dict and attributes:
            self._open_dict(attributes, path)
        for name in _slots(type(value)):
            self._open_slot(value, name, path)

    def _open_dict(self, value: dict[Any, Any], path: str) -> None:
        self._undo.append(remember_items(value))
        for key, item in list(value.items()) if len(value) < _LONG else ():
            if type(item) in _ATOMS:
                continue
            # the dictionaries that hold a module's parameters, buffers and children are no part of a name
            place = path if key in {"_parameters", "_buffers", "_modules"} else f"{path}.{key}"
            if (stand_in := self._stand_in(item, place)) is not item:
                assign(value, key, stand_in)

    def _open_slot(self, value: Any, name: str, path: str) -> None:
        self._undo.append(remember_slot(value, name))
        item = getattr(value, name, None)
        if (stand_in := self._stand_in(item, f"{path}.{name}")) is not item:
            object.__setattr__(value, name, stand_in)

    def _keep(self, value: Any, path: str) -> None:
        """Remember what is not looked into, and refuse what can't be remembered."""
        undo = remember(value)
        if undo is not None:
            self._undo.append(undo)
        elif isinstance(value, torch.jit.ScriptModule):
            raise IsolationError(f"{path} is a scripted module, whose parameters can't be replaced")
        elif isinstance(value, Iterator) and not isinstance(value, IOBase):
            raise IsolationError(f"{path} is an iterator ({type(value).__name__}), which can't be rewound")


def _is_open(value: Any) -> bool:
    """Whether an object's attributes are looked into: modules, and what is of a class of the user's own."""
    kind = type(value)
    known = _open_types.get(kind)
    if known is None:
        known = _open_types[kind] = _is_open_type(kind)
    # an object with a lock is at work in other threads, which must not see it change
    return known and (
        isinstance(value, nn.Module) or not any(isinstance(x, _LOCKS) for x in getattr(value, "__dict__", {}).values())
    )


def _is_open_type(kind: type) -> bool:
    if issubclass(kind, nn.Module):
        return not issubclass(kind, torch.jit.ScriptModule)
    roots = [str(base.__module__).partition(".")[0] for base in kind.__mro__[:-1]]
    if issubclass(kind, _CODE) or not _LIBRARIES.isdisjoint(roots) or roots[0] == "numpy":
        return False
    return roots[0] in _HOLDERS or roots[0] not in sys.stdlib_module_names


def _slots(kind: type) -> Iterable[str]:
    """Attributes that objects of an open type hold outside of their dictionary."""
    if not _open_types.get(kind, False) or issubclass(kind, nn.Module):
        return ()
    found = _slots_of.get(kind)
    if found is None:
        slots = [base.__dict__.get("__slots__", ()) for base in kind.__mro__]
        names = {name for some in slots for name in ([some] if isinstance(some, str) else some)}
        found = _slots_of[kind] = names - {"__dict__", "__weakref__"}
    return found
