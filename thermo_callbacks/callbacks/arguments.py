"""Checks of the monitors' arguments, before training and with the cure."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

Loss = Callable[[Any, Any], Any]
"""Loss of a module and a batch."""

MINIMUM_STEPS = 8
"""Fewest steps with something to say: the shortest window, and the shortest run that is reported at all."""

_WHOLE = {  # smallest value, and whether None is one
    "window": (MINIMUM_STEPS, True),
    "steps_between_windows": (0, True),
    "sample": (2, True),
    "curvature_every_n_steps": (1, True),
    "every_n_steps": (1, False),
    "samples": (1, False),
    "seed": (0, False),
}


def check_arguments(**arguments: Any) -> None:
    """Refuse arguments of a monitor's constructor that are out of their range."""
    for name, value in arguments.items():
        if name in _WHOLE:
            _check_whole(name, value, *_WHOLE[name])
    layers = arguments.get("layers")
    if layers not in (None, "all") and not _are_patterns(layers):
        raise ValueError(
            "layers must be a list of glob patterns such as ['encoder.*'], 'all' for each layer by itself, or None for "
            f"groups where there are many, got {layers!r}"
        )
    loss_fn = arguments.get("loss_fn")
    if loss_fn is not None and not callable(loss_fn):
        raise ValueError(
            f"loss_fn must be a function of the module and a batch that returns the loss, or None, got {loss_fn!r}"
        )


def steps_between(steps_between_windows: int | None, rest: int | None) -> int | None:
    """Take ``steps_between_windows`` by its former name ``rest``, too; None if neither is given."""
    if rest is None:
        return steps_between_windows
    if steps_between_windows is not None:
        raise ValueError(
            f"rest is the former name of steps_between_windows: give one of them, got {rest!r} and "
            f"{steps_between_windows!r}"
        )
    message = "the argument rest is called steps_between_windows now: the former name will go with version 1.0"
    warnings.warn(message, DeprecationWarning, stacklevel=3)
    return rest


def _are_patterns(layers: Any) -> bool:
    if isinstance(layers, str) or not isinstance(layers, Iterable):
        return False
    patterns = list(layers)
    return bool(patterns) and all(isinstance(pattern, str) and pattern for pattern in patterns)


def _check_whole(name: str, value: Any, minimum: int, optional: bool) -> None:
    if optional and value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        alternative = " or None" if optional else ""
        raise ValueError(f"{name} must be a whole number of at least {minimum}{alternative}, got {value!r}")
