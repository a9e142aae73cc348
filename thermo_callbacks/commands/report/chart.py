"""Line charts over steps: axes, SVG paths, descriptions."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from thermo_callbacks.commands.report.paths import Places, corners_of, path_of, pieces_of
from thermo_callbacks.commands.report.scale import Scale, scale_of
from thermo_callbacks.commands.report.series import Series
from thermo_callbacks.commands.report.thinning import most_points, thin
from thermo_callbacks.display.text.numbers import number

WIDTH, HEIGHT = 420.0, 240.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 10.0, 10.0, 38.0
_SAID = 12  # lines whose last value a description names


class Line(NamedTuple):
    """One line of a chart.

    Attributes:
        name: What it shows.
        series: Its values.
        colour: Its colour.
        dash: Pattern of a dashed line, empty for a solid one.
        lower: Lower ends of its band, None without one.
        upper: Upper ends.
        strong: Whether it is drawn thicker than others.
    """

    name: str
    series: Series
    colour: str
    dash: str = ""
    lower: Series | None = None
    upper: Series | None = None
    strong: bool = False


@dataclass(frozen=True)
class Chart:
    """Lines with common axes.

    Attributes:
        title: What it shows.
        lines: The lines, at least one with a value or a NaN.
        x_scale: Scale of the steps.
        y_scale: Scale of the values.
        reference: A value that a line across marks; None for none.
    """

    title: str
    lines: Sequence[Line]
    x_scale: Scale
    y_scale: Scale
    reference: float | None = None

    @cached_property
    def _kept(self) -> list[npt.NDArray[np.int64]]:
        """Points of each line that are drawn."""
        return [thin(line.series.values, most_points(len(self.lines))) for line in self.lines]

    @property
    def drawn(self) -> list[dict[str, Any]]:
        """SVG paths of each line, of its points without neighbours, and of its band."""
        return [self._draw(line, kept) for line, kept in zip(self.lines, self._kept, strict=True)]

    def _draw(self, line: Line, kept: npt.NDArray[np.int64]) -> dict[str, Any]:
        steps = line.series.steps[kept].astype(np.float64)
        path, dots = path_of(self.across(steps), self.up(line.series.values[kept]))
        band = "" if line.lower is None or line.upper is None else self._band(line.lower, line.upper)
        counts = {"logged": len(line.series), "shown": len(kept)}
        return {**line._asdict(), "path": path, "dots": dots, "band": band, **counts}

    def _band(self, lower: Series, upper: Series) -> str:
        steps, below, above = np.intersect1d(lower.steps, upper.steps, assume_unique=True, return_indices=True)
        ends = np.column_stack([lower.values[below], upper.values[above]])
        kept = thin(ends[:, 1], most_points(len(self.lines)))
        x = self.across(steps.astype(np.float64)[kept])
        bottom, top = self.up(ends[kept, 0]), self.up(ends[kept, 1])
        # a lower end at or below zero has no place on a logarithmic axis: the band goes on below it
        bottom = np.where(np.isnan(bottom) & np.isfinite(ends[kept, 0]), HEIGHT, bottom)
        pieces = []
        for piece in pieces_of(np.isfinite(bottom) & np.isfinite(top)):
            back = corners_of(x[piece][::-1], bottom[piece][::-1])
            pieces.append(f"M{corners_of(x[piece], top[piece])}L{back}Z")
        return "".join(pieces)

    def across(self, steps: Places) -> Places:
        """X coordinates of steps, in units of the drawing from its left edge."""
        return LEFT + self.x_scale.place(steps) * (WIDTH - LEFT - RIGHT)

    def up(self, values: Places) -> Places:
        """Y coordinates of values, in units of the drawing from its upper edge; NaN for none."""
        return HEIGHT - BOTTOM - self.y_scale.place(values) * (HEIGHT - TOP - BOTTOM)

    @property
    def x_ticks(self) -> list[tuple[float, str]]:
        """Coordinates and labels of the ticks along the steps."""
        ticks = [tick for tick in self.x_scale.ticks() if tick == round(tick)]
        return [(float(place), f"{tick:,.0f}") for place, tick in zip(self.across(np.array(ticks)), ticks, strict=True)]

    @property
    def y_ticks(self) -> list[tuple[float, str]]:
        """Coordinates and labels of the ticks along the values."""
        ticks = self.y_scale.ticks()
        return [(float(place), tick_label(tick)) for place, tick in zip(self.up(np.array(ticks)), ticks, strict=True)]

    @property
    def reference_place(self) -> float | None:
        """Y coordinate of the reference."""
        return None if self.reference is None else float(self.up(np.array([self.reference]))[0])

    @property
    def note(self) -> str:
        """What a reader has to know of the axes and the points."""
        words = {"log": "Logarithmic scale.", "symlog": "Scale logarithmic beyond the values nearest to zero."}
        notes = [words.get(self.y_scale.kind, "")]
        if any(len(kept) < len(line.series) for line, kept in zip(self.lines, self._kept, strict=True)):
            stretches = most_points(len(self.lines)) // 2
            notes.append(f"Long lines are drawn by the lowest and highest point of each of {stretches} stretches.")
        return " ".join(filter(None, notes))

    @property
    def description(self) -> str:
        """The chart in words, for those who don't see it."""
        ends = f"Steps {self.x_scale.lower:,.0f} to {self.x_scale.upper:,.0f}."
        lasts = [
            f"{line.name} {'no value' if math.isnan(line.series.last) else number(line.series.last)}"
            for line in self.lines[:_SAID]
        ]
        more = f", and {len(self.lines) - _SAID} more" if len(self.lines) > _SAID else ""
        return f"{self.title}. {ends} Last values: {', '.join(lasts)}{more}."

    @property
    def data(self) -> str:
        """JSON of the steps and values that are drawn, for the words beside the pointer."""
        grids: list[list[int]] = []
        lines = []
        for line, kept in zip(self.lines, self._kept, strict=True):
            steps = line.series.steps[kept].tolist()
            if steps not in grids:
                grids.append(steps)
            values = [float(f"{value:.5g}") if math.isfinite(value) else None for value in line.series.values[kept]]
            lines.append({"name": line.name, "steps": grids.index(steps), "values": values})
        scales = [asdict(scale) for scale in (self.x_scale, self.y_scale)]
        text = json.dumps({"steps": grids, "lines": lines, "scales": scales}, separators=(",", ":"), ensure_ascii=True)
        return text.replace("<", "\\u003c")  # a layer's name must not end the script


