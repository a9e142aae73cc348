"""Records of called activations: their numbers, on the host."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional.activations.efficiency import implied_init_gain
from thermo_callbacks.functional.activations.powers import (
    power_ratio,
    temperature_drop_of_variances,
    variance_from_sums,
)
from thermo_callbacks.functional.activations.signal import signal_ratio
from thermo_callbacks.functional.statistics import ratio_of_sums
from thermo_callbacks.probes.activations.calls import Call
from thermo_callbacks.probes.activations.engine_types import Verdict
from thermo_callbacks.probes.activations.sums import CallSums


class Powers(NamedTuple):
    """Sums of squares by replicate, groups of consecutive samples of the batch; float64 on the CPU, ``[K]``."""

    input: Tensor  # of the inputs z
    output: Tensor  # of the outputs a
    grad_input: Tensor | None  # of the gradients at z; None, like the next, where no backward pass came by
    grad_output: Tensor | None  # of the gradients at a


@dataclass(frozen=True)
class ActivationRecord:
    """One activation in one forward and backward pass. What has no value is NaN, or None.

    Attributes:
        name: Where it stands in the model.
        activation: Type of the activation, as in ``ReLU``.
        work_efficiency: See :func:`~thermo_callbacks.functional.work_efficiency`.
        learning_efficiency: See :func:`~thermo_callbacks.functional.learning_efficiency`; the gradient at z is what
            comes through this call.
        temperature_drop: See :func:`~thermo_callbacks.functional.temperature_drop`.
        dead_fraction: See :func:`~thermo_callbacks.functional.dead_unit_fraction`; units are channels.
        saturated_fraction: See :func:`~thermo_callbacks.functional.saturated_fraction`.
        implied_gain: See :func:`~thermo_callbacks.functional.implied_init_gain`.
        learning_signal: See :func:`~thermo_callbacks.functional.learning_signal`; relative to the last activation that
            a gradient reaches.
        engine: Type of engine of the function, see :func:`~thermo_callbacks.functional.engine_type`.
        engine_reason: Why ``engine`` is None.
        dead_reason: Why ``dead_fraction`` is NaN.
        powers: Sums by replicate, for means over several activations and their errors.
        ratios: Numerator and denominator of each value that is a ratio, by its name, for activations that are shown as
            one; that of the temperature drop is what it falls short of 1 by.
    """

    name: str
    activation: str
    work_efficiency: float
    learning_efficiency: float
    temperature_drop: float
    dead_fraction: float
    saturated_fraction: float
    implied_gain: float
    learning_signal: float
    engine: Literal["passive", "driven"] | None
    engine_reason: str | None
    dead_reason: str | None
    powers: Powers
    ratios: dict[str, tuple[float, float]]

    @property
    def carnot_bound(self) -> float:
        """Former name of ``temperature_drop``, which bounds nothing."""
        warnings.warn("carnot_bound is called temperature_drop now: it bounds nothing", DeprecationWarning, 2)
        return self.temperature_drop


def make_records(calls: Sequence[tuple[Call, Verdict]]) -> dict[str, ActivationRecord]:
    """Records of the finished calls by name; what depends on sums that aren't finite is NaN."""
    powers = [_powers(call.sums) for call, _ in calls]
    records = {}
    for (call, verdict), own, (values, ratios) in zip(calls, powers, _values(calls, powers), strict=True):
        work, learning, drop, dead, saturated, gain, signal = values
        records[call.name] = ActivationRecord(
            name=call.name,
            activation=call.activation,
            work_efficiency=work,
            learning_efficiency=learning,
            temperature_drop=drop,
            dead_fraction=dead,
            saturated_fraction=saturated,
            implied_gain=gain,
            learning_signal=signal,
            engine=verdict.engine,
            engine_reason=verdict.reason,
            dead_reason=_dead_reason(call, verdict) if math.isnan(dead) else None,
            powers=own,
            ratios=ratios,
        )
    return records


def _powers(sums: CallSums) -> Powers:
    if sums.output_power is None:
        raise ValueError("sums must hold the output of a call, got its input only: wait until the call has returned")
    arrived, sent = (None, None) if sums.gradient_power is None else sums.gradient_power
    return Powers(sums.input_power, sums.output_power, arrived, sent)


def _values(
    calls: Sequence[tuple[Call, Verdict]], powers: Sequence[Powers]
) -> Iterator[tuple[list[float], dict[str, tuple[float, float]]]]:
    """Values of each call in the order of a record, and the parts of its ratios."""
    heat, work, arrived, sent = (_column([own[side] for own in powers]) for side in range(4))
    sums = [call.sums for call, _ in calls]
    counts, units = (_column([getattr(own, name) for own in sums]) for name in ("elements", "units"))
    efficiency, learning = power_ratio(work, heat), power_ratio(arrived, sent)
    hot = variance_from_sums(heat, _column([own.input_sum for own in sums]), counts)
    cold = variance_from_sums(work, _column([own.output_sum for own in sums]), counts)
    dead, known = _sides([own.dead for own in sums])
    flat, reached = _sides([own.slopes for own in sums])
    reference = _last_signal(sent, units)
    columns = [
        efficiency,
        learning,
        temperature_drop_of_variances(hot, cold),
        torch.where(cold.isfinite(), ratio_of_sums(dead, known), torch.nan),
        torch.where(learning.isfinite(), ratio_of_sums(flat, reached), torch.nan),
        implied_init_gain(efficiency),
        signal_ratio(sent, reference, units),
    ]
    parts = {
        "work_efficiency": (work, heat),
        "learning_efficiency": (arrived, sent),
        "temperature_drop": (cold * counts, hot * counts),
        "dead_fraction": (dead, known),
        "saturated_fraction": (flat, reached),
        "learning_signal": (sent, units * reference),
    }
    pairs = (torch.stack(sides, 1).tolist() for sides in parts.values())
    for row, *ratios in zip(torch.stack(columns, 1).tolist(), *pairs, strict=True):
        yield row, {name: (top, bottom) for name, (top, bottom) in zip(parts, ratios, strict=True)}


def _last_signal(sent: Tensor, units: Tensor) -> Tensor:
    """Power of the gradient per unit at the last output that a gradient reaches; NaN if it reaches none."""
    reached = sent > 0.0
    return (sent / units)[reached][-1] if reached.any() else torch.tensor(math.nan, dtype=sent.dtype)


def _dead_reason(call: Call, verdict: Verdict) -> str:
    if call.sums.output_sum is None or not call.sums.output_sum.isfinite():
        return "its output was not finite"
    if verdict.flat is None:
        return verdict.flat_reason or "no gradient came that would tell where it is flat"
    return "one sample can't show whether a unit answers"


def _sides(pairs: Sequence[Tensor | None]) -> list[Tensor]:
    """Columns of the two numbers of each call."""
    return [_column([None if pair is None else pair[side] for pair in pairs]) for side in (0, 1)]


def _column(values: Sequence[Tensor | float | None]) -> Tensor:
    """Sums of tensors, numbers as they are, and NaN for None; one for each call."""
    numbers = [float(value.sum()) if isinstance(value, Tensor) else value for value in values]
    return torch.tensor([math.nan if number is None else number for number in numbers], dtype=torch.float64)
