"""What the processes of a run do together at an extra pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def mean_over_processes(trainer: Any, columns: Tensor, *, failed: bool) -> tuple[Tensor, bool]:
    """Mean over the processes, and whether one of them failed; each must call this, also one that did."""
    if trainer.world_size == 1:
        return columns, failed
    strategy = trainer.strategy
    packed = torch.cat([columns.flatten(), columns.new_full((1,), float(failed))]).to(strategy.root_device)
    packed = strategy.reduce(packed, reduce_op="mean").cpu()
    return packed[:-1].view_as(columns), bool(packed[-1] > 0)
