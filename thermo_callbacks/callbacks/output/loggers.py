"""What a run's loggers are given, each by itself: one that fails takes neither the monitors nor the others with it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from thermo_callbacks.catalog import Scalars
from thermo_callbacks.display.tensorboard.writers import PrefixedWriter, is_logger, tensorboard_writers
from thermo_callbacks.probes.guard import Guard
from thermo_callbacks.probes.told import Told

MOST_FAILURES = 3
"""Failures in a row after which a logger is given nothing more: a folder that is gone is no passing trouble."""
_WORDS = {"#": " call ", "@": " of "}
_REFUSED = re.compile(r"[^a-zA-Z0-9_/. \-]")


def mlflow_name(tag: str) -> str:
    """Tag in the signs that MLflow takes, no two tags alike.

    Lightning's logger would drop all other signs, with a warning for each tag: the second call of an activation,
    ``act#2``, would be drawn in the line of a module ``act2``.

    Args:
        tag: Tag as all other loggers get it.

    Returns:
        The tag with ``#`` as ``call`` and ``@`` as ``of``, between spaces, and any other sign by its number.

    Example:
        >>> mlflow_name("thermo_work_efficiency/act#2"), mlflow_name("thermo_heat/net.0@SGD")
        ('thermo_work_efficiency/act call 2', 'thermo_heat/net.0 of SGD')
    """
    return _REFUSED.sub(lambda sign: _WORDS.get(sign[0], f"-x{ord(sign[0]):x}-"), tag)


class LoggerOutput:
    """Hands values, texts and pictures to the loggers of a Trainer, for all monitors of its run.

    What a logger can't take is lost there and nowhere else, with one warning for all. The loggers belong to the host:
    whether one that fails here takes the host's own values is not decided here. ``told`` is shared by all guards of
    the run.
    """

    def __init__(self) -> None:
        self.told = Told()
        self._guard = Guard("The log", told=self.told)
        self._failures: dict[int, int] = {}  # in a row, by the logger's place

    def values(self, trainer: Any, values: Scalars, step: int) -> None:
        """Log values at a step."""

        def log(logger: Any) -> bool:
            name = mlflow_name if is_logger(logger, "MLFlowLogger") else str
            logger.log_metrics({name(tag): value for tag, value in values.items()}, step=step)
            return True

        self.each(trainer, step, log)

    def write(self, trainer: Any, step: int, write: Callable[[list[PrefixedWriter]], object]) -> None:
        """Let ``write`` write to the TensorBoard writer of each logger that has one."""
        seen: set[int] = set()

        def write_once(logger: Any) -> bool:
            writers = [each for each in tensorboard_writers([logger]) if id(each.writer) not in seen]
            seen.update(id(each.writer) for each in writers)
            if writers:
                write(writers)
            return bool(writers)

        self.each(trainer, step, write_once)

    def each(self, trainer: Any, step: int, work: Callable[[Any], bool]) -> None:
        """Do ``work`` with each logger; it says whether it had anything to do there."""
        for place, logger in enumerate(trainer.loggers):
            if self._failures.get(place, 0) >= MOST_FAILURES:
                continue
            try:
                done = work(logger)
            except Warning:  # the user's filters turn it into an exception: the user's own wish
                raise
            except Exception as fault:
                self._failures[place] = self._failures.get(place, 0) + 1
                self._tell(trainer, logger, step, fault)
            else:
                if done:
                    self._failures[place] = 0

    def _tell(self, trainer: Any, logger: Any, step: int, fault: Exception) -> None:
        self._guard.quiet = not trainer.is_global_zero
        cause: BaseException = fault
        while cause.__cause__ is not None:  # Lightning takes a full disk for a value that it can't log
            cause = cause.__cause__
        self._guard.warn_once(
            f"thermo_callbacks could not log to {type(logger).__name__} at step {step} ({type(cause).__name__}: "
            f"{cause}). What was to be written is lost there and nowhere else; the run and all other loggers go on. "
            f"It is tried again, and given nothing more after {MOST_FAILURES} failures in a row: look at its folder, "
            "disk and permissions.",
            topic="a logger fails",
        )


_OUTPUTS: WeakKeyDictionary[Any, LoggerOutput] = WeakKeyDictionary()


def logger_output(trainer: Any) -> LoggerOutput:
    """Output of a Trainer, one for all monitors of its run, so that a disk that is full is told once."""
    return _OUTPUTS.setdefault(trainer, LoggerOutput())


def renew_output(trainer: Any) -> None:
    """Forget what failed and was told in a run that has ended."""
    _OUTPUTS.pop(trainer, None)
