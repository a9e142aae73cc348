"""State outside of objects: attributes of classes, closures, and the global variables of the user's own modules."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from thermo_callbacks.probes.replay.object_types import is_own_code
from thermo_callbacks.probes.replay.restore import Undo, assign, remember_class, remember_items

Replacement = Callable[[Any, str], Any]
CODE = (type, types.FunctionType, types.MethodType, types.BuiltinFunctionType, partial)
"""Types of what is called: it may hold something by the way."""
_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, property, staticmethod, classmethod})


class Undoing(Protocol):
    """What takes the functions that put things back."""

    def add_undo(self, undo: Undo) -> None:
        """Call a function in the end."""


def own_modules() -> tuple[types.ModuleType, ...]:
    """Modules of the user's own code that have been imported."""
    return _own_modules(len(sys.modules))


@functools.lru_cache(maxsize=1)
def _own_modules(_imported: int) -> tuple[types.ModuleType, ...]:
    return tuple(module for name, module in list(sys.modules.items()) if module is not None and is_own_code(name))


def open_module(module: types.ModuleType, isolation: Undoing, replacement: Replacement) -> None:
    """Have a module's global variables put back, and copies in the place of their tensors."""
    names = vars(module)
    isolation.add_undo(remember_items(names))
    for name, value in list(names.items()):
        if type(value) not in _PLAIN and not name.startswith("__"):
            found = replacement(value, f"{module.__name__}.{name}")
            if found is not value:
                names[name] = found


def open_code(code: Any, path: str, isolation: Undoing, replacement: Replacement) -> None:
    """Have what a function, a bound method or a class holds put back, and copies in the place of its tensors."""
    if isinstance(code, (types.MethodType, types.BuiltinFunctionType)):
        replacement(code.__self__, path)
        replacement(getattr(code, "__func__", None), path)
    elif isinstance(code, partial):
        replacement((code.func, code.args, code.keywords), path)
    elif isinstance(code, type):
        _open_class(code, isolation, replacement)
    else:
        _open_function(code, isolation, replacement)


def _open_class(kind: type, isolation: Undoing, replacement: Replacement) -> None:
    """Have the attributes of a class of the user's own put back, and copies in the place of their tensors."""
    if not is_own_code(kind.__module__):
        return
    isolation.add_undo(remember_class(kind))
    for name, value in list(vars(kind).items()):
        if type(value) not in _PLAIN and not name.startswith("__"):
            found = replacement(value, f"{kind.__name__}.{name}")
            if found is not value:
                type.__setattr__(kind, name, found)


def _open_function(function: types.FunctionType, isolation: Undoing, replacement: Replacement) -> None:
    """Have what a function of the user's own keeps put back: its closure, its defaults and its attributes."""
    if not is_own_code(function.__module__ or ""):
        return
    name = function.__qualname__
    for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # not yet bound
            continue
        isolation.add_undo(partial(setattr, cell, "cell_contents", value))
        found = replacement(value, f"{variable} of {name}")
        if found is not value:
            cell.cell_contents = found
    for held in (function.__kwdefaults__, function.__dict__):
        if held:
            isolation.add_undo(remember_items(held))
            for key, value in list(held.items()):
                assign(held, key, replacement(value, f"{key} of {name}"))
    if function.__defaults__:
        isolation.add_undo(partial(setattr, function, "__defaults__", function.__defaults__))
        found = replacement(function.__defaults__, f"a default of {name}")
        if found is not function.__defaults__:
            function.__defaults__ = found


@functools.cache
def own_classes(kind: type) -> tuple[type, ...]:
    """The class of an object and its bases, as far as they are the user's own."""
    return tuple(base for base in kind.__mro__ if is_own_code(base.__module__))
