"""Train with a quiet Lightning, in one thread, and with a Ctrl-C that ends the training in order."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from types import FrameType

import torch

from thermo_callbacks.callbacks.lightning_names import SIGTERMException

TERMINATED = 128 + signal.SIGTERM
"""The shell's exit status of a program ended by SIGTERM."""


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
    """Let Ctrl-C end the training and nothing else, and SIGTERM end the process with a status that says so.

    At Ctrl-C Lightning exits the process, and leaves the signal switched off. At SIGTERM it exits with status 0, as if
    all had been trained, or goes on if the signal comes after its last look. A handler of
    one's own for SIGTERM is left in its place.

    Raises:
        SystemExit: At SIGTERM, with the status that shells give.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread and handlers[signal.SIGTERM] is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except SIGTERMException as end:
        raise SystemExit(TERMINATED) from end
    except SystemExit as end:
        if end.code != 1:  # some other signal: the process is to end
            raise
    finally:
        if in_main_thread:
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _terminate(_: int, __: FrameType | None) -> None:
    raise SystemExit(TERMINATED)
