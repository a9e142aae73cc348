"""Modes and random streams kept around a probe, and faults of a probe turned into one warning."""

from __future__ import annotations

import contextlib
import logging
import random
import traceback
import warnings
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch

from thermo_callbacks.probes.interrupts import finished, interruptible
from thermo_callbacks.probes.modes import KeptModes

_LOGGER = logging.getLogger("thermo_callbacks")


class no_trace:  # noqa: N801  a context manager, named like torch.no_grad
    """Switch gradients and autocast off, which user code may have left on around a hook.

    Manual optimization steps inside the autocast region of ``training_step``, and so do its hooks. A class and not a
    generator, since it is entered at every watched step.
    """

    __slots__ = ("_block", "_device_type")

    def __init__(self, device_type: str = "cpu") -> None:
        self._device_type = device_type

    def __enter__(self) -> None:
        kept = partial(_set_modes, self._device_type, torch.is_grad_enabled(), _casts(self._device_type))
        self._block = finished(kept, hold=False)
        self._block.__enter__()
        _set_modes(self._device_type, False, False)

    def __exit__(self, *details: Any) -> None:
        self._block.__exit__(*details)


def _casts(device_type: str) -> bool:
    return torch.is_autocast_enabled(device_type)


def _set_modes(device_type: str, grad: bool, casting: bool) -> None:
    torch.set_grad_enabled(grad)
    if casting != _casts(device_type):
        torch.set_autocast_enabled(device_type, casting)


@contextlib.contextmanager
def preserved_random_state(device: torch.device) -> Iterator[None]:
    """Keep Python's, NumPy's and torch's global random streams as they are."""
    # for the rare places that run foreign code (figures, loggers): the hooks of a step draw no random number at all;
    # reading the streams of all devices would wake them up, and so only this one's is kept besides the CPU's
    with finished(RandomState(device).restore), interruptible():
        yield


class RandomState:
    """State of the global random streams at one moment, for a block to begin with once more."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._python: Any = random.getstate()
        self._numpy: Any = np.random.get_state()  # noqa: NPY002  the global stream
        self._torch = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def state_dict(self) -> dict[str, Any]:
        """The state as plain values and tensors."""
        kind, keys, *rest = self._numpy
        streams: dict[str, Any] = {"python": self._python, "torch": self._torch}
        streams["numpy"] = [kind, [int(key) for key in keys], *rest]
        return streams if self._cuda is None else {**streams, "cuda": self._cuda}

    @classmethod
    def of(cls, state: dict[str, Any], device: torch.device) -> Self:
        """The state that :meth:`state_dict` gave."""
        made = cls(device)
        made._python, made._torch = state["python"], state["torch"]
        made._numpy = tuple(state["numpy"])
        made._cuda = state.get("cuda") if device.type == "cuda" else None
        return made

    @contextlib.contextmanager
    def again(self) -> Iterator[None]:
        """Begin a block with this state, and leave the streams as they are."""
        with preserved_random_state(self._device):
            self.restore()
            yield

    def restore(self) -> None:
        """Set the streams to this state."""
        random.setstate(self._python)
        np.random.set_state(self._numpy)  # noqa: NPY002
        torch.set_rng_state(self._torch)
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda, self._device)


class Guard:
    """Turns a fault inside a probe into one warning and a probe that is switched off."""

    def __init__(self, name: str, *, told: set[str] | None = None) -> None:
        # told: faults that some guards share, so that one that meets all of them is told once
        self.name = name
        self.reason: str | None = None
        self._told = set() if told is None else told
        self.quiet = False  # set on ranks above 0, so that a warning comes once and not once a rank
        self._warned: set[str] = set()

    @property
    def disabled(self) -> bool:
        """Whether the probe is switched off."""
        return self.reason is not None

    def disable(self, reason: str, fault: Exception | None = None) -> None:
        """Switch the probe off, warn why (a sentence's beginning), and log the fault's traceback at debug level."""
        hint = ""
        if fault is not None:
            _LOGGER.debug("%s: %s", self.name, reason, exc_info=fault)
            place = traceback.extract_tb(fault.__traceback__)[-1]
            hint = (
                f" It was raised in {Path(place.filename).name}, line {place.lineno}; to see the traceback, run again "
                f"after logging.basicConfig() and logging.getLogger({_LOGGER.name!r}).setLevel('DEBUG')."
            )
        if self.reason is None:
            self.reason = reason
            if fault is not None and repr(fault) in self._told:
                return
            self._told |= {repr(fault)} if fault is not None else set()
            self.warn_once(
                f"{self.name} is switched off for the rest of this run: {reason}. Training goes on unchanged.{hint}"
            )

    def warn_once(self, message: str, *, topic: str | None = None) -> None:
        """Warn, once for each topic; None for the message itself."""
        if (topic or message) not in self._warned:
            self._warned.add(topic or message)
            if not self.quiet:
                warnings.warn(message, UserWarning, stacklevel=3)

    def knows(self, topic: str) -> bool:
        """Whether something was said of a topic."""
        return topic in self._warned

    def news(self, topics: Iterable[str]) -> list[str]:
        """Topics that nothing was said of before; from now on they are known."""
        fresh = [topic for topic in topics if topic not in self._warned]
        self._warned.update(fresh)
        return fresh

    def protect(self, where: str) -> _Protection:
        """Run a block of the probe; an exception in it switches the probe off and goes no further."""
        return _Protection(self, where)

    @staticmethod
    @contextlib.contextmanager
    def invisible(device: torch.device) -> Iterator[None]:
        """Enter no_trace and preserved_random_state, for hooks that come once a window or less."""
        with finished(KeptModes(device.type).restore), no_trace(device.type), preserved_random_state(device):
            yield


class _Protection:
    """See :meth:`Guard.protect`; a class and not a generator, since it is entered at every watched step."""

    __slots__ = ("_guard", "_where")

    def __init__(self, guard: Guard, where: str) -> None:
        self._guard, self._where = guard, where

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> bool:
        if not isinstance(fault, Exception) or isinstance(fault, Warning):
            return False  # a warning that the user's filters turn into an exception is the user's own wish
        self._guard.disable(f"{type(fault).__name__} while {self._where}: {fault}", fault)
        return True
