"""A small Trainer like the user's, and copies of what it trains with: the user's own are never touched."""

from __future__ import annotations

import copy
import gc
import importlib
import types
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

SHARED = 2**20
"""Bytes of data from which on tensors and arrays are shared with the original and not copied."""
_NO_DATA = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.FrameType, nn.Module)


def small_trainer(trainer: Any, callback: Any, steps: int) -> Any:
    """A Trainer for some steps with one callback, and precision, clipping and accumulation of another.

    Args:
        trainer: The other one, on one device.
        callback: The callback.
        steps: Most optimizer steps.

    Returns:
        A Trainer of the same namespace.
    """
    namespace = _namespace(trainer)
    device = trainer.strategy.root_device
    small = importlib.import_module(namespace).Trainer(
        accelerator=type(trainer.accelerator)(),
        devices=[device.index or 0] if device.type == "cuda" else 1,
        plugins=[copy.deepcopy(trainer.precision_plugin)],
        callbacks=[callback],
        max_steps=steps,
        max_epochs=-1,
        limit_train_batches=None if trainer.limit_train_batches == 1.0 else trainer.limit_train_batches,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        accumulate_grad_batches=trainer.accumulate_grad_batches,
        gradient_clip_val=trainer.gradient_clip_val,
        gradient_clip_algorithm=trainer.gradient_clip_algorithm,
        logger=False,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    if trainer.loggers:  # a module may write to its logger
        small.loggers = [importlib.import_module(f"{namespace}.loggers.logger").DummyLogger()]
    return small


def _namespace(trainer: Any) -> str:
    """Lightning's package that a Trainer, perhaps of a class of the user's, comes from."""
    kinds = (kind.__module__ for kind in type(trainer).__mro__ if kind.__name__ == "Trainer")
    return next(
        (
            name
            for module in kinds
            for name in ("lightning.pytorch", "pytorch_lightning")
            if module.startswith(f"{name}.")
        ),
        "lightning.pytorch",
    )


def copied(what: str, original: Any) -> Any:
    """A copy of a module, a loader or data, which shares nothing with the original but large arrays of data.

    Args:
        what: What to call it in an error.
        original: The original; None for None.

    Returns:
        The copy.

    Raises:
        ValueError: If it can't be copied.
    """
    if original is None:
        return None
    memo = {} if isinstance(original, nn.Module) else _large_data(original)
    try:
        return _loader(original, memo) if isinstance(original, DataLoader) else copy.deepcopy(original, memo)
    except Exception as fault:
        raise ValueError(
            f"{what} ({type(original).__name__}) can't be copied, so it could not be left as it is "
            f"({type(fault).__name__}: {fault}): give one that copy.deepcopy takes"
        ) from fault


def _loader(loader: DataLoader[Any], memo: dict[int, Any]) -> DataLoader[Any]:
    """A loader with its own sampler, generator and data, and without the workers that may run."""
    twin = copy.copy(loader)
    for name, value in vars(loader).items():  # past __setattr__, which refuses a new sampler
        vars(twin)[name] = None if name == "_iterator" else copy.deepcopy(value, memo)
    return twin


def _large_data(root: Any) -> dict[int, Any]:
    """Large tensors and arrays that can be reached from an object, as a memo of ``copy.deepcopy`` that shares them."""
    found: dict[int, Any] = {}
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, _NO_DATA):
            continue
        seen.add(id(each))
        if isinstance(each, Tensor | np.ndarray):
            if each.nbytes >= SHARED:
                found[id(each)] = each
        else:
            waiting += gc.get_referents(each)
    return found


def on_one_device(trainer: Any) -> bool:
    """Whether a Trainer runs in one process."""
    return int(trainer.world_size) == 1 and isinstance(trainer.strategy.root_device, torch.device)
