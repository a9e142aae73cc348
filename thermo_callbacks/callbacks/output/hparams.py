"""Final values of a run beside its hyperparameters, in TensorBoard's table of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from thermo_callbacks.callbacks.compat import logging_step
from thermo_callbacks.callbacks.output.loggers import logger_output
from thermo_callbacks.callbacks.presets import Plan
from thermo_callbacks.display import tensorboard_writers
from thermo_callbacks.display.tensorboard.hparams import FINAL_VALUES, write_columns
from thermo_callbacks.probes.guard import Guard

_DEFAULT_METRIC = "hp_metric"  # the column that Lightning makes where nothing else is asked of it


def announce_final_values(trainer: Any, pl_module: Any, plans: Iterable[Plan]) -> None:
    """Ask for the columns, right before Lightning logs the hyperparameters: TensorBoard keeps to the first who asks."""
    # only where Lightning is about to ask for its own, which are among them: so nobody loses a column
    with _guard(trainer).protect("announcing its columns"):
        hyperparameters = _saved(trainer, pl_module)
        if hyperparameters is None:
            return
        expected = {tag for plan in plans for tag in plan.tags}
        tags = [tag for tag in FINAL_VALUES if tag in expected]
        _write(trainer, tags, hyperparameters, (_DEFAULT_METRIC,))


def conclude_final_values(trainer: Any, pl_module: Any, logged: Collection[str]) -> None:
    """Give a run its row and columns where Lightning logged no hyperparameters."""
    # what was logged by hand stands first
    with _guard(trainer).protect("writing its row"):
        if _saved(trainer, pl_module) is not None:
            return
        tags = [tag for tag in FINAL_VALUES if tag in logged]
        if tags:
            _write(trainer, tags)


def _write(trainer: Any, *columns: Any) -> None:
    wanted = _with_default_metric(trainer)

    def write(logger: Any) -> bool:
        if logger in wanted:
            write_columns(tensorboard_writers([logger]), *columns)
        return logger in wanted

    logger_output(trainer).each(trainer, logging_step(trainer), write)


def _guard(trainer: Any) -> Guard:
    """Of its own: a fault here costs the table its columns, and none of the measurements."""
    guard = Guard("The table of final values", told=logger_output(trainer).told)
    guard.quiet = not trainer.is_global_zero
    return guard


def _with_default_metric(trainer: Any) -> list[Any]:
    """TensorBoard loggers whose table is left to Lightning; who turns its metric off fills the table by hand."""
    if not getattr(trainer, "enable_autolog_hparams", True):
        return []
    return [logger for logger in trainer.loggers if getattr(logger, "_default_hp_metric", None) is True]


def _saved(trainer: Any, pl_module: Any) -> dict[str, Any] | None:
    """Hyperparameters that Lightning logs when a fit starts, flat and plain as it logs them; None if it logs none."""
    owners = [owner for owner in (pl_module, trainer.datamodule) if getattr(owner, "_log_hyperparams", False)]
    if not owners:
        return None
    merged = {name: value for owner in owners for name, value in owner.hparams_initial.items()}
    merged.pop("_class_path", None)  # the command line's own, which Lightning doesn't log
    # here, since they are private to Lightning: where they are gone, the table misses columns and no run is stopped
    from thermo_callbacks.callbacks.lightning_names import logger_utilities

    plain = logger_utilities._sanitize_params(logger_utilities._flatten_dict(merged))
    # a matrix is logged as text
    return {name: str(value) if getattr(value, "ndim", 0) > 1 else value for name, value in plain.items()}
