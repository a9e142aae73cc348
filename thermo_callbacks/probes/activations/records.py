"""Records of called activations: their numbers, on the host."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional.activations.efficiency import implied_init_gain
from thermo_callbacks.functional.activations.powers import carnot_bound_of_variances, power_ratio, variance_from_sums
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
    """One call of an activation in one forward and backward pass. What has no value is NaN, or None.

    Attributes:
        name: Where the call stands in the model.
        activation: Type of the activation, as in ``ReLU``.
        work_efficiency: See :func:`~thermo_callbacks.functional.work_efficiency`.
        learning_efficiency: See :func:`~thermo_callbacks.functional.learning_efficiency`; the gradient at z is what
            comes through this call.
        carnot_bound: See :func:`~thermo_callbacks.functional.carnot_bound`.
        dead_fraction: See :func:`~thermo_callbacks.functional.dead_fraction`; neurons are channels.
        saturated_fraction: See :func:`~thermo_callbacks.functional.saturated_fraction`.
        implied_gain: See :func:`~thermo_callbacks.functional.implied_init_gain`.
        engine: Type of engine of the function, see :func:`~thermo_callbacks.functional.engine_type`.
        engine_reason: Why ``engine`` is None.
        powers: Sums by replicate, for means over several activations and their errors.
        ratios: Numerator and denominator of each value that is a ratio, by its name, for activations that are shown as
            one; that of the Carnot bound is what it falls short of 1 by.
    """

    name: str
    activation: str
    work_efficiency: float
    learning_efficiency: float
    carnot_bound: float
    dead_fraction: float
    saturated_fraction: float
    implied_gain: float
    engine: Literal["passive", "driven"] | None
    engine_reason: str | None
    powers: Powers
    ratios: dict[str, tuple[float, float]]


def make_records(calls: Sequence[Call], verdicts: Sequence[Verdict]) -> dict[str, ActivationRecord]:
    """Records of the finished calls by name; what depends on sums that aren't finite is NaN."""
    powers = [_powers(call.sums) for call in calls]
    records = {}
    for call, verdict, own, (values, ratios) in zip(calls, verdicts, powers, _values(calls, powers), strict=True):
        work, learning, bound, dead, saturated, gain = values
        records[call.name] = ActivationRecord(
            name=call.name,
            activation=call.activation,
            work_efficiency=work,
            learning_efficiency=learning,
            carnot_bound=bound,
            dead_fraction=dead,
            saturated_fraction=saturated,
            implied_gain=gain,
            engine=verdict.engine,
            engine_reason=verdict.reason,
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
    calls: Sequence[Call], powers: Sequence[Powers]
) -> Iterator[tuple[list[float], dict[str, tuple[float, float]]]]:
    """Efficiencies, Carnot bound, dead and saturated fractions and implied gain of each call, and their parts."""
    heat, work, arrived, sent = (_column([own[side] for own in powers]) for side in range(4))
    sums = [call.sums for call in calls]
    counts = _column([call.shape.numel() for call in calls])
    efficiency, learning = power_ratio(work, heat), power_ratio(arrived, sent)
    hot = variance_from_sums(heat, _column([own.input_sum for own in sums]), counts)
    cold = variance_from_sums(work, _column([own.output_sum for own in sums]), counts)
    constant, neurons = _column([own.constant for own in sums]), _column([own.neurons for own in sums])
    dead = ratio_of_sums(constant, neurons)
    slopes = [(None, None) if own.slopes is None else own.slopes for own in sums]
    flat, reached = (_column([own[side] for own in slopes]) for side in (0, 1))
    saturated = ratio_of_sums(flat, reached)
    columns = [
        efficiency,
        learning,
        carnot_bound_of_variances(hot, cold),
        torch.where(cold.isfinite(), dead, torch.nan),
        torch.where(learning.isfinite(), saturated, torch.nan),
        implied_init_gain(efficiency),
    ]
    parts = {
        "work_efficiency": (work, heat),
        "learning_efficiency": (arrived, sent),
        "carnot_bound": (cold * counts, hot * counts),
        "dead_fraction": (constant, neurons),
        "saturated_fraction": (flat, reached),
    }
    pairs = (torch.stack(sides, 1).tolist() for sides in parts.values())
    for row, *ratios in zip(torch.stack(columns, 1).tolist(), *pairs, strict=True):
        yield row, {name: (top, bottom) for name, (top, bottom) in zip(parts, ratios, strict=True)}


def _column(values: Sequence[Tensor | float | None]) -> Tensor:
    """Sums of tensors, numbers as they are, and NaN for None; one for each call."""
    numbers = [float(value.sum()) if isinstance(value, Tensor) else value for value in values]
    return torch.tensor([math.nan if number is None else number for number in numbers], dtype=torch.float64)
