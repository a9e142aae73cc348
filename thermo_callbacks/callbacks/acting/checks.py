"""Arguments of the callbacks that act, refused before training where they are out of their range."""

from __future__ import annotations

import sys
from typing import Any

from thermo_callbacks.functional.repeated_stationarity import EquilibriumCriteria
from thermo_callbacks.probes.parameters.stated import parameters_of


def check_criteria(criteria: EquilibriumCriteria) -> None:
    """Refuse criteria that are out of their range."""
    if not _is_number(criteria.level) or not 0.0 < criteria.level < 0.5:
        raise ValueError(f"level must lie between 0 and 0.5 (for example 0.05), got {criteria.level!r}")
    for name in ("tolerance", "loss_tolerance"):
        check_number(name, getattr(criteria, name), "a positive number")


def check_number(name: str, value: Any, meaning: str, *, none: bool = False) -> None:
    """Refuse what is no positive finite number."""
    if none and value is None:
        return
    if not _is_number(value) or not 0.0 < value <= sys.float_info.max:
        raise ValueError(f"{name} must be {meaning}, got {value!r}")


def check_plan(factor: Any, warmup_steps: Any, cooldown: Any, grow: Any) -> None:
    """Refuse a plan of a learning rate that can't be followed."""
    if not _is_number(factor) or not 0.0 < factor < 1.0:
        raise ValueError(f"factor must lie between 0 and 1 (for example 0.1), got {factor!r}")
    if not isinstance(warmup_steps, int) or isinstance(warmup_steps, bool) or warmup_steps < 0:
        raise ValueError(f"warmup_steps must be a whole number of at least 0, got {warmup_steps!r}")
    if not _is_number(cooldown) or not 0.0 <= cooldown < 1.0:
        raise ValueError(
            f"cooldown must be a share of the run, at least 0 and below 1 (for example 0.2), got {cooldown!r}"
        )
    if not isinstance(grow, bool):
        raise ValueError(f"grow must be True or False, got {grow!r}")
    if grow and warmup_steps:
        raise ValueError(
            f"grow is a warm-up that ends by measurement: leave out warmup_steps={warmup_steps}, or grow=True"
        )


def check_no_scheduler(trainer: Any) -> None:
    """Refuse a learning-rate scheduler of the user's on an optimizer of the Trainer's."""
    own = {id(parameter) for optimizer in trainer.optimizers for parameter in parameters_of(optimizer)}
    for config in trainer.lr_scheduler_configs:
        optimizer = getattr(config.scheduler, "optimizer", None)
        if optimizer is None or not own.isdisjoint(map(id, parameters_of(optimizer))):
            raise ValueError(
                f"EquilibriumScheduler and {type(config.scheduler).__name__} from configure_optimizers() would "
                "both set the learning rate of one optimizer: return the optimizer alone. For a warm-up give "
                "EquilibriumScheduler(warmup_steps=...) or (grow=True)"
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
