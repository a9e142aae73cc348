"""What a training step can reach of its run through the Trainer: optimizers, schedulers, the data, callbacks."""

from __future__ import annotations

from typing import Any

from torch import nn

from thermo_callbacks.probes.replay.isolation import Isolation

SMALL = 64
"""Bytes of a tensor that is copied: a learning rate or a counter, and no data."""


def protect_run(pl_module: nn.Module, isolation: Isolation) -> None:
    """Have optimizers, schedulers, data modules, data sets and the user's callbacks put back."""
    trainer: Any = vars(pl_module).get("_trainer")
    strategy = getattr(trainer, "strategy", None)
    if strategy is None:
        return
    isolation.keep_attributes(strategy)
    for optimizer in strategy.optimizers:
        isolation.replace(optimizer, type(optimizer).__name__)
    for config in strategy.lr_scheduler_configs:
        isolation.replace(config.scheduler, type(config.scheduler).__name__, largest=SMALL)
    isolation.replace(list(trainer.callbacks), "a callback", largest=SMALL)
    isolation.replace(trainer.datamodule, "the data module", largest=SMALL)
    isolation.replace(trainer.train_dataloader, "the data loader", largest=SMALL)
