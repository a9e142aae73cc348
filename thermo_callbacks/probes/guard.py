"""Modes and random streams kept around a probe, and faults of a probe turned into one warning."""

from __future__ import annotations

import contextlib
import random
import sysconfig
import traceback
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch

from thermo_callbacks.probes.interrupts import finished, interruptible
from thermo_callbacks.probes.modes import KeptModes
from thermo_callbacks.probes.other_fits import undisturbed
from thermo_callbacks.probes.told import DIVERGED, LOGGER, Told, note

_PACKAGE = Path(__file__).parents[1]
_LIBRARIES = [Path(place) for name in ("stdlib", "purelib", "platlib") if (place := sysconfig.get_path(name))]
_CHANGED = (
    "One extra pass has done this once more than training did, which can't be taken back: training goes on with that, "
    "and does not do it again."
)
_NO_FAULT_OF_YOURS = (
    " Nothing in your code has to be mended: the fault is in thermo_callbacks or in a library that it calls. Please "
    "report it."
)


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
    # in the midst of another thread's fit that would take back the numbers which that one has drawn meanwhile
    with undisturbed() as alone, finished(RandomState(device).restore if alone else _nothing), interruptible():
        yield


def _nothing() -> None:
    """Nothing is to be put back."""


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

    def __init__(self, name: str, *, told: Told | None = None) -> None:
        # told: what several guards have told of a run, so that a fault that all of them meet is told once
        self.name = name
        self.reason: str | None = None
        self.told = Told() if told is None else told
        self.quiet = False  # set on ranks above 0, so that a warning comes once and not once a rank
        self._warned: set[str] = set()

    @property
    def disabled(self) -> bool:
        """Whether the probe is switched off."""
        return self.reason is not None

    def disable(self, reason: str, fault: Exception | None = None) -> None:
        """Switch the probe off, warn why (a sentence's beginning), and log the fault's traceback at debug level."""
        hint = self._explained(reason, fault)
        if self.reason is None:
            self.reason = reason
            goes_on = _CHANGED if getattr(fault, "left_trace", False) else "Training goes on unchanged."
            message = f"{self.name} is switched off for the rest of this run: {reason}. {goes_on}"
            if self.told.know_fault(fault):
                self.note_once(message)
            else:
                self.warn_once(message + hint, urgent=True)

    def leave_out(self, member: str, reason: str, fault: Exception | None = None) -> None:
        """Warn that one member of what is measured is left out, and why (a sentence's beginning)."""
        hint = self._explained(reason, fault)
        self.warn_once(f"{self.name} leaves out {member} for the rest of this run: {reason}. All else goes on.{hint}")

    def _explained(self, reason: str, fault: Exception | None) -> str:
        """Whose fault it is, where there is one; its traceback goes to the log."""
        if fault is None:
            return ""
        LOGGER.debug("%s: %s", self.name, reason, exc_info=fault)
        return _hint(fault)

    def warn_once(self, message: str, *, topic: str | None = None, urgent: bool = False) -> None:
        """Warn, once for each topic; None for the message itself."""
        if self.news([topic or message]) and not self.quiet:
            self.told.warn(message, topic=topic, urgent=urgent)

    def note_once(self, message: str, *, topic: str | None = None) -> None:
        """Write to the log, once for each topic, what there is nothing to do about."""
        if self.news([topic or message]) and not self.quiet:
            note(message)

    def tell_divergence(self) -> None:
        """Warn that the run has diverged, and go on: what follows from it is told no more."""
        if not self.quiet:
            self.told.warn(DIVERGED, topic=DIVERGED, urgent=True)

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
        with undisturbed() as alone:
            modes = KeptModes(device.type).restore if alone else _nothing
            with finished(modes), no_trace(device.type), preserved_random_state(device):
                yield


def _hint(fault: Exception) -> str:
    """Whose fault it is and how to see more of it; nothing where it was raised on purpose, with its own cure."""
    first, *below = traceback.extract_tb(fault.__traceback__)
    last = (below or [first])[-1]
    ours = [_lies_in(frame, [_PACKAGE]) for frame in below]
    if below and ours[-1] and (last.line or "").startswith("raise "):
        return ""
    internal = all(own or _lies_in(frame, _LIBRARIES) for own, frame in zip(ours, below, strict=True))
    return (
        f"{_NO_FAULT_OF_YOURS if internal else ''} It was raised in {Path(last.filename).name}, line {last.lineno}; to "
        f"see the traceback, run again after logging.basicConfig() and logging.getLogger({LOGGER.name!r})."
        "setLevel('DEBUG')."
    )


def _lies_in(frame: traceback.FrameSummary, places: Sequence[Path]) -> bool:
    return any(Path(frame.filename).is_relative_to(place) for place in places)


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
