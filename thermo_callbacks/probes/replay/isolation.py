"""Run a function on copies of all state that it may write to, and put the originals back."""

from __future__ import annotations

import queue
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import ModuleType
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from thermo_callbacks.probes.replay.namespaces import CODE, open_code, open_module, own_classes
from thermo_callbacks.probes.replay.object_types import (
    Treatment,
    is_own,
    is_watched,
    slots,
    treatment,
    why_irreplaceable,
)
from thermo_callbacks.probes.replay.optimizers import protect_optimizer
from thermo_callbacks.probes.replay.restore import Undo, assign, remember, remember_items, remember_slot
from thermo_callbacks.probes.replay.stand_ins import TensorCopies, is_narrow, stand_in
from thermo_callbacks.probes.replay.watched import Watch, quick_look

LONG = 10_000
"""Items from which a container is data: it is put back, and its items are not looked into."""
_ITEMS = 20_000  # of containers, modules aside, that are looked into in all: about 0.1 s
_GLOBAL = 2**20  # bytes of a tensor among global variables that is copied
_SMALL = 64  # bytes of a tensor that is copied wherever it is: a learning rate, a counter
_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, torch.device, torch.Size, weakref.ref})
_CONTAINERS = frozenset({dict, OrderedDict, list, set, deque})


class IsolationError(Exception):
    """Something can't be protected, or was changed and can't be put back, in which case it is ``left`` so."""

    def __init__(self, reason: str, *, left: bool = False) -> None:
        super().__init__(reason)
        self.left = left


