"""Step efficiency and transfer against the learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from thermo_callbacks.display.figures.canvas import annotate, new_axes
from thermo_callbacks.functional.efficiency_limit import POOLED, POOLED_TRANSFER, pooled_efficiency, pooled_rates

if TYPE_CHECKING:  # matplotlib takes a second to import
    from matplotlib.figure import Figure

_HEIGHT = 3.2  # inches
_OWN, _FRESH = "#0072B2", "#D55E00"  # of Okabe and Ito, told apart with all common kinds of colour vision


def rate_curve(
    rates: Tensor,
    heat: Tensor,
    work: Tensor,
    fresh_work: Tensor,
    *,
    marks: Mapping[str, float],
    interval: tuple[float, float],
    lines: Sequence[float],
) -> Figure:
    """Draw step efficiency and transfer of neighbouring steps with their 95 % bands.

    Args:
        rates: Learning rate of each step, shape ``[K]``.
        heat: What it promised, shape ``[K]``.
        work: What it did to its own batch's loss, shape ``[K]``.
        fresh_work: What it did to the next batch's, shape ``[K]``.
        marks: Rates to be marked, by name; NaN for none.
        interval: Ends of the first one's interval.
        lines: Efficiencies to be marked.

    Returns:
        The figure.
    """
    figure, axes = new_axes(_HEIGHT, "What steps make of their promise")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("share of the promised descent")
    if len(rates) < POOLED_TRANSFER:
        annotate(axes, "too few steps were measured")
        return figure
    axes.set_xscale("log")
    for name, works, colour, pooled in (
        ("efficiency", work, _OWN, POOLED),
        ("transfer", fresh_work, _FRESH, POOLED_TRANSFER),
    ):
        places, found = pooled_rates(rates, heat, pooled).numpy(), pooled_efficiency(works, heat, pooled)
        axes.plot(places, found.value.numpy(), color=colour, label=name)
        low, high = found.interval()
        axes.fill_between(places, low.numpy(), high.numpy(), color=colour, alpha=0.2, linewidth=0.0)
    for line in lines:
        axes.axhline(line, color="0.6", linewidth=0.8, linestyle=":")
    for (name, rate), style in zip(marks.items(), ("-", "--"), strict=False):
        if math.isfinite(rate):
            axes.axvline(rate, color="black", linewidth=1.0, linestyle=style, label=f"{name} {rate:.2g}")
    if all(map(math.isfinite, interval)):
        axes.axvspan(*interval, color="black", alpha=0.1, linewidth=0.0)
    axes.set_ylim(-0.5, 1.5)  # beyond the edge values have no bound, and say nothing more
    axes.legend(fontsize=8, loc="lower left")
    return figure
