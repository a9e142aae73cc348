"""Tell which objects are looked into, which are put back as they are, and whose code they are of."""

from __future__ import annotations

import functools
import site
import sys
import sysconfig
import threading
import types
from collections.abc import Iterator
from enum import Enum, auto
from io import IOBase
from pathlib import Path
from typing import Any

import torch
from torch import nn

_LIBRARIES = frozenset({"torch", "lightning", "pytorch_lightning", "lightning_fabric"})
_OURS = __name__.partition(".")[0]
# modules of the standard library whose objects only hold values; others are at work, or are written to in C
_HOLDERS = frozenset({"collections", "types", "argparse", "optparse", "configparser"})
_CODE = (type, types.FunctionType, types.MethodType, types.ModuleType)
_LOCKS = (type(threading.Lock()), type(threading.RLock()), threading.Condition, threading.Event, threading.Thread)
_HEAP = 1 << 9  # flag of a class that was made by a class statement; others keep what they hold in C


class Treatment(Enum):
    """What happens to an object that a step can reach."""

    OPENED = auto()  # copies take the place of its tensors, and its attributes are put back
    PUT_BACK = auto()  # its attributes are put back; it may hold a data set, whose tensors are not copied
    LEFT = auto()  # nothing, but whether the step changes it can be seen


def treatment(value: Any) -> Treatment:
    """What happens to an object: modules, and what is of a class of the user's own, are opened."""
    kind: Any = type(value)  # mypy holds no type for hashable
    treated = _treatment_of_type(kind)
    if treated is not Treatment.LEFT and not isinstance(value, nn.Module):
        # an object with a lock is at work in other threads, which must not see it change
        attributes = getattr(value, "__dict__", None)
        if type(attributes) is dict and any(isinstance(item, _LOCKS) for item in attributes.values()):
            return Treatment.LEFT
    return treated


@functools.cache
def _treatment_of_type(kind: type) -> Treatment:
    if issubclass(kind, nn.Module):
        return Treatment.LEFT if issubclass(kind, torch.jit.ScriptModule) else Treatment.OPENED
    roots = [_root(base) for base in kind.__mro__[:-1]] or ["builtins"]
    if issubclass(kind, (*_CODE, Iterator)) or roots[0] in {"numpy", _OURS}:
        return Treatment.LEFT
    if not _LIBRARIES.isdisjoint(roots):
        # of torch's own objects schedulers and data sets; Lightning's hold the run itself
        return Treatment.PUT_BACK if roots[0] == "torch" or roots[0] not in _LIBRARIES else Treatment.LEFT
    own = roots[0] in _HOLDERS or roots[0] not in sys.stdlib_module_names
    return Treatment.OPENED if own else Treatment.LEFT


@functools.cache
def slots(kind: type) -> frozenset[str]:
    """Attributes that objects of an opened type hold outside of their dictionary."""
    if _treatment_of_type(kind) is not Treatment.OPENED or issubclass(kind, nn.Module):
        return frozenset()
    found = [base.__dict__.get("__slots__", ()) for base in kind.__mro__]
    names = {name for some in found for name in ([some] if isinstance(some, str) else some)}
    return frozenset(names - {"__dict__", "__weakref__"})


@functools.cache
def is_watched(kind: type, treated: Treatment) -> bool:
    """Whether it is of interest that an object of a type changed: it was left, or holds something in C as well."""
    root = _root(kind)
    if root in _LIBRARIES or root == _OURS:  # these belong to the run itself, or to us
        return False
    return treated is Treatment.LEFT or any(
        _is_written_in_c(base) for base in kind.__mro__ if _root(base) not in sys.stdlib_module_names
    )


@functools.cache
def is_own(kind: type) -> bool:
    """Whether objects of a type are of interest among global variables: modules, and what is of the user's own code."""
    return issubclass(kind, nn.Module) or is_own_code(kind.__module__) or _root(kind) in sys.stdlib_module_names


def why_irreplaceable(value: Any) -> str:
    """Why an object can be neither copied nor put back; empty if that can't be told."""
    if isinstance(value, torch.jit.ScriptModule):
        return "is a scripted module, whose parameters can't be replaced"
    if isinstance(value, Iterator) and not isinstance(value, IOBase):
        return f"is an iterator ({type(value).__name__}), which can't be rewound"
    return ""


def _is_written_in_c(kind: type) -> bool:
    return not kind.__flags__ & _HEAP or any(isinstance(x, types.MethodDescriptorType) for x in vars(kind).values())


def _root(kind: type) -> str:
    """The package that a class is of."""
    # one that is made by a call of type() says that it is of the module that called, which may be abc or types: but the
    # standard library derives from nobody else's classes
    roots = [str(base.__module__).partition(".")[0] for base in kind.__mro__]
    return next((root for root in roots if root not in sys.stdlib_module_names), roots[0])


@functools.cache
def is_own_code(name: str) -> bool:
    """Whether a module is one of the user's own: a script, a notebook or a package that is not installed."""
    if name == "__main__":
        return True
    root = name.partition(".")[0]
    if root in sys.stdlib_module_names or root in _LIBRARIES or root == _OURS:
        return False
    file = getattr(sys.modules.get(name), "__file__", None)
    return file is not None and not any(Path(file).is_relative_to(folder) for folder in _installed())


@functools.cache
def _installed() -> tuple[Path, ...]:
    """Folders of the standard library and of installed packages."""
    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths |= {*site.getsitepackages(), site.getusersitepackages()}
    # one environment on top of another, or ``pip install --target``: what was installed leaves its metadata there
    paths |= {path for path in sys.path if path and any(Path(path).glob("*.dist-info"))}
    return tuple(Path(path) for path in paths if path)
