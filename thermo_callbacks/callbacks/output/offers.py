"""Values for callbacks that monitor: ModelCheckpoint, EarlyStopping and ReduceLROnPlateau read callback_metrics."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import Any

import torch

from thermo_callbacks.catalog import Scalars, quantity_of


def expected_values(tags: Iterable[str], families: Iterable[str] = (), layers: Collection[str] = ()) -> Scalars:
    """NaN for each tag that a monitor may log, so that no tag is missing before its first value.

    A monitored tag that is missing ends the run. Members of families are known before their first values only where
    they are layers.

    Args:
        tags: Tags of the whole run.
        families: Families with a tag for each member.
        layers: Layers that are watched.

    Returns:
        Tag to NaN.

    Example:
        >>> expected_values(["thermo/heat"], ["thermo_heat", "thermo_work_efficiency"], ["net.0"])
        {'thermo/heat': nan, 'thermo_heat/net.0': nan}
    """
    of_layers = [family for family in sorted(families) if quantity_of(family).member == "layer"]
    members = (f"{family}/{layer}" for family in of_layers for layer in layers)
    return dict.fromkeys((*sorted(tags), *members), math.nan)


def without_windows(values: Scalars) -> Scalars:
    """Values without those of windows, which are those of a time long past once windows are no longer read."""
    return {tag: value for tag, value in values.items() if quantity_of(tag).when != "window"}


def offer(trainer: Any, values: Scalars) -> None:
    """Let other callbacks monitor values as soon as they are logged, where there is one process.

    With several, they may differ from process to process, and so would what is decided by them: there they are offered
    when all processes come together, by :func:`offer_together`.
    """
    if trainer.world_size == 1:
        _put(trainer, values)


def offer_together(trainer: Any, values: Scalars) -> None:
    """Let other callbacks monitor values: with several processes, those of the first one in each.

    All processes must come here, also one in which something failed.
    """
    _put(trainer, trainer.strategy.broadcast(values) if trainer.world_size > 1 else values)


def offer_again(trainer: Any, values: Scalars) -> None:
    """Let other callbacks monitor values that were offered together before, in whatever processes come by."""
    _put(trainer, values)


def _put(trainer: Any, values: Scalars) -> None:
    # made at once: hundreds of tensors made one by one take as long as a small network's step
    numbers = torch.tensor(list(map(float, values.values()))).unbind()
    trainer.callback_metrics.update(zip(values, numbers, strict=True))
