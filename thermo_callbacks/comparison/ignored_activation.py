"""Refusal of a network that does not use the activation that it is given: all its runs would be one and the same."""

from __future__ import annotations

import gc
import re
from collections.abc import Sequence
from types import FrameType, FunctionType, ModuleType

from torch import nn

from thermo_callbacks.callbacks.lightning_names import LightningModule
from thermo_callbacks.comparison.activations import Candidate
from thermo_callbacks.comparison.modules import MakeModule, activation_argument, build_with
from thermo_callbacks.comparison.quiet_training import one_thread, quiet
from thermo_callbacks.comparison.seeding import seeded
from thermo_callbacks.probes.activations.registry import ACTIVATION_MODULES

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_MARK = "_thermo_callbacks_given"
_SHOWN = 3
_MOST = 10_000  # objects that are looked at
_NOT_WITHIN = (type, ModuleType, FrameType, str, bytes, int, float)


def refuse_ignored_activation(make_module: MakeModule, candidates: Sequence[Candidate], seed: int) -> None:
    """Build modules with an activation or two, and throw them away, to see that the activation is in them.

    It is there if it, or a copy of it, is one of the module's own modules or is held by the module in another way, and
    if modules with different activations look different.

    Args:
        make_module: What gives a module. Nothing is built where it takes no activation.
        candidates: Activations of the comparison.
        seed: Seed of the first run.

    Raises:
        ValueError: If the module does not use what it is given; names what is found in its place.
    """
    takes = None if isinstance(make_module, LightningModule) else activation_argument(make_module)
    if takes is None:
        return
    looks: list[str] = []
    for candidate in candidates[:2]:
        try:
            with quiet(), one_thread(), seeded(seed):
                module, held = _build(make_module, candidate)
        except Exception:  # its run will tell what is wrong
            return
        if held or (len(candidates) == 1 and isinstance(candidate.source, type) and _has(module, candidate.source)):
            return
        looks.append(_ADDRESS.sub("", repr(module)))
    if len(set(looks)) == 1:
        raise ValueError(_words(module, candidates[: len(looks)], takes))


def _build(make_module: MakeModule, candidate: Candidate) -> tuple[LightningModule, bool]:
    """A module, and whether it holds the activation that it was given, or a copy of it."""
    activation = candidate.build()
    setattr(activation, _MARK, True)  # copies have it too
    module = build_with(make_module, activation)
    if any(hasattr(each, _MARK) for each in module.modules()):
        return module, True
    return module, any(_holds(each) for each in module.modules())


def _holds(module: nn.Module) -> bool:
    """Whether a module holds what is marked in a list, a function or the like, and not as one of its own modules."""
    # what hyperparameters write down is not used by that
    waiting = [value for name, value in vars(module).items() if not name.startswith("_hparams")]
    seen: set[int] = set()
    while waiting and len(seen) < _MOST:
        value = waiting.pop()
        if id(value) in seen or isinstance(value, _NOT_WITHIN):
            continue
        seen.add(id(value))
        if isinstance(value, nn.Module) and hasattr(value, _MARK):
            return True
        # a function reaches all its file by its globals: what it was made with is in its closure and defaults
        waiting += (
            [*(value.__closure__ or ()), value.__defaults__, value.__kwdefaults__]
            if isinstance(value, FunctionType)
            else gc.get_referents(value)
        )
    return False


def _has(module: nn.Module, kind: type) -> bool:
    return any(isinstance(each, kind) for each in module.modules())


def _words(module: nn.Module, given: Sequence[Candidate], takes: str) -> str:
    found = [f"{name} ({type(each).__name__})" for name, each in module.named_modules() if _is_activation(each)]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    has = f"the activations {', '.join(found[:_SHOWN])}{more}" if found else "no activation module"
    named = " and with ".join(repr(candidate.name) for candidate in given)
    argument = f"its argument {takes!r}" if takes else "its first argument"
    return (
        f"make_module ignores the activation that it is given: with {named}, {type(module).__name__} has {has}, and "
        f"nothing in it holds what was given, so that all activations would rank the same. Use {argument} in the "
        "network, or give a function without arguments, whose activation modules are replaced"
    )


def _is_activation(module: nn.Module) -> bool:
    return isinstance(module, ACTIVATION_MODULES)
