"""Train with a quiet Lightning, in one thread, and with a Ctrl-C that ends the training in order."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import warnings
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep remarks on hardware, loaders and products out of the output, and the monitor's on missing values."""
    # the tables say themselves why a value is missing
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


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute in one thread: for a small network, several wait for each other, long if the machine is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end the training and nothing else: Lightning exits the process, and leaves the signal switched off."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as end:
        if end.code != 1:  # some other signal: the process is to end
            raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)
