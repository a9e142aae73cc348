"""Activations of several processes put together: sums over the samples of all, as one process would have them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from thermo_callbacks.probes.activations.calls import Reading
from thermo_callbacks.probes.activations.sums import REPLICATES, CallSums

_SIGNS = (1.0, -1.0, -1.0, 1.0)  # the least of the least input, the greatest of the greatest, and so on


class JointReading:
    """What one process brings to a reading of all, and what it makes of the sums of all.

    Attributes:
        signature: What has to be the same in all processes: calls, units, and what is known of each.
        counts: Replicates of each activation in this process.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self.counts = [len(call.sums.input_power) for call in reading.pooled]
        self.signature = [
            *((call.name, call.activation, call.sums.gradient_power is None) for call in reading.pooled),
            *(_known(call.sums) for call in reading.calls),
        ]

    def least(self) -> Tensor:
        """Extremes or answers of all units in one row, float64, of which the least over the processes is wanted."""
        return torch.cat([torch.zeros(0, dtype=torch.float64), *(_units(call.sums) for call in self._reading.calls)])

    def total(self, counts: Sequence[Sequence[int]], rank: int) -> Tensor:
        """Sums in one row, float64, of which the total over the processes is wanted; ``counts`` are those of all."""
        parts = [torch.zeros(0, dtype=torch.float64)]
        for place, call in enumerate(self._reading.pooled):
            sums, (group, starts) = call.sums, _slots([each[place] for each in counts])
            for powers in _powers(sums):
                row = torch.zeros(starts[-1], dtype=torch.float64)
                row[starts[rank] : starts[rank + 1]] = pad(powers, (0, -len(powers) % group)).view(-1, group).sum(1)
                parts.append(row)
            parts += [part.double().reshape(-1) for part in _scalars(sums)]
        return torch.cat(parts)

    def take(self, counts: Sequence[Sequence[int]], least: Tensor, total: Tensor) -> None:
        """Go on with the values of all processes."""
        rest = least
        for call in self._reading.calls:
            rest = _take_units(call.sums, rest, len(counts))
        rest = total
        for place, call in enumerate(self._reading.pooled):
            length = _slots([each[place] for each in counts])[1][-1]
            sides = len(list(_powers(call.sums)))
            rows, rest = rest[: sides * length].view(sides, length), rest[sides * length :]
            numbers = len(torch.cat([part.reshape(-1) for part in _scalars(call.sums)]))
            values, rest = rest[:numbers], rest[numbers:]
            call.sums = _joined(call.sums, rows, values)


def _slots(counts: Sequence[int]) -> tuple[int, list[int]]:
    """Replicates that are put together into one, and where those of each process start, with the end of all."""
    group = max(1, -(-sum(counts) // REPLICATES))
    starts = [0]
    for count in counts:
        starts.append(starts[-1] - (-count // group))
    return group, starts


def _known(sums: CallSums) -> tuple[object, ...]:
    return sums.units, sums.by_gradients, sums.extremes is None, sums.answers is None, sums.slopes is None


def _powers(sums: CallSums) -> Iterator[Tensor]:
    yield sums.input_power
    if sums.output_power is not None:
        yield sums.output_power
    if sums.gradient_power is not None:
        yield from sums.gradient_power


def _scalars(sums: CallSums) -> list[Tensor]:
    known = [sums.input_sum, torch.tensor(sums.elements), sums.output_sum, sums.slopes]
    return [part for part in known if part is not None]


def _joined(sums: CallSums, rows: Tensor, values: Tensor) -> CallSums:
    return replace(
        sums,
        input_power=rows[0],
        output_power=rows[1],
        gradient_power=None if sums.gradient_power is None else rows[2:],
        input_sum=values[0],
        elements=int(values[1]),
        output_sum=values[2],
        slopes=None if sums.slopes is None else values[3:],
    )


def _units(sums: CallSums) -> Tensor:
    if sums.by_gradients and sums.answers is not None:
        return -sums.answers.cpu().double().flatten()
    if sums.extremes is None:
        return torch.zeros(0, dtype=torch.float64)
    # NaN lies nowhere, and is lost among the least: units that saw one have no value in any process
    extremes = sums.extremes.cpu().double()
    extremes = torch.where(extremes.isnan().any(0), -torch.inf * extremes.new_tensor(_SIGNS)[:, None], extremes)
    return (extremes * extremes.new_tensor(_SIGNS)[:, None]).flatten()


def _take_units(sums: CallSums, row: Tensor, processes: int) -> Tensor:
    """Give a call the units of all processes, which come first in the row, and give back the rest of it."""
    sums.samples *= processes
    own = len(_units(sums))
    part, rest = row[:own], row[own:]
    if sums.by_gradients and sums.answers is not None:
        sums.answers = (part.view(2, -1) < 0.0).to(sums.answers.device)
    elif sums.extremes is not None:
        sums.extremes = (part.view(4, -1) * part.new_tensor(_SIGNS)[:, None]).to(sums.extremes)
    return rest
