"""One run of a comparison: a job that can be sent to another process or machine."""

from __future__ import annotations

import copy
import math
import os
import platform
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thermo_callbacks.callbacks import ThermoMonitor
from thermo_callbacks.callbacks.lightning_names import LightningDataModule, LightningModule, TensorBoardLogger, Trainer
from thermo_callbacks.comparison.activations import Candidate
from thermo_callbacks.comparison.fingerprint import describe, describe_data, describe_module
from thermo_callbacks.comparison.modules import MakeModule, build_module
from thermo_callbacks.comparison.ownership import clear_run
from thermo_callbacks.comparison.parent_watchdog import check_starter, end_with
from thermo_callbacks.comparison.quiet_training import interruptible, one_thread, quiet
from thermo_callbacks.comparison.recording import (
    DivergenceError,
    DivergenceGuard,
    PathRecorder,
    Stopwatch,
    ValidationRecorder,
)
from thermo_callbacks.comparison.records import MEASURES, RunRecord, run_name
from thermo_callbacks.comparison.seeding import DataOrder, seeded
from thermo_callbacks.comparison.storage import RUNS, StoredRun, run_folder, write_run, write_text

_alone = threading.Lock()  # seeds are the process's: two runs in threads of one would draw from each other's


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run, with all it needs.

    Attributes:
        seed: Seed of the initial weights and of the order of the data.
        make_module: As for :func:`~thermo_callbacks.comparison.compare.compare_activations`.
        data: A data module, or loaders for training and validation.
        metrics: Names under which the module logs validation loss and accuracy.
        starter: Number of the process that the comparison goes on in.
        host: Name of that process's machine.
    """

    candidate: Candidate
    seed: int
    make_module: MakeModule
    data: Any
    trainer_kwargs: Mapping[str, Any]
    metrics: tuple[str, ...]
    directory: Path
    starter: int = field(default_factory=os.getpid)
    host: str = field(default_factory=platform.node)

    @property
    def name(self) -> str:
        """Name of the run."""
        return run_name(self.candidate.name, self.seed)

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return run_folder(self.directory, self.name)

    def settings(self) -> dict[str, str]:
        """All that the run depends on, as far as it can be seen; builds a module and throws it away."""
        with quiet(), one_thread(), seeded(self.seed):
            return {
                "activation": describe(self.candidate.build()),
                **describe_module(build_module(self.make_module, self.candidate)),
                "data": describe_data(self.data),
                "trainer_kwargs": describe(self.trainer_kwargs),
                "metrics": describe(self.metrics),
            }


def execute(job: Job) -> StoredRun:
    """Train and measure one run, and write its record into its folder.

    A fault of the run is a result as well. Runs in threads of one process take turns.

    Args:
        job: The run.

    Returns:
        What was written.

    Raises:
        KeyboardInterrupt: If Ctrl-C ended the run; nothing is written then.
        ComparisonGoneError: If the comparison has ended without it; nothing is touched then.
        ValueError: If the run's folder holds what no comparison made.
    """
    check_starter(job.starter, job.host)
    end_with(job.starter)
    with _alone:
        clear_run(job.folder)
        settings: dict[str, str] = {}
        try:
            settings = job.settings()
            record = _train(job)
        except Exception as fault:
            write_text(job.folder / "error.txt", traceback.format_exc())
            record = _unfinished(job, "failed", fault)
        stored = StoredRun(settings, record)
        write_run(job.folder, stored)
        return stored


def _unfinished(job: Job, status: Any, fault: Exception) -> RunRecord:
    reason = str(fault).strip().split("\n", 1)[0]
    message = reason if status == "diverged" else f"{type(fault).__name__}: {reason}"
    return RunRecord(
        activation=job.candidate.name, seed=job.seed, engine=job.candidate.engine(), status=status, message=message
    )


def _train(job: Job) -> RunRecord:
    observers = Observers(job)
    # without the default metric, nothing is written of hyperparameters before the results: TensorBoard keeps the first
    logger = TensorBoardLogger(job.directory / RUNS, name="", version=job.name, default_hp_metric=False)
    with quiet(), one_thread(), seeded(job.seed):
        trainer = Trainer(
            **{
                "devices": 1,
                "enable_checkpointing": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "log_every_n_steps": 10,
                "num_sanity_val_steps": 0,
                "default_root_dir": job.folder,
                **job.trainer_kwargs,
                "logger": logger,
                "callbacks": observers.callbacks,
            }
        )
        module = build_module(job.make_module, job.candidate)
    with quiet(), one_thread(), seeded(job.seed):  # whatever was drawn for building differs between activations
        fault = _fit(trainer, module, job)
    record = _record(job, observers, fault)
    logger.log_hyperparams(
        {
            **logger.hparams,
            "activation": record.activation,
            "seed": job.seed,
            "engine": record.engine or "unknown",
            "activation_layers": len(record.work_efficiency),
            "status": record.status,
        },
        {f"comparison/{measure.key}": record.values.get(measure.key, math.nan) for measure in MEASURES},
    )
    logger.finalize("success")
    return record


class Observers:
    """Callbacks of a run, the user's among them."""

    def __init__(self, job: Job) -> None:
        given = copy.deepcopy(job.trainer_kwargs.get("callbacks")) or []
        callbacks = list(given) if isinstance(given, (list, tuple)) else [given]
        monitor = next((each for each in callbacks if isinstance(each, ThermoMonitor)), None)
        if monitor is None:
            monitor = ThermoMonitor(seed=job.seed)
            callbacks.append(monitor)
        self.monitor = monitor
        self.stopwatch, self.path, self.validation = Stopwatch(), PathRecorder(monitor), ValidationRecorder(job.metrics)
        self.callbacks = [self.stopwatch, *callbacks, DivergenceGuard(), self.path, self.validation]


