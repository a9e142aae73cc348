"""Callbacks that record a run of a comparison, beside the monitor."""

from __future__ import annotations

import math
import time
from typing import Any

import torch

from thermo_callbacks.callbacks import ThermoMonitor
from thermo_callbacks.callbacks.lightning_names import LightningModule, Trainer, TrainerCallback
from thermo_callbacks.comparison.records import PathPoint

_CHECKED_EVERY = 50  # steps between two checks that the loss is finite: each waits for the device


class DivergenceError(ArithmeticError):
    """The loss of a run is not finite."""


class PathRecorder(TrainerCallback):
    """Records entropy and temperature over a run."""

    # the monitor has to stand before it in the Trainer's list

    def __init__(self, monitor: ThermoMonitor) -> None:
        self._monitor = monitor
        self.points: list[PathPoint] = []

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Take a new value in, if there is one."""
        self._record(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002  Lightning's signature
        """Take in the last value, which may come after the last batch."""
        self._record(trainer)

    def _record(self, trainer: Trainer) -> None:
        record = self._monitor.latest()
        state = (record.get("thermo/entropy", math.nan), record.get("thermo/temperature", math.nan))
        if all(map(math.isfinite, state)) and state not in [point[1:] for point in self.points[-1:]]:
            self.points.append(PathPoint(trainer.global_step, *state))


class Stopwatch(TrainerCallback):
    """Measures the time of training and validation: without set-up, which takes longer in a process's first run."""

    def __init__(self) -> None:
        self._start = math.nan
        self._end: float | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002  Lightning's signature
        """Start the clock."""
        for logger in trainer.loggers:
            _ = getattr(logger, "experiment", None)  # opened now, not by the first value
        self._start = time.perf_counter()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002  Lightning's signature
        """Stop the clock: what others do now, such as drawing figures, is no training."""
        self._end = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Time of training, up to now if it was broken off; NaN if it did not begin."""
        return (time.perf_counter() if self._end is None else self._end) - self._start


class ValidationRecorder(TrainerCallback):
    """Records the values that validation ends with, under their names, the loss first."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self.rows: list[tuple[float, ...]] = []
        self.logged: list[str] = []

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002  Lightning's
        """Read the values, which are complete by now."""
        if trainer.sanity_checking:
            return
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.logged = sorted(name for name in values if not name.startswith("thermo"))
        self.rows.append(tuple(values.get(name, math.nan) for name in self._names))
        if self._names[0] in values and not math.isfinite(self.rows[-1][0]):
            raise DivergenceError(f"the validation loss was {self.rows[-1][0]} after step {trainer.global_step}")


class DivergenceGuard(TrainerCallback):
    """Ends a run whose loss is no longer finite, without waiting for the device at every step."""

    def __init__(self) -> None:
        self._first: torch.Tensor | None = None  # batches before the first whose loss was not finite; -1: none yet
        self._seen = 0

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:  # noqa: ARG002  Lightning's
        """Take in the loss of a batch."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, torch.Tensor):
            bad = ~torch.isfinite(loss.detach()).all()
            first = torch.full_like(bad, -1, dtype=torch.long) if self._first is None else self._first
            self._first = torch.where(bad & (first < 0), self._seen, first)
        self._seen += 1
        if self._seen % _CHECKED_EVERY == 0:
            self._check()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002  Lightning's
        """Check before time is spent on validation."""
        self._check()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002  Lightning's
        """Check what is left of the epoch."""
        self._check()

    def _check(self) -> None:
        if self._first is not None and (batch := int(self._first)) >= 0:
            raise DivergenceError(f"the training loss was not finite from batch {batch + 1} on")
