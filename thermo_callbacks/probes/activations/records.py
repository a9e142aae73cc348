"""What is known of a called activation, in numbers on the host."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional.activations.efficiency import implied_init_gain
from thermo_callbacks.functional.statistics import RatioSums, ratio_of_sums, ratio_stderr
from thermo_callbacks.probes.activations.engine_types import Verdict
from thermo_callbacks.probes.activations.sums import CallSums

ROUNDING = 1e-13  # of the mean square: what is left of a constant's variance


class Powers(NamedTuple):
    """Sums of squares by replicate, groups of consecutive samples of the batch; float64 on the CPU, ``[K]``.

    Attributes:
        input: Of the inputs z.
        output: Of the outputs a.
        grad_input: Of the gradients at z; None, like the next, where no backward pass came by.
        grad_output: Of the gradients at a.
    """

    input: Tensor
    output: Tensor
    grad_input: Tensor | None
    grad_output: Tensor | None


@dataclass(frozen=True)
class ActivationRecord:
    """One call of an activation in one forward and backward pass. What has no value is NaN, or None.

    Attributes:
        name: Where the call stands in the model.
        activation: Type of the activation, as in ``ReLU``.
        count: Number of elements.
        mean_square_input: Mean square of the input z.
        mean_square_output: Mean square of the output a.
        work_efficiency: See :func:`~thermo_callbacks.functional.work_efficiency`.
        work_efficiency_stderr: Its standard error, samples being the replicates.
        learning_efficiency: See :func:`~thermo_callbacks.functional.learning_efficiency`; the gradient at z is what
            comes through this call.
        learning_efficiency_stderr: Its standard error.
        temperature_hot: Variance of z over all elements.
        temperature_cold: Variance of a.
        carnot_bound: See :func:`~thermo_callbacks.functional.carnot_bound`.
        dead_fraction: See :func:`~thermo_callbacks.functional.dead_fraction`; neurons are channels.
        saturated_fraction: See :func:`~thermo_callbacks.functional.saturated_fraction`.
        implied_gain: See :func:`~thermo_callbacks.functional.implied_init_gain`.
        engine_measured: ``"driven"`` if more came out than went in, else ``"passive"``.
        engine: Type of engine of the function, see :func:`~thermo_callbacks.functional.engine_type`.
        engine_reason: Why ``engine`` is None.
        powers: Sums by replicate, for the metrics.
    """

    name: str
    activation: str
    count: int
    mean_square_input: float
    mean_square_output: float
    work_efficiency: float
    work_efficiency_stderr: float
    learning_efficiency: float
    learning_efficiency_stderr: float
    temperature_hot: float
    temperature_cold: float
    carnot_bound: float
    dead_fraction: float
    saturated_fraction: float
    implied_gain: float
    engine_measured: Literal["passive", "driven"] | None
    engine: Literal["passive", "driven"] | None
    engine_reason: str | None
    powers: Powers


def make_record(name: str, activation: str, count: int, sums: CallSums, verdict: Verdict) -> ActivationRecord:
    """Compute a record.

    Args:
        name: Where the call stands in the model.
        activation: Type of the activation.
        count: Number of elements.
        sums: Sums of the call, on the host.
        verdict: Type of engine of the function.

    Returns:
        The record. Sums that aren't finite make everything that depends on them NaN.

    Raises:
        ValueError: If the sums of the output are missing.
    """
    if sums.output_power is None or sums.output_sum is None or sums.constant is None:
        raise ValueError(f"sums must hold the output of {name}, got its input only: wait until the call has returned")
    work, work_stderr = _ratio(sums.output_power, sums.input_power)
    arrived, sent = (None, None) if sums.gradient_power is None else sums.gradient_power
    learning, learning_stderr = _ratio(arrived, sent)
    saturated, reached = (0.0, 0.0) if sums.slopes is None else sums.slopes.tolist()
    hot_square, hot = _moments(sums.input_power, sums.input_sum, count)
    cold_square, cold = _moments(sums.output_power, sums.output_sum, count)
    known = not math.isnan(work)
    return ActivationRecord(
        name=name,
        activation=activation,
        count=count,
        mean_square_input=hot_square,
        mean_square_output=cold_square,
        work_efficiency=work,
        work_efficiency_stderr=work_stderr,
        learning_efficiency=learning,
        learning_efficiency_stderr=learning_stderr,
        temperature_hot=hot,
        temperature_cold=cold,
        carnot_bound=1.0 - cold / hot if hot > 0.0 else math.nan,
        dead_fraction=sums.constant.item() / sums.neurons if sums.neurons and math.isfinite(cold) else math.nan,
        saturated_fraction=saturated / reached if reached and math.isfinite(learning) else math.nan,
        implied_gain=implied_init_gain(torch.tensor(work, dtype=torch.float64)).item(),
        engine_measured=("driven" if work > 1.0 else "passive") if known else None,
        engine=verdict.engine,
        engine_reason=verdict.reason,
        powers=Powers(sums.input_power, sums.output_power, arrived, sent),
    )


def _ratio(numerator: Tensor | None, denominator: Tensor | None) -> tuple[float, float]:
    """Ratio of sums over replicates and its standard error."""
    if numerator is None or denominator is None:
        return math.nan, math.nan
    total, base = numerator.sum(), denominator.sum()
    if not (total.isfinite() and base.isfinite()):
        return math.nan, math.nan
    sums = RatioSums(
        numerator=total,
        denominator=base,
        numerator_square=numerator.square().sum(),
        denominator_square=denominator.square().sum(),
        product=(numerator * denominator).sum(),
        batches=torch.tensor(float(len(numerator)), dtype=torch.float64),
    )
    return ratio_of_sums(total, base).item(), ratio_stderr(sums).item()


def _moments(power: Tensor, total: Tensor, count: int) -> tuple[float, float]:
    """Mean square and variance; NaN if an element isn't finite."""
    mean_square = power.sum().item() / count
    if not math.isfinite(mean_square):
        return math.nan, math.nan
    variance = mean_square - (total.item() / count) ** 2
    return mean_square, variance if variance > ROUNDING * mean_square else 0.0
