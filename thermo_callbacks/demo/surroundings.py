"""What the demo's training goes on in: a quiet Lightning, a short progress bar, and a Ctrl-C that ends it in order."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import ProcessingSpeedColumn, RichProgressBarTheme


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep remarks on hardware, loaders and products out of the demo's output, and the monitor's on missing values.

    The table says itself why a value is missing. Levels and filters are as before once the block is left.

    Yields:
        Nothing.
    """
    # whichever namespace was imported last writes the remarks of both
    namespaces = ("lightning.pytorch", "lightning.fabric", "pytorch_lightning", "lightning_fabric")
    loggers = [logging.getLogger(name) for name in namespaces]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers")
            warnings.filterwarnings("ignore", message=".*NaN")
            warnings.filterwarnings("ignore", message="GPU available but not used")
            for category in (DeprecationWarning, FutureWarning):  # they speak to those who write programs
                warnings.filterwarnings("ignore", category=category)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class Progress(RichProgressBar):
    """Lightning's bar, short enough for 80 columns: loss and accuracy beside it, no speed and no run's number."""

    def __init__(self) -> None:
        super().__init__(theme=RichProgressBarTheme(metrics_format=".2f"))

    def configure_columns(self, trainer: Trainer) -> list[Any]:
        """Lightning's columns but one."""
        return [
            column for column in super().configure_columns(trainer) if not isinstance(column, ProcessingSpeedColumn)
        ]

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Loss of the last batch, and accuracy of the last validation."""
        names = {"train_loss": "loss", "val_accuracy": "acc"}
        metrics = super().get_metrics(trainer, pl_module)
        return {short: metrics[name] for name, short in names.items() if name in metrics}


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute in one thread: for so small a network more only wait for each other, long if the machine is busy.

    Yields:
        Nothing.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end the training and nothing else: Lightning exits the process, and leaves the signal switched off.

    Yields:
        Nothing.

    Raises:
        SystemExit: If the process is to end for another reason.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as end:
        if end.code != 1:  # some other signal: the process is to end
            raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)
