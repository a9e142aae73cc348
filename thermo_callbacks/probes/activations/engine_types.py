"""What the function of a called activation says of it: its type of heat engine, and where it is flat."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from thermo_callbacks.functional.activations.efficiency import engine_type
from thermo_callbacks.functional.activations.flat import Interval, flat_part
from thermo_callbacks.probes.activations.registry import Function
from thermo_callbacks.probes.guard import preserved_random_state

NO_GRADIENT = "it has a function for each unit, and no gradient came that would tell where they are flat"
MOST_NUMBERS = 4096  # parameters and buffers of an activation that is compared from step to step


Decided = TypeVar("Decided")


class Verdict(NamedTuple):
    """Type of engine and flat part of a function, or why there is none."""

    engine: Literal["passive", "driven"] | None
    reason: str | None
    flat: tuple[Interval, ...] | None = None
    flat_reason: str | None = None


class Called:
    """A function with the arguments that it was called with, the input aside."""

    def __init__(self, function: Function | nn.Module, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> None:
        self.function = function
        self._arguments = [_kept(value) for value in arguments]
        self._keywords = {name: _kept(value) for name, value in keywords.items() if name != "input"}

    def __call__(self, points: Tensor) -> Any:
        """Call the function again, on other points."""
        keywords = {name: _on_host(value) for name, value in self._keywords.items()}
        return self.function(points, *map(_on_host, self._arguments), **keywords)

    def key(self) -> Hashable | None:
        """Key of the function and its state; None if it has more state than can be compared."""
        if isinstance(self.function, nn.Module):
            return _module_key(self.function)
        values = [*self._arguments, *self._keywords.values()]
        if self.numbers > MOST_NUMBERS:
            return None
        return self.function, tuple(self._keywords), tuple(map(_fingerprint, values))

    @property
    def numbers(self) -> int:
        """How many numbers it holds besides its settings: parameters, buffers, tensors that it was called with."""
        if isinstance(self.function, nn.Module):
            return sum(tensor.numel() for tensor in (*self.function.parameters(), *self.function.buffers()))
        values = (*self._arguments, *self._keywords.values())
        return sum(value.numel() for value in values if isinstance(value, Tensor))

    def verdict(self, threshold: float) -> Verdict:
        """Type of engine, and the part with a slope below the threshold; on the CPU, with copies of all state."""
        function = self.function if isinstance(self.function, nn.Module) else self
        with preserved_random_state(torch.device("cpu")):
            engine, reason = _attempt(lambda: engine_type(function))
            if self.numbers > 1:
                return Verdict(engine, reason, None, NO_GRADIENT)
            return Verdict(engine, reason, *_attempt(lambda: flat_part(function, threshold)))


class EngineTypes:
    """Types of engine of the calls of each pass; a function that has not changed is decided once."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._known: dict[Hashable, Verdict] = {}

    def decide(self, calls: Sequence[Called]) -> list[Verdict]:
        """Verdict on each call of a pass; what is known is reused, and what is not called any more forgotten."""
        known: dict[Hashable, Verdict] = {}
        verdicts = []
        for called in calls:
            key = called.key()
            if key is None:
                reason = f"it has more than {MOST_NUMBERS} parameters: not one function"
                verdicts.append(Verdict(None, reason, None, NO_GRADIENT))
                continue
            if key not in known:
                known[key] = self._known.get(key) or called.verdict(self._threshold)
            verdicts.append(known[key])
        self._known = known
        return verdicts


def _attempt(decide: Callable[[], Decided]) -> tuple[Decided | None, str | None]:
    """What is decided, or why nothing is."""
    try:
        return decide(), None
    except Exception as fault:  # the activation is the user's, and so is what it can't be called with
        return None, f"{type(fault).__name__}: {fault}"


def _kept(value: Any) -> Any:
    """Copy of what the next optimizer step overwrites."""
    return value.detach().clone() if isinstance(value, Tensor) else value


def _on_host(value: Any) -> Any:
    return value.to("cpu", torch.float64) if isinstance(value, Tensor) else value


def _fingerprint(value: Any) -> str:
    return repr(value.tolist() if isinstance(value, Tensor) else value)


def _module_key(module: nn.Module) -> Hashable | None:
    state = [*module.parameters(), *module.buffers()]
    if sum(tensor.numel() for tensor in state) > MOST_NUMBERS:
        return None
    settings = tuple(
        (type(part), name, repr(value))
        for part in module.modules()
        for name, value in vars(part).items()
        if not name.startswith("_") and name != "training"  # it is evaluated in evaluation mode
    )
    return (type(module), *settings), tuple(map(_fingerprint, state))
