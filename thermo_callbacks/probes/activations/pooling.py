"""Repeats of a call put together: sums add up, and a unit is dead if it is so in all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

import torch
from torch import Tensor

from thermo_callbacks.functional.activations.flat import Interval, joined, never_leaving
from thermo_callbacks.probes.activations.sums import CallSums


def count_dead(repeats: Sequence[CallSums], stretches: Sequence[Interval] | None) -> Tensor:
    """Units of repeated calls that never leave the flat part, and all that it is known of, ``[2]``, on the device."""
    # none is known where one sample can't show whether it answers, and where neither the function (None) nor gradients
    # tell where it is flat
    device = repeats[0].input_power.device
    known = [sums for sums in repeats if (sums.by_gradients and sums.answers is not None) or sums.extremes is not None]
    shapes: dict[int, list[CallSums]] = {}  # units of another number are not the same
    for sums in known:
        shapes.setdefault(sums.units, []).append(sums)
    counts = [_counts(same, stretches) for same in shapes.values() if sum(sums.samples for sums in same) > 1]
    return torch.stack(counts).sum(0) if counts else torch.zeros(2, dtype=torch.int64, device=device)


def pool(repeats: Sequence[CallSums]) -> CallSums:
    """Sums of repeated calls together, on the host."""
    first = repeats[0]
    if len(repeats) == 1:
        return first
    slopes = [sums.slopes for sums in repeats if sums.slopes is not None]
    outputs = [sums.output_sum for sums in repeats if sums.output_sum is not None]
    return replace(
        first,
        input_power=_together([sums.input_power for sums in repeats]),
        input_sum=torch.stack([sums.input_sum for sums in repeats]).sum(),
        elements=sum(sums.elements for sums in repeats),
        output_power=_together([sums.output_power for sums in repeats if sums.output_power is not None]),
        output_sum=torch.stack(outputs).sum() if outputs else None,
        gradient_power=_pooled_gradients(repeats),
        slopes=torch.stack(slopes).sum(0) if slopes else None,
    )


def _counts(repeats: Sequence[CallSums], stretches: Sequence[Interval] | None) -> Tensor:
    if repeats[0].by_gradients:
        answers = reduce(torch.logical_or, [sums.answers for sums in repeats if sums.answers is not None])
        reached, through = answers
        return torch.stack([(reached & ~through).sum(), reached.sum()])
    extremes = reduce(joined, [sums.extremes for sums in repeats if sums.extremes is not None])
    if stretches is None:
        return torch.zeros(2, dtype=torch.int64, device=extremes.device)
    dead = never_leaving(extremes, stretches)
    return torch.stack([dead.sum(), dead.new_full((), dead.numel(), dtype=torch.int64)])


def _together(powers: Sequence[Tensor]) -> Tensor:
    """Sums by replicate of several calls, over the last dimension."""
    # two views of one sample err together: where the numbers allow it, they are one replicate
    if len({power.shape for power in powers}) == 1:
        return torch.stack(list(powers)).sum(0)
    return torch.cat(list(powers), -1)


def _pooled_gradients(repeats: Sequence[CallSums]) -> Tensor | None:
    powers = [sums.gradient_power for sums in repeats if sums.gradient_power is not None]
    return _together(powers) if powers else None
