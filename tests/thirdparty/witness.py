"""What is left of a run that somebody else's project has made: all that a callback could have changed."""

from __future__ import annotations

import copy
import logging
import math
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger

from thermo_callbacks import ThermoMonitor


class Record:
    """A run's end, its losses, and what a monitor has told of it."""

    def __init__(self) -> None:
        self.fits = 0
        self.losses: list[Any] = []
        self.left: dict[str, Any] = {}
        self.values: dict[str, float] = {}
        self.warned: list[str] = []
        self.noted: list[str] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> Record:
        """A project that copies its callbacks writes to the same record."""
        return self


class Witness(Callback):
    """Takes down a run of which only the callbacks are known."""

    def __init__(self, record: Record) -> None:
        self.record = record

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        self.record.losses.append(copy.deepcopy(loss.detach()) if isinstance(loss, torch.Tensor) else loss)
        self._take_values(trainer)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        self.record.fits += 1
        self._take_values(trainer)
        metrics = {tag: value for tag, value in trainer.callback_metrics.items() if not tag.startswith("thermo")}
        left = {
            "state_dict": pl_module.state_dict(),
            "gradients": {name: parameter.grad for name, parameter in pl_module.named_parameters()},
            "optimizers": [optimizer.state_dict() for optimizer in trainer.optimizers],
            "schedulers": [config.scheduler.state_dict() for config in trainer.lr_scheduler_configs],
            "metrics": metrics,
            "losses": self.record.losses,
            "steps": trainer.global_step,
            "training": [module.training for module in pl_module.modules()],
        }
        self.record.left = copy.deepcopy(left) | random_states()

    def _take_values(self, trainer: Any) -> None:
        for tag, value in trainer.callback_metrics.items():
            if tag.startswith("thermo/") and math.isfinite(float(value)):
                self.record.values[tag] = float(value)


class Stranger(Callback):
    """Draws one random number, as no callback should."""

    drawn = False

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step >= 5 and not self.drawn:
            self.drawn = True
            torch.rand(())


class _Notes(logging.Handler):
    def __init__(self, notes: list[str]) -> None:
        super().__init__(logging.INFO)
        self.notes = notes

    def emit(self, record: logging.LogRecord) -> None:
        self.notes.append(record.getMessage())


def random_states() -> dict[str, Any]:
    """Where the three streams of random numbers are."""
    return {"python": random.getstate(), "numpy": np.random.get_state(), "torch": torch.get_rng_state()}  # noqa: NPY002


def run(fit: Callable[..., None], folder: Path, *callbacks: Callback) -> Record:
    """Train somebody's project from one seed, in a folder of its own."""
    record = Record()
    options = {
        "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 1,
        "default_root_dir": str(folder), "logger": CSVLogger(folder),
    }  # fmt: skip
    random.seed(7)
    np.random.seed(7)  # noqa: NPY002  the global stream is the point
    torch.manual_seed(7)
    logger, notes = logging.getLogger("thermo_callbacks"), _Notes(record.noted)
    level = logger.level
    logger.addHandler(notes)
    logger.setLevel(logging.INFO)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            # what projects and the libraries under them warn of is no concern of ours
            fit([*callbacks, Witness(record)], options)
    finally:
        logger.removeHandler(notes)
        logger.setLevel(level)
    record.warned = [str(each.message) for each in caught if str(each.message).startswith(ThermoMonitor.__name__)]
    return record
