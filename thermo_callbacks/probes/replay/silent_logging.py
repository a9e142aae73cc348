"""Switch the logging of a module and its Trainer off for a while."""

from __future__ import annotations

from typing import Any

from torch import nn

from thermo_callbacks.probes.replay.isolation import Isolation

_METHODS = ("log", "log_dict", "print")


class SilentLogger:
    """Takes every call and writes nothing; passes for the logger that it replaces, and knows its name and folder."""

    def __init__(self, logger: Any = None) -> None:
        self._logger = logger

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self) if self._logger is None else type(self._logger)

    def __getattr__(self, name: str) -> Any:
        if self._logger is not None and name != "experiment":  # asking for it may create it
            value = getattr(self._logger, name)
            if not callable(value):
                return value
        return SilentLogger()

    def __call__(self, *_: Any, **__: Any) -> SilentLogger:
        """Take any call."""
        return SilentLogger()

    def __enter__(self) -> SilentLogger:
        return self

    def __exit__(self, *_: Any) -> None:
        """Nothing was opened."""


def silence_logging(pl_module: nn.Module, isolation: Isolation) -> None:
    """Have the module's logging do nothing, its Trainer's loggers too, until the isolation is restored."""
    for module in pl_module.modules():
        if callable(getattr(type(module), "log_dict", None)):  # modules of Lightning's kind, nested ones too
            for name in _METHODS:
                vars(module)[name] = _nothing
    trainer = vars(pl_module).get("_trainer")
    if trainer is not None and hasattr(trainer, "loggers"):
        isolation.keep_attributes(trainer)
        trainer.loggers = [SilentLogger(logger) for logger in trainer.loggers]


def _nothing(*_: Any, **__: Any) -> None:
    """Replaces a method that logs."""
