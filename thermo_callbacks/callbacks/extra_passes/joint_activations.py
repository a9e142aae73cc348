"""Activations of all processes of a run: what each has seen is exchanged at fixed points."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from thermo_callbacks.callbacks.agreement import agree
from thermo_callbacks.probes.activations.calls import Reading
from thermo_callbacks.probes.activations.joint import JointReading
from thermo_callbacks.probes.guard import Guard
from thermo_callbacks.probes.sharding import sum_over_processes


def join_processes(guard: Guard, device: torch.device, reading: Reading | None) -> None:
    """Put the sums of all processes into a reading; the guard is switched off where one of them has failed.

    Where the processes have called different activations the reading stays what this process has seen.
    """
    own: JointReading | None = None
    with guard.protect("looking at the activations of all processes"):
        own = None if reading is None else JointReading(reading)
    if not agree(guard, device) or own is None:
        return
    told: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(told, (own.signature, own.counts))
    if any(signature != own.signature for signature, _ in told):
        guard.warn_once(
            "the processes have called different activations: their values are those of the first process",
            topic="different activations",
        )
        return
    counts = [each for _, each in told]
    rows: list[Tensor] = []
    with guard.protect("adding up activations"):
        rows = [own.least(), own.total(counts, torch.distributed.get_rank())]
    if not agree(guard, device, sum(len(row) for row in rows)):
        return
    least = rows[0].to(device)
    torch.distributed.all_reduce(least, torch.distributed.ReduceOp.MIN)
    total = sum_over_processes(rows[1], device)
    with guard.protect("adding up the activations of all processes"):
        own.take(counts, least.cpu(), total)
