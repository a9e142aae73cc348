"""Means with intervals, written as columns of a table."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from thermo_callbacks.comparison.records import MEASURES, ActivationSummary, SeedEstimate

MISSING = "-"
_EASY = (1e-2, 1e5)  # the largest mean of a column lies here, or the column is written in powers of ten


class Column(NamedTuple):
    """A column of a table."""

    header: str
    cells: list[str]


class Style(NamedTuple):
    """How the numbers of a column are written.

    Attributes:
        power: Power of ten that is taken out of them.
    """

    power: int
    decimals: int
    intervals: bool


def style_of(estimates: Sequence[SeedEstimate], most_decimals: int = 3) -> Style:
    """A style for numbers that are to be compared at a glance.

    Where the largest mean is below 0.01 or not below 100,000, a power of ten is taken out. Decimals are as many as give
    the typical interval two significant digits; three significant digits where there are no intervals.

    Returns:
        The style.

    Example:
        >>> style_of([SeedEstimate(2.5e-5, 1e-6, 3), SeedEstimate(float("nan"), float("nan"), 0)])
        Style(power=-5, decimals=2, intervals=True)
    """
    largest = max((abs(each.mean) for each in estimates if math.isfinite(each.mean)), default=0.0)
    power = 0 if largest == 0.0 or _EASY[0] <= largest < _EASY[1] else math.floor(math.log10(largest))
    scale = 10.0**power
    widths = [each.half_width / scale for each in estimates if each.half_width > 0.0]
    digits, size = (1, statistics.median(widths)) if widths else (2, largest / scale)
    decimals = min(max(digits - math.floor(math.log10(size)), 0), most_decimals) if size else 1
    return Style(power, decimals, bool(widths))


def estimate_column(name: str, unit: str, estimates: Sequence[SeedEstimate], style: Style | None = None) -> Column:
    """Write means and intervals in one way; a power of ten that is taken out stands in the header.

    Args:
        name: Name of what is estimated.
        unit: Its unit; may be empty.
        estimates: One an activation.
        style: How to write them; None for what suits them.

    Returns:
        The column.

    Example:
        >>> missing = SeedEstimate(float("nan"), float("nan"), 0)
        >>> estimate_column("temperature", "loss", [SeedEstimate(2.5e-5, 1e-6, 3), missing])
        Column(header='temperature [1e-5 loss]', cells=['2.50 ± 0.10', '-'])
    """
    style = style_of(estimates) if style is None else style
    measured_in = " ".join(filter(None, [f"1e{style.power}" if style.power else "", unit]))
    return Column(f"{name} [{measured_in}]" if measured_in else name, [_cell(each, style) for each in estimates])


def _cell(each: SeedEstimate, style: Style) -> str:
    if not math.isfinite(each.mean):
        return MISSING
    scale = 10.0**style.power
    mean = format(each.mean / scale, f"z.{style.decimals}f")
    if not style.intervals:
        return mean
    width = format(each.half_width / scale, f".{style.decimals}f") if math.isfinite(each.half_width) else MISSING
    return f"{mean} ± {width}"


def measured_columns(summaries: Sequence[ActivationSummary], keys: Sequence[str]) -> list[Column]:
    """Measures, each in a column; those without any value are left out."""
    columns = []
    for measure in MEASURES:
        estimates = [each.values[measure.key] for each in summaries]
        if measure.key in keys and any(each.n for each in estimates):
            columns.append(estimate_column(measure.name, measure.unit, estimates))
    return columns


def depth_columns(rows: Sequence[Sequence[SeedEstimate]], most: int | None = None) -> list[Column]:
    """Efficiencies by depth, all written in one way.

    Args:
        rows: For each activation its efficiencies, the first of the network first.
        most: Columns to show, at least 2; depths between are left out if there are more.

    Returns:
        One column a depth.

    Example:
        >>> rows = [[SeedEstimate(depth / 10, float("nan"), 1) for depth in range(1, 8)]]
        >>> [column.header for column in depth_columns(rows, most=3)]
        ['1', '4', '7']
    """
    nothing = SeedEstimate(math.nan, math.nan, 0)
    count = max(map(len, rows), default=0)
    shown = min(count, count if most is None else most)
    depths = sorted({round(place * (count - 1) / max(shown - 1, 1)) for place in range(shown)})
    style = style_of([each for row in rows for each in row], most_decimals=2)
    return [
        estimate_column(str(depth + 1), "", [row[depth] if depth < len(row) else nothing for row in rows], style)
        for depth in depths
    ]
