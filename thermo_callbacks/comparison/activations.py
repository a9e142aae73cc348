"""Activations to compare, by name or as modules, and new copies of each."""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from thermo_callbacks.functional.activations.efficiency import engine_type
from thermo_callbacks.probes.activations.registry import ACTIVATION_MODULES

NAMES: tuple[str, ...] = (
    *(kind.__name__ for kind in ACTIVATION_MODULES if kind is not nn.Threshold),  # has no defaults
    "Identity",
)
"""Activations of torch.nn that can be asked for by name."""

_LONGEST_NAME = 240  # bytes: file systems take 255, and a seed stands behind it
_UNSAFE = re.compile(r"[^\w.=,()+-]+")


class ElementwiseFunction(nn.Module):
    """A function of one tensor as a module, so that its input and output can be seen."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, input: Tensor) -> Tensor:
        """The function's value."""
        return self.function(input)

    def extra_repr(self) -> str:
        """Name of the function."""
        return _called(self.function)


@dataclass(frozen=True)
class Candidate:
    """An activation of the comparison.

    Attributes:
        name: What it is called, in tables and in the names of folders.
    """

    name: str
    source: Any

    def build(self) -> nn.Module:
        """A new module of the activation, which shares nothing with others."""
        # what building it draws is not missing elsewhere: the weights of a network are the same with each activation
        if isinstance(self.source, nn.Module):
            return copy.deepcopy(self.source)
        if isinstance(self.source, type):
            with torch.random.fork_rng(devices=[]):
                module: nn.Module = self.source()
            return module
        return ElementwiseFunction(self.source)

    @property
    def is_measured(self) -> bool:
        """Whether monitors see it as one activation: of others they see what these call, as the sigmoid of a gate."""
        return isinstance(self.build(), ACTIVATION_MODULES)

    def engine(self) -> str:
        """Type of heat engine, from the function itself: empty where it can't be decided."""
        try:
            return engine_type(self.build())
        except Exception:  # the function is the user's, and so is what it raises
            return ""


def candidates(activations: Sequence[Any] | Mapping[str, Any]) -> list[Candidate]:
    """Read the activations to compare.

    Args:
        activations: Names of torch.nn's activations, module classes, modules, or functions of one tensor; or a mapping
            that gives each a name.

    Returns:
        The candidates, in that order.

    Raises:
        ValueError: If there are none, a name is not known, a class can't be built without arguments, a name is too
            long for a folder, or two have the same name.
        TypeError: If one is none of these.

    Example:
        >>> [candidate.name for candidate in candidates(["relu", nn.Tanh, nn.LeakyReLU(0.2)])]
        ['ReLU', 'Tanh', 'LeakyReLU(negative_slope=0.2)']
    """
    if isinstance(activations, str):
        raise TypeError(f"activations must be a list such as ['ReLU', 'Tanh'], got the text {activations!r}")
    named = activations.items() if isinstance(activations, Mapping) else [(None, given) for given in activations]
    found = [_candidate(name, given) for name, given in named]
    if not found:
        raise ValueError("activations must hold at least one activation such as 'ReLU', got none")
    long = next((each.name for each in found if len(each.name.encode()) > _LONGEST_NAME), None)
    if long is not None:
        raise ValueError(
            f"activations must have names of at most {_LONGEST_NAME} bytes, which folders can be named after, got "
            f"{long[:30]}... of {len(long.encode())}: give a mapping such as {{'short': ...}}"
        )
    # file systems may not tell capitals apart
    names = [candidate.name.lower() for candidate in found]
    twice = sorted({candidate.name for candidate in found if names.count(candidate.name.lower()) > 1})
    if twice:
        raise ValueError(
            f"activations must have different names, got {', '.join(twice)} more than once: give a mapping such as "
            "{'first': ..., 'second': ...}"
        )
    return found


def _candidate(name: str | None, given: Any) -> Candidate:
    if isinstance(given, str):
        given = getattr(nn, known_name(given))
    if isinstance(given, type):
        if not issubclass(given, nn.Module):
            raise TypeError(f"activations may hold classes of modules, got the class {given.__name__}")
        try:
            given()
        except TypeError as fault:
            raise ValueError(
                f"activations holds the class {given.__name__}, which can't be built without arguments ({fault}): give "
                f"a module, {given.__name__}(...)"
            ) from fault
    elif not callable(given):
        raise TypeError(f"activations may hold names, module classes, modules and functions, got {given!r}")
    return Candidate(_UNSAFE.sub("_", name if name is not None else _called(given)), given)


def known_name(name: str) -> str:
    """Find the class of torch.nn that a name means.

    Returns:
        The name as torch.nn spells it.

    Raises:
        ValueError: If there is none.
    """
    spelling = {known.lower(): known for known in NAMES}
    if name.lower() in spelling:
        return spelling[name.lower()]
    close = difflib.get_close_matches(name.lower(), list(spelling), n=3, cutoff=0.5)
    cure = (
        f"did you mean {' or '.join(spelling[each] for each in close)}?" if close else f"choose from {', '.join(NAMES)}"
    )
    raise ValueError(f"activations holds {name!r}, which is no activation of torch.nn: {cure}")


def _called(given: Any) -> str:
    if isinstance(given, nn.Module):
        settings = given.extra_repr()
        kind = type(given).__name__
        return f"{kind}({settings})" if settings and repr(given) != repr(_default(type(given))) else kind
    name = getattr(given, "__name__", type(given).__name__)
    return "lambda" if name == "<lambda>" else str(name)


def _default(kind: type[nn.Module]) -> nn.Module | None:
    try:
        return kind()
    except TypeError:
        return None
