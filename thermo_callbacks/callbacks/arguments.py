"""Checks of the monitors' arguments, before training and with the cure."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence, Set
from typing import Any

Loss = Callable[[Any, Any], Any]
"""Loss of a module and a batch."""

_LARGEST = 2**63 - 1  # what generators of random numbers and counters on a device take
MINIMUM_STEPS = 8
"""Fewest steps with something to say: the shortest window, and the shortest run that is reported at all."""

_WHOLE = {  # smallest value, and whether None is one
    "window": (MINIMUM_STEPS, True),
    "steps_between_windows": (0, True),
    "sample": (2, True),
    "curvature_every_n_steps": (1, True),
    "every_n_steps": (1, False),
    "samples": (1, False),
    "batch_size": (1, True),
    "seed": (0, False),
}


def check_arguments(**arguments: Any) -> None:
    """Refuse arguments of a monitor's constructor that are out of their range."""
    for name, value in arguments.items():
        if name in _WHOLE:
            _check_whole(name, value, *_WHOLE[name])
    within_layers = arguments.get("within_layers", False)
    if not isinstance(within_layers, bool):
        raise ValueError(f"within_layers must be True or False, got {within_layers!r}")
    layers = arguments.get("layers")
    if layers not in (None, "all") and not _are_patterns(layers):
        raise ValueError(
            "layers must be a list of glob patterns such as ['encoder.*'], 'all' for each layer by itself, or None for "
            f"groups where there are many, got {layers!r}"
        )
    check_callable("loss_fn", arguments.get("loss_fn"), "a function of the module and a batch that returns the loss")


def steps_between(steps_between_windows: int | None, rest: int | None) -> int | None:
    """Take ``steps_between_windows`` by its former name ``rest``, too; None if neither is given."""
    if rest is None:
        return steps_between_windows
    _check_whole("rest", rest, 0, optional=True)
    if steps_between_windows is not None:
        raise ValueError(
            f"rest is the former name of steps_between_windows: give one of them, got {rest!r} and "
            f"{steps_between_windows!r}"
        )
    message = "the argument rest is called steps_between_windows now: the former name will go with version 1.0"
    warnings.warn(message, DeprecationWarning, stacklevel=3)
    return rest


def _are_patterns(layers: Any) -> bool:
    # not of anything that can be gone through: an iterator is empty after the first look, and a dictionary meant more
    if isinstance(layers, str | bytes) or not isinstance(layers, Sequence | Set):
        return False
    return bool(layers) and all(isinstance(pattern, str) and pattern for pattern in layers)


def _check_whole(name: str, value: Any, minimum: int, optional: bool) -> None:
    if optional and value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        alternative = " or None" if optional else ""
        raise ValueError(f"{name} must be a whole number of at least {minimum}{alternative}, got {value!r}")
    if value > _LARGEST:
        raise ValueError(f"{name} must be below 2**63, got {value!r}")


def check_callable(name: str, value: Any, meaning: str) -> None:
    """Refuse what can't be called; None is accepted."""
    if value is not None and not callable(value):
        raise ValueError(f"{name} must be {meaning}, or None, got {value!r}")