def _fit(trainer: Trainer, module: LightningModule, job: Job) -> DivergenceError | None:
    """Train; gives what ended the run early, if it diverged."""
    order = DataOrder(job.seed)
    try:
        with interruptible():
            if isinstance(job.data, LightningDataModule):
                trainer.fit(module, datamodule=order.impose_on_module(job.data))
            else:
                trainer.fit(module, *map(order.impose, job.data))
    except DivergenceError as fault:
        return fault
    finally:
        order.lift()
    if trainer.interrupted:
        raise KeyboardInterrupt
    return None


def _record(job: Job, observers: Observers, fault: DivergenceError | None) -> RunRecord:
    latest, validation = observers.monitor.latest(), observers.validation
    losses = [row[0] for row in validation.rows if math.isfinite(row[0])]
    if not losses and fault is None:
        raise ValueError(
            f"the module logged no {job.metrics[0]!r} in validation, but {', '.join(validation.logged) or 'nothing'}: "
            "log it there, or name what is logged, as in metrics=('val_loss', 'val_accuracy')"
        )
    values = {measure.key: latest[measure.tag] for measure in MEASURES if measure.tag in latest}
    if not job.candidate.is_measured:
        latest = {tag: value for tag, value in latest.items() if "_efficiency" not in tag}
        values.pop("work_efficiency", None)
    values["seconds"] = observers.stopwatch.seconds
    if losses:
        values |= {"val_loss_final": losses[-1], "val_loss_best": min(losses)}
    if len(job.metrics) > 1 and validation.rows:
        values["accuracy"] = validation.rows[-1][1]
    return RunRecord(
        activation=job.candidate.name,
        seed=job.seed,
        engine=job.candidate.engine(),
        status="finished" if fault is None else "diverged",
        message="" if fault is None else str(fault),
        values=values,
        work_efficiency=_family(latest, "thermo_work_efficiency"),
        learning_efficiency=_family(latest, "thermo_learning_efficiency"),
        path=observers.path.points,
    )


def _family(record: Mapping[str, float], family: str) -> list[tuple[str, float]]:
    """Values of the modules, in the order of the record: that of depth."""
    start = f"{family}/"
    return [(tag.removeprefix(start), value) for tag, value in record.items() if tag.startswith(start)]
