"""State outside of objects: attributes of classes, closures, and the global variables of the user's own modules."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Protocol

from torch import nn

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


def own_modules(network: nn.Module, *functions: Any) -> tuple[types.ModuleType, ...]:
    """Modules of the user's own code that a network's code, or some functions, can reach.

    They are those that it was written in, and those that these have imported, at their head or within a function: a
    large program has many more, and looking through all of them at each replay would take longer than the replay.

    Returns:
        The modules, each once.
    """
    classes = {base for part in network.modules() for base in type(part).__mro__}
    names = {code.__module__ for code in (*classes, *functions) if getattr(code, "__module__", None)}
    return _reached(frozenset(filter(is_own_code, names)), len(sys.modules))


@functools.lru_cache(maxsize=8)
def _reached(names: frozenset[str], _imported: int) -> tuple[types.ModuleType, ...]:
    found: dict[str, types.ModuleType] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found and (module := sys.modules.get(name)) is not None:
            found[name] = module
            waiting += _mentioned(vars(module).values())
    return tuple(found.values())


def _mentioned(values: Iterable[Any]) -> Iterator[str]:
    """Names of the user's own modules that some values are, that they were written in, or that their code imports."""
    for value in list(values):
        names: list[Any] = [value.__name__ if isinstance(value, types.ModuleType) else _home(value), *_imports(value)]
        if isinstance(value, type):
            names += [name for each in list(vars(value).values()) for name in _imports(each)]
        yield from (name for name in names if isinstance(name, str) and is_own_code(name))


def _home(value: Any) -> Any:
    return getattr(value, "__module__", None) if isinstance(value, CODE) else type(value).__module__


def _imports(function: Any) -> tuple[str, ...]:
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return tuple(name for name in code.co_names if name in sys.modules) if isinstance(code, types.CodeType) else ()


def open_module(module: types.ModuleType, isolation: Undoing, replacement: Replacement) -> None:
    """Have a module's global variables put back, and copies in the place of their tensors."""
    names = vars(module)
    isolation.add_undo(remember_items(names, ordered=False))
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
