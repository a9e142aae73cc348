"""Temperature-entropy diagram of a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from thermo_callbacks.display.figures.canvas import add_bar, annotate_empty, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    from thermo_callbacks.display.figures.path_history import PathHistory

_HEIGHT = 3.4  # inches
_WIDE_RANGE = 20.0  # ratio of the highest to the lowest temperature from which the axis is logarithmic
_CORNERS = 40  # of the line: the scatter of single windows makes a longer one a scribble
_ARROWS = 5
_START, _END = "#009E73", "#D55E00"  # told apart by all eyes, and by their shapes

Points = npt.NDArray[np.float64]


def temperature_entropy_diagram(path: PathHistory) -> Figure:
    """Temperature-entropy diagram of a run: entropy across, temperature up, coloured by step.

    Dots are the points of the path, and the line runs through means of equally many of them, 40 at most. A circle marks
    its start, a square its end, and arrows the direction of time. The area under a stretch is the heat exchanged along
    it. The temperature axis is logarithmic where all temperatures are positive and the highest is more than 20 times
    the lowest.

    Args:
        path: Entropies in nats and temperatures in units of the loss.

    Returns:
        A new figure that no window system and no pyplot knows of.

    Example:
        >>> from thermo_callbacks.display.figures.path_history import PathHistory
        >>> path = PathHistory()
        >>> path.append(10, -3.0, 4.0)
        >>> path.append(20, -5.0, 0.1)
        >>> temperature_entropy_diagram(path).axes[0].get_yscale()
        'log'
    """
    from matplotlib.ticker import MaxNLocator

    figure, axes = new_axes(_HEIGHT, "Temperature and entropy: to order, and cold?")
    axes.set_xlabel("entropy of the weights [nats]: learning lowers it")
    axes.set_ylabel("temperature [units of the loss]")
    if len(path) == 0:
        annotate_empty(axes, "windows with an entropy and a temperature")
        return figure
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    if path.temperatures.min() > 0.0 and path.temperatures.max() > _WIDE_RANGE * path.temperatures.min():
        axes.set_yscale("log")
    steps, points = path.steps, np.column_stack([path.entropies, path.temperatures])
    axes.scatter(points[:, 0], points[:, 1], c=steps, s=8, cmap="cividis", alpha=0.6, linewidths=0)
    corners = _means(points)
    if len(corners) > 1:
        line = _draw_line(axes, corners, _means(steps[:, None])[:, 0], (float(steps[0]), float(steps[-1])))
        _draw_arrows(axes, corners)
        add_bar(figure, line, "step")
    _mark_ends(axes, corners)
    return figure


def _means(values: Points) -> Points:
    """Means of equally many consecutive rows, of fewer at the end."""
    each = math.ceil(len(values) / _CORNERS)
    return np.stack([values[start : start + each].mean(0) for start in range(0, len(values), each)])


def _draw_line(axes: Axes, corners: Points, steps: Points, limits: tuple[float, float]) -> LineCollection:
    from matplotlib.collections import LineCollection

    line = LineCollection(list(np.stack([corners[:-1], corners[1:]], axis=1)), cmap="cividis", linewidth=2.5)
    line.set_capstyle("round")
    line.set_array((steps[:-1] + steps[1:]) / 2.0)
    line.set_clim(*limits)
    axes.add_collection(line, autolim=False)
    return line


def _draw_arrows(axes: Axes, corners: Points) -> None:
    """Heads of arrows at equal distances along the line as the eye sees it."""
    logarithmic = axes.get_yscale() == "log"
    straight = np.column_stack([corners[:, 0], np.log(corners[:, 1]) if logarithmic else corners[:, 1]])
    extents = np.ptp(straight, axis=0)
    seen = straight / np.where(extents > 0.0, extents, 1.0)
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(seen, axis=0), axis=1))])
    if lengths[-1] == 0.0:
        return
    style = {"arrowstyle": "-|>,head_width=0.35,head_length=0.7", "color": "black", "shrinkA": 0, "shrinkB": 0}
    for share in (np.arange(_ARROWS) + 0.5) / _ARROWS:
        piece = int(np.searchsorted(lengths, share * lengths[-1])) - 1
        # a head without a shaft, which would hide the line's colour
        ends = [(1.0 - part) * straight[piece] + part * straight[piece + 1] for part in (0.5, 0.55)]
        tail, tip = ((x, math.exp(y) if logarithmic else y) for x, y in ends)
        axes.annotate("", tip, tail, arrowprops=style, zorder=3)


def _mark_ends(axes: Axes, corners: Points) -> None:
    marks = [(corners[0], "o", _START, "start"), (corners[-1], "s", _END, "end")]
    if len(corners) == 1:
        marks = [(corners[0], "o", _START, "the only point so far")]
    for where, marker, colour, label in marks:
        axes.plot(*where, marker, color=colour, markersize=8, markeredgecolor="black", label=label, zorder=4)
    axes.legend(loc="best")
