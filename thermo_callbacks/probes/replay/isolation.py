"""Run a function on copies of all state that it may write to, and put the originals back."""

from __future__ import annotations

import functools
import queue
import sys
import threading
import types
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
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
_MODULE_PARTS = frozenset({"_parameters", "_buffers", "_modules"})
_CODE = (type, types.FunctionType, types.MethodType, types.ModuleType)
_LOCKS = (type(threading.Lock()), type(threading.RLock()), threading.Condition, threading.Event, threading.Thread)


class IsolationError(Exception):
    """Something can't be protected, or was changed and can't be put back."""


class Isolation:
    """Makes a copy of each tensor and array that hangs on some objects and puts it in the original's place.

    What a function then writes to is a copy. Lists, dictionaries, sets, deques and objects stay the same, since others
    may hold them, and get their contents back in the end. Objects of torch and of Lightning other than modules, data
    sets among them, and those that share a lock with other threads are left as they are.

    Copies of 16-bit numbers have 32 bits. Tensors beyond ``room`` bytes are used themselves, and :meth:`restore` tells
    if one of them was written to. ``given`` are the caller's replacements, by the identity of what they replace.
    """

    def __init__(self, given: Mapping[int, Any], room: float) -> None:
        self._replacements: dict[int, Any] = dict(given)
        self._room = room
        self._originals: list[Any] = []  # kept alive, so that no identity among the replacements is used again
        self._undo: list[Undo] = []
        self._empty: list[Any] = []  # containers without items: most of what a module has
        self._watched: list[tuple[str, Tensor, int]] = []
        self._todo: list[tuple[Any, str]] = []

    def replace(self, value: Any, path: str, *, all_of_it: bool = False) -> Any:
        """Put copies into all that can be reached from a value, and give what to use in its place."""
        # that is a copy of a tensor, an array or a tuple of them, else the value itself; all_of_it: beyond the room too
        room, self._room = self._room, torch.inf if all_of_it else self._room
        replacement = self._replacement(value, path)
        while self._todo:
            self._open(*self._todo.pop())
        if all_of_it:
            self._room = room
        return replacement

    def keep_attributes(self, value: Any) -> None:
        """Have the attributes of an object put back, without looking into them."""
        self._undo.append(remember_items(vars(value)))

    def restore(self) -> None:
        """Put everything back, and raise an IsolationError if something can't be."""
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
        self._undo, self._empty, self._replacements, self._originals, self._watched = [], [], {}, [], []
        if faults:
            raise IsolationError("; ".join(faults))

    def _replacement(self, value: Any, path: str) -> Any:
        """What to use in place of a value; containers and objects are opened later, each once."""
        kind = type(value)
        if kind in _ATOMS:
            return value
        known = self._replacements.get(id(value), self)
        if known is not self:
            return known
        if kind in _CONTAINERS and not value:
            self._empty.append(value)
            return value
        replacement = value
        if isinstance(value, Tensor):
            replacement = self._copy(value, path)
        elif isinstance(value, np.ndarray):
            replacement = self._copy_array(value)
        elif isinstance(value, tuple):
            items = [self._replacement(item, f"{path}[{index}]") for index, item in enumerate(value)]
            if any(item is not original for item, original in zip(items, value, strict=True)):
                replacement = tuple.__new__(kind, items)
        elif isinstance(value, queue.Queue):
            self._todo += [(vars(value), path), (value.queue, path)]
        elif isinstance(value, (dict, list, deque)) or _is_open(value):
            self._todo.append((value, path))
        else:
            self._keep(value, path)
        self._replacements[id(value)] = replacement
        self._originals.append(value)
        return replacement

    def _copy(self, tensor: Tensor, path: str) -> Tensor:
        """A tensor of its own storage, where there is room."""
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
            items = enumerate(value if len(value) < _LONG else ())
            self._replace_items(items, value.__setitem__, lambda index: f"{path}[{index}]")
        attributes = getattr(value, "__dict__", None)
        if type(attributes) is dict and attributes:
            self._open_dict(attributes, path)
        for name in _slots(type(value)):  # type: ignore[arg-type]  # mypy holds no type for hashable
            self._undo.append(remember_slot(value, name))
            put = functools.partial(object.__setattr__, value)
            self._replace_items([(name, getattr(value, name, None))], put, lambda name: f"{path}.{name}")

    def _open_dict(self, value: dict[Any, Any], path: str) -> None:
        self._undo.append(remember_items(value))
        if len(value) < _LONG:
            # the dictionaries that hold a module's parameters, buffers and children are no part of a name
            place = lambda key: path if key in _MODULE_PARTS else f"{path}.{key}"  # noqa: E731
            self._replace_items(list(value.items()), functools.partial(assign, value), place)

    def _replace_items(
        self, items: Iterable[tuple[Any, Any]], put: Callable[[Any, Any], None], place: Callable[[Any], str]
    ) -> None:
        for key, item in items:
            if type(item) not in _ATOMS and (replacement := self._replacement(item, place(key))) is not item:
                put(key, replacement)

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
    # an object with a lock is at work in other threads, which must not see it change
    return _is_open_type(type(value)) and (  # type: ignore[arg-type]
        isinstance(value, nn.Module) or not any(isinstance(x, _LOCKS) for x in getattr(value, "__dict__", {}).values())
    )


@functools.cache
def _is_open_type(kind: type) -> bool:
    if issubclass(kind, nn.Module):
        return not issubclass(kind, torch.jit.ScriptModule)
    roots = [str(base.__module__).partition(".")[0] for base in kind.__mro__[:-1]]
    if issubclass(kind, _CODE) or not _LIBRARIES.isdisjoint(roots) or roots[0] == "numpy":
        return False
    return roots[0] in _HOLDERS or roots[0] not in sys.stdlib_module_names


@functools.cache
def _slots(kind: type) -> frozenset[str]:
    """Attributes that objects of an open type hold outside of their dictionary."""
    if not _is_open_type(kind) or issubclass(kind, nn.Module):
        return frozenset()
    slots = [base.__dict__.get("__slots__", ()) for base in kind.__mro__]
    names = {name for some in slots for name in ([some] if isinstance(some, str) else some)}
    return frozenset(names - {"__dict__", "__weakref__"})
