"""Description of all that a run depends on, to compare with that of an earlier run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from thermo_callbacks.callbacks.lightning_names import CombinedLoader, LightningDataModule, LightningModule

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_DEEPEST = 4


def describe(value: Any, depth: int = 0) -> str:
    """Describe a value by a text that is the same for equal settings in every process.

    Args:
        value: Numbers and texts are written out; containers and the public attributes of objects are gone into, four
            levels deep.
        depth: Level that this value is on.

    Returns:
        The text.

    Example:
        >>> describe({"b": 1, "a": (nn.ReLU, None)})
        "{'a': (torch.nn.modules.activation.ReLU, None), 'b': 1}"
    """
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        return repr(value)
    if isinstance(value, type) or hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, torch.Tensor):
        return f"{value.dtype}{list(value.shape)} {_size(value)}"
    if isinstance(value, (nn.Module, torch.optim.Optimizer, torch.dtype, torch.device)):
        return _ADDRESS.sub("", repr(value))
    if depth >= _DEEPEST:
        return type(value).__qualname__
    if isinstance(value, Mapping):
        parts = sorted(f"{describe(key, depth + 1)}: {describe(each, depth + 1)}" for key, each in value.items())
        return "{" + ", ".join(parts) + "}"
    if isinstance(value, (list, tuple)):
        return "(" + ", ".join(describe(each, depth + 1) for each in value) + ")"
    if isinstance(value, (set, frozenset)):
        return "{" + ", ".join(sorted(describe(each, depth + 1) for each in value)) + "}"
    public = {name: each for name, each in getattr(value, "__dict__", {}).items() if not name.startswith("_")}
    return f"{type(value).__qualname__}{describe(public, depth + 1)}"


def _size(tensor: torch.Tensor) -> str:
    """Mean magnitude to five digits: not more, since another machine may round another way."""
    return f"{tensor.detach().double().abs().mean().item():.5g}" if tensor.numel() else "empty"


def describe_module(module: LightningModule) -> dict[str, str]:
    """Describe structure, initial weights, hyperparameters and optimizer of a module that was just built, by topic."""
    state = [
        f"{name} {'lazy' if is_lazy(tensor) else _size(tensor)}"
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]
    ]
    try:
        optimizer = describe(module.configure_optimizers())
    except Exception as fault:  # some ask for the Trainer, which is not there yet
        optimizer = f"unknown ({type(fault).__name__})"
    return {
        "module": _ADDRESS.sub("", repr(module)),
        "initial weights": ", ".join(state),
        "hyperparameters": describe(dict(module.hparams_initial)),
        "optimizer": optimizer,
    }


def describe_data(data: Any) -> str:
    """Describe the data of a run: sizes and settings, and the mean magnitude of data held in memory."""
    if isinstance(data, LightningDataModule):
        public = {
            name: each
            for name, each in vars(data).items()
            if not name.startswith("_") and isinstance(each, (bool, int, float, str, tuple))
        }
        return describe({"kind": type(data), "attributes": public, "hyperparameters": dict(data.hparams_initial)})
    return ", ".join(_describe_loader(loader) for part in data for loader in CombinedLoader(part, "min_size").flattened)


def _describe_loader(loader: Any) -> str:
    dataset: Any = getattr(loader, "dataset", None)
    sampler = getattr(loader, "sampler", None)
    length = len(dataset) if hasattr(dataset, "__len__") else "unknown"
    names = ("batch_size", "drop_last")
    return describe(
        {
            "kind": type(loader),
            "dataset": type(dataset),
            "length": length,
            "sampler": type(sampler),
            "tensors": getattr(dataset, "tensors", None),
            **{name: getattr(loader, name, None) for name in names},
        }
    )
