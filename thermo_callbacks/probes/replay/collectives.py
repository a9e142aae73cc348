"""Refuse that a replay talks with other processes: one in which something fails would leave them waiting."""

from __future__ import annotations

import contextlib
import functools
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import nn

from thermo_callbacks.probes.sharding import is_sharded

Refuse = Callable[[str], Any]
_refusing: dict[int, Refuse] = {}  # by the thread that replays
_LOCK = threading.Lock()
_FUNCTIONAL = ("_c10d_functional", "_c10d_functional_autograd")
"""Where torch has those of its operations that give back a tensor which is still to come."""


@contextlib.contextmanager
def no_collectives(module: nn.Module, refuse: Refuse) -> Iterator[None]:
    """Refuse that this thread exchanges anything with other processes, before it does.

    A process whose replay fails, or that needs fewer of them, would not come to the collectives for which the others
    wait. The forward pass of sharded parameters is made of such, and goes on. What compiled code and code in C++ send
    by themselves is not seen.
    """
    distributed = torch.distributed
    alone = not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1
    if alone or is_sharded(module):
        yield
        return
    thread = threading.get_ident()
    with _LOCK:
        if not _refusing:
            for way in _ways():
                setattr(way.owner, way.name, way.heard)
        _refusing[thread] = refuse
    try:
        yield
    finally:
        with _LOCK:
            del _refusing[thread]
            if not _refusing:
                for way in _ways():
                    setattr(way.owner, way.name, way.own)


class _Way(NamedTuple):
    """A function by which processes exchange something, and what hears of its calls in its place."""

    owner: Any
    name: str
    own: Any
    heard: Any


@functools.cache
def _ways() -> list[_Way]:
    """Methods of a group that return work to wait for, or are called a barrier; operations that are given a group."""
    kind: Any = torch.distributed.ProcessGroup
    works = re.compile(r"-> \S*\bWork\b")
    ways = [
        # called by way of the class, since a method written in C is bound to its object there and nowhere else
        _Way(kind, name, method, _heard(name, getattr(kind, name)))
        for name, method in vars(kind).items()
        if callable(method) and (works.search(str(method.__doc__)) or "barrier" in name)
    ]
    for operation in sorted(torch._C._dispatch_get_all_op_names()):
        space, _, name = operation.partition("::")
        if space in _FUNCTIONAL and "." not in name:
            owner = getattr(torch.ops, space)
            own = getattr(owner, name)
            schema = getattr(own, own.overloads()[0])._schema
            if any(argument.name == "group_name" for argument in schema.arguments):
                ways.append(_Way(owner, name, own, _Operation(name, own)))
    return ways


def _heard(name: str, method: Any) -> Any:
    @functools.wraps(method)
    def call(group: Any, *args: Any, **kwargs: Any) -> Any:
        if group.size() > 1:
            _hear(name)
        return method(group, *args, **kwargs)

    return call


class _Operation:
    """An operation of torch, or one of its overloads."""

    def __init__(self, name: str, own: Any) -> None:
        self._name, self._own = name, own

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do it, in threads that may."""
        _hear(self._name)
        return self._own(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._own, name)
        return _Operation(self._name, value) if isinstance(value, torch._ops.OpOverload) else value


def _hear(name: str) -> None:
    if (refuse := _refusing.get(threading.get_ident())) is not None:
        refuse(f"it exchanges something with other processes ({name.strip('_')})")
