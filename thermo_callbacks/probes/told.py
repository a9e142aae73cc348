"""What has been told of a run: few warnings, a divergence before all else, and the rest in the log."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

LOGGER = logging.getLogger("thermo_callbacks")
MOST_WARNINGS = 3
"""Warnings in a run, whatever happens. The last is kept for what is switched off, and for a run that diverges."""
DIVERGED = "diverged"
"""Topic of the warning that a run has diverged, after which no other reason is looked for."""
_DIVERGED = (
    "the run has diverged: in a window of its steps, weights, gradients or moves are not finite, or too large to be "
    "squared, or the loss has grown a millionfold. Most values are missing (NaN) from here on."
)
_MORE = f" What else there is to say of this run goes to logging.getLogger({LOGGER.name!r}), level INFO."


class _ToldRun:
    """What was told in one run, by all that take part in it."""

    def __init__(self) -> None:
        self.faults: set[str] = set()
        self.warnings = 0
        self.messages: set[str] = set()
        self.diverged = False
        self.explained = False


def never() -> bool:
    """Answer of a run that nobody watches any more."""
    return False


class Told:
    """What guards have told of a run; those that have joined share its few warnings.

    A reason that follows from the run's divergence is none: before any warning, ``has_diverged`` is asked.
    """

    def __init__(self) -> None:
        self._run = _ToldRun()
        self.has_diverged: Callable[[], bool] = never

    def __getstate__(self) -> dict[str, Any]:
        """State for copies and pickles: without the run, which may hold a model."""
        return {"_run": _ToldRun(), "has_diverged": never}

    def join(self, other: Told) -> None:
        """Share the warnings of another from now on."""
        self._run = other._run

    def explained(self) -> None:
        """A cause was told: what else there is to say follows from it, and goes to the log, but for what is urgent."""
        self._run.explained = True

    def know_fault(self, fault: Exception | None) -> bool:
        """Whether a fault was told before; from now on it is known."""
        known = repr(fault) in self._run.faults
        self._run.faults |= set() if fault is None else {repr(fault)}
        return known and fault is not None

    def warn(self, message: str, *, topic: str | None = None, urgent: bool = False, stacklevel: int = 4) -> None:
        """Warn, or write to the log what follows from a divergence or would be one warning too many."""
        run = self._run
        if not run.diverged and (topic == DIVERGED or self._asked()):
            run.diverged = True
            self._emit(_DIVERGED, urgent=True, stacklevel=stacklevel)
        if topic == DIVERGED:
            return
        if run.diverged or (run.explained and not urgent):
            note(message)
        else:
            self._emit(message, urgent=urgent, stacklevel=stacklevel)

    def _asked(self) -> bool:
        try:
            return self.has_diverged()
        except Exception:  # it looks at what may have failed
            return False

    def _emit(self, message: str, *, urgent: bool, stacklevel: int) -> None:
        run = self._run
        if message in run.messages:  # two measurements that meet the same thing
            return
        run.messages.add(message)
        if run.warnings >= MOST_WARNINGS - (not urgent):
            note(message)
            return
        run.warnings += 1
        more = _MORE if run.warnings == MOST_WARNINGS - 1 else ""
        if more and not message.endswith("."):
            message += "."
        warnings.warn(message + more, UserWarning, stacklevel=stacklevel + 1)


def note(message: str) -> None:
    """Write to the log what nobody has to act on."""
    LOGGER.info("%s", message)
