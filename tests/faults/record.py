"""One run of the suite, watched with the defaults that everybody gets."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import time
import warnings
from dataclasses import asdict, dataclass, field
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers.logger import DummyLogger

from faults.case import Case, Run
from thermo_callbacks import ThermoMonitor

DIGITS = 6
"""Digits that a value keeps in a file: no estimate has more."""


@dataclass(frozen=True)
class Record:
    """What is known of a run when it has ended.

    Attributes:
        score: What the run is judged by: lower is better.
        rows: Step and values of each time that something was logged.
        told: Warnings that the user saw.
        facts: Configuration of the run, as the rules read it.
        findings: What was found at the end, as JSON has it.
        first_found: Step at which something above "info" was found first; None if nothing was.
    """

    name: str
    seed: int
    score: float
    seconds: float
    rows: list[tuple[int, dict[str, float]]]
    told: list[str]
    facts: dict[str, Any] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)
    first_found: int | None = None

    @property
    def last(self) -> dict[str, float]:
        """Each value as it was logged last."""
        return {tag: value for _, row in self.rows for tag, value in row.items()}

    def to_json(self) -> dict[str, Any]:
        """The record in what JSON knows: no number is None, and infinity is text."""
        rows = [[step, {tag: _plain(value) for tag, value in row.items()}] for step, row in self.rows]
        return asdict(self) | {"rows": rows, "score": _plain(self.score), "seconds": round(self.seconds, 2)}


def _plain(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else str(value)


class FirstFinding(pl.Callback):
    """Notes when a monitor finds something above "info" first."""

    def __init__(self, monitor: ThermoMonitor) -> None:
        self.monitor, self.step = monitor, None

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if self.step is None and any(each.severity != "info" for each in self.monitor.findings()):
            self.step = trainer.global_step

    def on_train_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.on_train_batch_end(trainer)


class Memory(DummyLogger):
    """A logger that keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:  # type: ignore[override]
        self.rows.append((int(step or 0), {tag: float(value) for tag, value in metrics.items() if "epoch" not in tag}))


def fit(run: Run, callbacks: list[pl.Callback], logger: Any = False) -> None:
    """Train a run to its end, with callbacks and a logger but nothing on the screen or the disk."""
    trainer = pl.Trainer(
        accelerator="cpu", logger=logger, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, max_epochs=-1, callbacks=callbacks, **run.settings,
    )  # fmt: skip
    trainer.fit(run.module, run.loader, run.validation)


def measure(case: Case, seed: int, *, watched: bool = True) -> Record:
    """Run a case to its end.

    Args:
        case: Case to run.
        seed: Seed of weights and batches.
        watched: Whether the monitor is there, with the preset "standard".

    Returns:
        Its score, and all that was logged.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    start, memory = time.perf_counter(), Memory()
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("always")
        run, monitor = case.make(seed), ThermoMonitor()
        first = FirstFinding(monitor)
        fit(run, [monitor, first] if watched else [], memory)
        score = run.score()
    told = [str(each.message) for each in caught if "hermo" in f"{each.message}{each.filename}"]
    rows = [(step, row) for step, row in memory.rows if row]
    found = [each.to_json() for each in monitor.findings()]
    seconds = round(time.perf_counter() - start, 2)
    return Record(case.name, seed, score, seconds, rows, told, monitor._facts(), found, first.step)
