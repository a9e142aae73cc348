"""Optimizers during a replay: their settings are put back, and a step of one that the run has made is refused."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from torch import Tensor
from torch.optim import Optimizer

from thermo_callbacks.probes.replay.restore import Undo, remember, remember_items
from thermo_callbacks.probes.replay.watched import Watch


class Isolating(Protocol):
    """What the protection of an optimizer needs of an isolation."""

    watch: Watch

    def known(self, value: Any) -> Any:
        """What stands in a value's place."""

    def add_undo(self, undo: Undo) -> None:
        """Call a function in the end."""

    def refuse(self, reason: str) -> NoReturn:
        """Stop the function."""


def protect_optimizer(optimizer: Optimizer, isolation: Isolating, replacement: Callable[[Any, str], Any]) -> None:
    """Have groups and state of an optimizer put back, and refuse that it steps.

    The groups hold what stands in the parameters' place. State is not copied, which would take twice the parameters'
    memory: whether it was written to is told.
    """
    name = type(optimizer).__name__
    isolation.add_undo(remember_items(vars(optimizer)))

    def refuse(*_: Any) -> None:
        isolation.refuse(f"it steps an optimizer ({name})")

    # a wrapper may inherit the method, and have nothing that it needs: what steps is inside of it
    with contextlib.suppress(AttributeError):
        isolation.add_undo(optimizer.register_step_pre_hook(refuse).remove)
    _keep(optimizer.param_groups, isolation)
    for group in optimizer.param_groups:
        _keep(group, isolation)
        for key, value in list(group.items()):
            if key == "params":
                _keep(value, isolation)
                path = f"a parameter of {name}"
                value[:] = [replacement(parameter, path) for parameter in value]
            elif isinstance(value, (Tensor, list)):
                group[key] = replacement(value, f"{key} of {name}")
    _protect_state(optimizer.state, isolation, f"the state of {name}")


def _protect_state(state: dict[Any, Any], isolation: Isolating, path: str) -> None:
    # tensors are slow to hash: whole dictionaries are copied, which keep the hashes
    saved = dict(state)
    for values in saved.values():
        if isinstance(values, dict):
            isolation.add_undo(_remember_values(values))
            for value in values.values():
                if isinstance(value, Tensor):
                    isolation.watch.add_tensor(path, value)

    def undo() -> None:
        state.clear()
        state.update(saved)

    isolation.add_undo(undo)
    places = {isolation.known(parameter): values for parameter, values in saved.items()}
    state.clear()
    state.update(places)  # under what the step looks for, since the groups hold the same


def _remember_values(values: dict[Any, Any]) -> Undo:
    # for each parameter one: a copy is the fastest way
    saved = values.copy()

    def undo() -> None:
        if len(values) != len(saved) or not all(map(operator.is_, values.values(), saved.values())):
            values.clear()
            values.update(saved)

    return undo


def _keep(value: Any, isolation: Isolating) -> None:
    undo = remember(value)
    if undo is not None:
        isolation.add_undo(undo)