def chart_of(title: str, lines: Sequence[Line], *, reference: float | None = None) -> Chart:
    """Make a chart with axes that hold its lines."""
    return Chart(title, lines, *scales_of(lines, reference), reference)


def scales_of(lines: Sequence[Line], reference: float | None = None) -> tuple[Scale, Scale]:
    """Scales of steps and values with room for some lines, and for a value that a line across marks."""
    ends = [float(line.series.steps[end]) for line in lines if len(line.series) for end in (0, -1)]
    x_scale = Scale(min(ends), max(ends))
    if x_scale.lower == x_scale.upper:
        x_scale = Scale(x_scale.lower - 1.0, x_scale.upper + 1.0)
    return x_scale, scale_of(np.concatenate([_extent(line) for line in lines]), around=reference)


def _extent(line: Line) -> Places:
    """Values that have to be on the axis; of a band those near the line, since its first errors may be huge."""
    values = line.series.values
    known = values[np.isfinite(values)]
    if line.lower is None or line.upper is None or not known.size:
        return values
    lowest, highest = float(known.min()), float(known.max())
    room = max(highest - lowest, 0.2 * max(abs(lowest), abs(highest)))
    ends = np.clip(np.concatenate([line.lower.values, line.upper.values]), lowest - room, highest + room)
    if lowest > 0.0:  # a logarithmic axis is not given up for a band that reaches zero
        ends = ends[ends > 0.0]
        if highest > 50.0 * lowest:
            ends = ends[ends >= lowest / 2.0]
    return np.concatenate([values, ends])


def tick_label(value: float) -> str:
    """Format a round value for an axis.

    Returns:
        Its text.

    Example:
        >>> tick_label(0.0), tick_label(-0.25), tick_label(20000.0), tick_label(5e-06)
        ('0', '−0.25', '20,000', '5e−6')
    """
    if value == 0.0:
        return "0"
    if 1e-3 <= abs(value) < 1e6:
        return f"{value:,.6g}".replace("-", "−")
    mantissa, _, exponent = f"{value:.3e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}".replace("-", "−")