class Isolation:
    """Makes a copy of each tensor and array that hangs on some objects and puts it in the original's place.

    What a function then writes to is a copy. Lists, dictionaries, sets, deques and objects stay the same, since others
    may hold them, and get their contents back in the end, and so do classes, closures and files. An optimizer that is
    stepped is refused. Objects of Lightning, and those that share a lock with other threads, are left as they are.

    Copies of 16-bit numbers have 32 bits, and with ``widen`` so do types of numbers. Tensors beyond ``room`` bytes are
    used themselves, and :meth:`restore` tells if one of them was written to. ``given`` are the caller's replacements,
    by the identity of what they replace. ``watch`` has what is neither copied nor put back.
    """

    def __init__(self, given: Mapping[int, Any], room: float, *, widen: bool = False) -> None:
        self._replacements: dict[int, Any] = dict(given)
        self._copies, self._widen, self._items = TensorCopies(room), widen, _ITEMS
        self._largest = torch.inf  # bytes of a tensor that is copied; data sets and globals may hold more than that
        self._originals: list[Any] = []  # kept alive, so that no identity among the replacements is used again
        self._undo: list[Undo] = []
        self._empty: list[Any] = []  # containers without items: most of what a module has
        self._todo: list[tuple[Any, str]] = []
        self._later: list[tuple[Any, str]] = []  # what is put back without copies of its tensors
        self._faults: list[str] = []
        self.watch = Watch()

    def replace(self, value: Any, path: str, *, all_of_it: bool = False, largest: float = torch.inf) -> Any:
        """Put copies into all that can be reached from a value, and give what to use in its place."""
        # that is a copy of a tensor, an array or a tuple of them, else the value itself; all_of_it: beyond the room too
        copies, self._largest = self._copies, largest
        self._copies = TensorCopies(torch.inf) if all_of_it else copies
        replacement = self._replacement(value, path)
        self._open_all()
        self._copies, self._largest = copies, _SMALL
        self._open_all()
        return replacement

    def replace_globals(self, modules: Iterable[ModuleType]) -> None:
        """Put small copies into the global variables of modules."""
        self._largest = _GLOBAL
        for module in modules:
            open_module(module, self, self._replacement)
        self._open_all()

    def known(self, value: Any) -> Any:
        """What stands in a value's place by now, or the value itself."""
        return self._replacements.get(id(value), value)

    def keep_attributes(self, value: Any) -> None:
        """Have the attributes of an object put back, without looking into them."""
        self._undo.append(remember_items(vars(value)))

    def add_undo(self, undo: Undo) -> None:
        """Call a function when all is put back, before those that were added earlier."""
        self._undo.append(undo)

    def refuse(self, reason: str) -> NoReturn:
        """Stop the function at what would leave a trace; it is told also if the function goes on."""
        self._faults.append(reason)
        raise IsolationError(reason)

    def restore(self) -> None:
        """Put everything back, and raise an IsolationError if something can't be."""
        left = self.watch.changed()
        for container in self._empty:
            if container:
                container.clear()
        for undo in reversed(self._undo):
            try:
                undo()
            except Exception as fault:  # the rest is put back all the same
                left.append(f"{type(fault).__name__}: {fault}")
        faults = [*self._faults, *left]
        self._undo, self._empty, self._replacements, self._originals = [], [], {}, []
        self._faults, self.watch = [], Watch()
        if faults:
            raise IsolationError("; ".join(dict.fromkeys(faults)), left=bool(left))

    def _replacement(self, value: Any, path: str) -> Any:
        """What to use in place of a value; containers and objects are opened later, each once."""
        if (kind := type(value)) in _ATOMS:
            return value
        known = self._replacements.get(id(value), self)
        if known is not self:
            return known
        if kind in _CONTAINERS and not value:
            self._empty.append(value)
            return value
        replacement = value
        if isinstance(value, (Tensor, np.ndarray)):
            replacement = self._copy(value, path)
        elif kind is torch.dtype:
            return torch.float32 if self._widen and is_narrow(value) else value
        elif isinstance(value, tuple):
            replacement = self._tuple(value, path)
        elif isinstance(value, (dict, list, deque, *CODE)):
            self._todo.append((value, path))
        else:
            self._sort(value, path)
        self._replacements[id(value)] = replacement
        self._originals.append(value)
        return replacement

    def _tuple(self, value: tuple[Any, ...], path: str) -> tuple[Any, ...]:
        items = [self._replacement(item, f"{path}[{index}]") for index, item in enumerate(value)]
        if any(item is not original for item, original in zip(items, value, strict=True)):
            return tuple.__new__(type(value), items)
        return value

    def _sort(self, value: Any, path: str) -> None:
        """Have an object opened, put back, or watched."""
        if isinstance(value, Optimizer):
            protect_optimizer(value, self, self._replacement)
            return
        if isinstance(value, queue.Queue):
            self._todo += [(vars(value), path), (value.queue, path)]
            return
        kind: Any = type(value)
        treated = treatment(value)
        if treated is not Treatment.OPENED and self._keep(value, path):
            return
        if self._largest < torch.inf and treated is not Treatment.PUT_BACK and not is_own(kind):
            return  # installed packages have a life of their own among global variables
        if treated is Treatment.OPENED:
            self._todo.append((value, path))
        elif treated is Treatment.PUT_BACK:
            self._later.append((value, path))
        if is_watched(kind, treated):
            self.watch.add(path, value)

    def _open_all(self) -> None:
        waiting = self._todo if self._largest > _SMALL else self._later
        while self._todo or waiting:
            self._open(*(self._todo or waiting).pop())

    def _copy(self, value: Tensor | np.ndarray, path: str) -> Any:
        """A tensor or an array of its own memory, where there is room."""
        copy = self._copies.copy(value, self._largest)
        if copy is not None:
            return copy
        if not isinstance(value, Tensor):
            self.watch.add(path, value)
            return value
        self.watch.add_tensor(path, value)
        return value if self._largest < torch.inf else stand_in(value, share=True)

    def _open(self, value: Any, path: str) -> None:
        """Replace the items and attributes of a container or an object, and remember what they were."""
        if isinstance(value, CODE):
            open_code(value, path, self, self._replacement)
            return
        kind: Any = type(value)  # mypy holds no type for hashable
        if isinstance(value, dict):
            self._open_dict(value, path)
        elif isinstance(value, (list, deque)):
            if self._looked_into(value, path):
                self._keep(value, path)
                self._replace_items(enumerate(value), value.__setitem__, lambda index: f"{path}[{index}]")
        else:
            for own in own_classes(kind):
                self._replacement(own, own.__name__)
        attributes = getattr(value, "__dict__", None)
        if isinstance(value, nn.Module):
            for part in (value._parameters, value._buffers, value._modules):  # no part of a name, and never data
                self._replacements[id(part)] = part
                self._open_dict(part, path, whole=True) if part else self._empty.append(part)
        if type(attributes) is dict and attributes:
            self._open_dict(attributes, path, whole=isinstance(value, nn.Module))
        for name in slots(kind):
            self._undo.append(remember_slot(value, name))
            put = partial(object.__setattr__, value)
            self._replace_items([(name, getattr(value, name, None))], put, lambda name: f"{path}.{name}")

    def _open_dict(self, value: dict[Any, Any], path: str, *, whole: bool = False) -> None:
        if not whole and not self._looked_into(value, path):
            return
        self._undo.append(remember_items(value))
        # other keys take long to write down, and reading a tensor waits for its device
        place = lambda key: f"{path}.{key}" if type(key) is str else path  # noqa: E731
        self._replace_items(list(value.items()), partial(assign, value), place)

    def _looked_into(self, value: Any, path: str) -> bool:
        """Whether the items of a container are looked into; else it is put back, where that costs little."""
        if len(value) < min(LONG, self._items):
            self._items -= len(value)
            return True
        self.watch.add(path, value)
        if self._largest < torch.inf:
            self.watch.add_look(path, partial(len, value))
        else:
            self._keep(value, path)
        return False

    def _replace_items(
        self, items: Iterable[tuple[Any, Any]], put: Callable[[Any, Any], None], place: Callable[[Any], str]
    ) -> None:
        for key, item in items:
            if type(item) not in _ATOMS and (replacement := self._replacement(item, place(key))) is not item:
                put(key, replacement)

    def _keep(self, value: Any, path: str) -> bool:
        """Remember what is not looked into, and refuse what can't be remembered; whether it is remembered."""
        undo = remember(value)
        if undo is not None:
            self._undo.append(undo)
        elif self._largest == torch.inf and (reason := why_irreplaceable(value)):
            raise IsolationError(f"{path} {reason}")
        elif (look := quick_look(value)) is not None:
            self.watch.add_look(path, look)
        return undo is not None
