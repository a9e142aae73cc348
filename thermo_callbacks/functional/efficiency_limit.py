"""The learning rate at which step efficiency goes below a line, from steps at rates that rise."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional.statistics import Estimate
from thermo_callbacks.functional.step_balance import step_efficiency

POOLED = 5
"""Neighbouring steps behind each value of the efficiency."""
POOLED_TRANSFER = 15
"""Neighbouring steps behind each value of the transfer, which scatters more: the next batch has noise of its own."""
_STAYS = 3  # values in a row below the line: a single one is chance


class EfficiencyLimit(NamedTuple):
    """Where step efficiency goes below a line.

    Attributes:
        value: The rate there; NaN if it does not, or lies below from the start.
        lower: Lower end of the interval; the first rate that was measured where even that is not clearly above.
        upper: Upper end; infinite where no rate lies clearly below.
    """

    value: float
    lower: float
    upper: float


def pooled_efficiency(work: Tensor, heat: Tensor, pooled: int = POOLED) -> Estimate:
    """Step efficiency of neighbouring steps, ratio of sums with its error; of work on other batches, the transfer.

    Args:
        work: Real changes of the loss, shape ``[K]``.
        heat: First-order changes, shape ``[K]``.
        pooled: How many steps P make up a value.

    Returns:
        Estimates of shape ``[K - P + 1]``.
    """
    pools = [step_efficiency(*pool) for pool in zip(work.unfold(0, pooled, 1), heat.unfold(0, pooled, 1), strict=True)]
    return Estimate(*(torch.stack(parts) for parts in zip(*pools, strict=True)))


def pooled_rates(rates: Tensor, heat: Tensor, pooled: int = POOLED) -> Tensor:
    """Geometric mean of the rates behind each value of :func:`pooled_efficiency`, each weighted by its heat."""
    heat = heat.unfold(0, pooled, 1)
    return ((rates.log().unfold(0, pooled, 1) * heat).sum(-1) / heat.sum(-1)).exp()


def efficiency_limit(
    rates: Tensor, work: Tensor, heat: Tensor, *, line: float = 0.9, pooled: int = POOLED, level: float = 0.95
) -> EfficiencyLimit:
    r"""Learning rate at which step efficiency goes below a line, from single steps at rates that rise.

    .. math:: \varepsilon(\eta) = \frac{\sum_k W_k}{\sum_k Q_k} \text{ of neighbouring steps}, \qquad
              \varepsilon(\eta^*) = \varepsilon_0

    To second order :math:`1 - \varepsilon` is proportional to the rate, so that the efficiency stays near 1 over
    decades of rates and falls within one. The crossing is where it stays below the line for three values, behind a
    place where it was clearly above for three: at the lowest rates the changes of a loss may drown in rounding. Between
    the values it is interpolated in the logarithm of the rate. The interval's ends are where the efficiency's own
    interval begins to hold the line, and where it has left it. Momentum answers late to a rate that rises: the crossing
    is found a little late rather than early. With the work on other batches than the step's own, and a line of 0, it is
    the rate from which on steps follow the noise of their batches further than the descent reaches.

    Args:
        rates: Learning rate of each measured step, rising, shape ``[K]``.
        work: What each did to the loss of its own batch, shape ``[K]``.
        heat: What each promised to first order, shape ``[K]``.
        line: Efficiency that is looked for.
        pooled: Neighbouring steps that make up a value, at least 2.
        level: Of the interval.

    Returns:
        The rate with its interval, in the unit of ``rates``.

    Raises:
        ValueError: If shapes differ, there are less than two steps more than are pooled, fewer than 2 are, or rates do
            not rise.

    Example:
        >>> import torch
        >>> rates = torch.logspace(-3, 1, 101, dtype=torch.float64)  # loss q^2 / 2: the efficiency is 1 - rate / 2
        >>> found = efficiency_limit(rates, -rates * (1 - rates / 2), -rates)
        >>> round(found.value, 2)
        0.2
    """
    if rates.ndim != 1 or rates.shape != work.shape or rates.shape != heat.shape or len(rates) < pooled + _STAYS - 1:
        raise ValueError(
            f"rates, work and heat must have one shape [K] with at least {pooled + _STAYS - 1} steps, got "
            f"{tuple(rates.shape)}, {tuple(work.shape)} and {tuple(heat.shape)}"
        )
    if pooled < 2:
        raise ValueError(f"pooled must be at least 2, got {pooled}: the scatter of fewer steps has no error")
    if not bool((rates.diff() > 0.0).all()):
        raise ValueError("rates must rise from step to step: sort the steps by their rate")
    efficiency, places = pooled_efficiency(work, heat, pooled), pooled_rates(rates, heat, pooled)
    below, above = efficiency.interval(level)
    begin = first_above(below, line)
    if begin is None:
        return EfficiencyLimit(math.nan, math.nan, math.nan)
    value, lower, upper = (_crossing(each[begin:], places[begin:], line) for each in (efficiency.value, below, above))
    if math.isnan(value):
        return EfficiencyLimit(math.nan, math.nan, math.nan)
    return EfficiencyLimit(value, value if math.isnan(lower) else lower, math.inf if math.isnan(upper) else upper)


def first_above(below: Tensor, line: float) -> int | None:
    """Place from which on the lower ends of some values lie above the line, for three in a row; None if nowhere."""
    clear = (below > line).unfold(0, _STAYS, 1).all(-1)
    return int(clear.to(torch.int8).argmax()) if bool(clear.any()) else None


def _crossing(values: Tensor, rates: Tensor, line: float) -> float:
    """Rate at which values go below the line and stay there; NaN if they never do, or never were above."""
    stays = (values < line).unfold(0, _STAYS, 1).all(-1)
    if not bool(stays.any()):
        return math.nan
    place = int(stays.to(torch.int8).argmax())
    if place == 0 or not values[place - 1].isfinite():
        return math.nan
    before, after = values[place - 1], values[place]
    share = ((before - line) / (before - after)).clamp(0.0, 1.0)
    return float((rates[place - 1].log() + share * (rates[place] / rates[place - 1]).log()).exp())
