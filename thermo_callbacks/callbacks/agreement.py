"""What the processes of a run settle together: each of them takes part, also one in which something failed.

A process that stayed away would leave the others waiting for it for ever. So whatever may fail stands before such a
point, under a guard, and whether the point is reached depends on nothing but counted steps.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from thermo_callbacks.probes.guard import Guard
from thermo_callbacks.probes.sharding import sum_over_processes


def several_processes(trainer: Any) -> bool:
    """Whether a run has several processes that torch lets talk with each other."""
    distributed = torch.distributed
    return int(trainer.world_size) > 1 and distributed.is_available() and distributed.is_initialized()


def of_first_process(trainer: Any, value: Any) -> Any:
    """What the first process has, in all of them."""
    return trainer.strategy.broadcast(value) if several_processes(trainer) else value


def in_all_processes(trainer: Any, value: bool) -> bool:
    """Whether something holds in each of the processes."""
    return bool(trainer.strategy.reduce_boolean_decision(value, all=True)) if several_processes(trainer) else value


def samples_factor(trainer: Any) -> float:
    """Different batches per process, 1 for data parallelism alone."""
    # the processes of one tensor-parallel group see the same batch
    options = getattr(trainer.strategy, "distributed_sampler_kwargs", None) or {}
    batches, processes = int(options.get("num_replicas", trainer.world_size)), int(trainer.world_size)
    return batches / processes


def agree(guard: Guard, device: torch.device, size: int = 0) -> bool:
    """Go on in all processes or in none: the guard is switched off where another process has failed.

    Args:
        guard: Of what is to go on; switched off in a process where it failed.
        device: Where numbers are exchanged.
        size: Length of what is to be exchanged next, which must be the same in all processes.

    Returns:
        Whether all processes can go on.
    """
    failed = guard.disabled
    lengths = (-math.inf, -math.inf) if failed else (float(size), -float(size))
    told = torch.tensor([float(failed), *lengths], device=device)
    torch.distributed.all_reduce(told, torch.distributed.ReduceOp.MAX)
    any_failed, longest, shortest = told.tolist()
    if any_failed:
        reasons: list[Any] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(reasons, guard.reason)
        reason = next(each for each in reasons if each is not None)
        if not failed:
            guard.disable(f"it failed in another process ({reason})")
        return False
    if longest != -shortest:
        guard.disable(f"the processes have seen different things ({-shortest:.0f} numbers here, {longest:.0f} there)")
        return False
    return True


def mean_over_processes(trainer: Any, guard: Guard, columns: Tensor | None) -> Tensor | None:
    """Mean over the processes of columns on the CPU; None, and the guard switched off, where one of them has failed."""
    if not several_processes(trainer):
        return None if guard.disabled else columns
    device = trainer.strategy.root_device
    if not agree(guard, device, -1 if columns is None else columns.numel()) or columns is None:
        return None
    return sum_over_processes(columns, device) / torch.distributed.get_world_size()
