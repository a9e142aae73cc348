"""Type of numbers that a training step makes tensors of, in a replay as in training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from thermo_callbacks.probes.replay.stand_ins import is_narrow


@contextlib.contextmanager
def default_precision(pl_module: nn.Module) -> Iterator[None]:
    """Make tensors of the numbers that the Trainer's precision asks for, in single precision at least."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(_asked_for(pl_module))
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _asked_for(pl_module: nn.Module) -> torch.dtype:
    # the context also switches autocast on, or a backend's own arithmetic: a replay takes no more of it than this
    plugin: Any = getattr(vars(pl_module).get("_trainer"), "precision_plugin", None)
    if plugin is None:
        return torch.get_default_dtype()
    with plugin.forward_context():
        asked = torch.get_default_dtype()
    return torch.float32 if is_narrow(asked) else asked
