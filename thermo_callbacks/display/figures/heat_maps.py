"""Heat maps of a run: layers down, steps across; drawn without pyplot, so that no plot of the user is touched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from thermo_callbacks.display.figures.canvas import add_bar, annotate, annotate_empty, height_of, label_rows, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure

    from thermo_callbacks.display.figures.layer_history import LayerHistory

_MOST_DECADES = 6
_SIGNED_DECADES = 3
_NO_VALUE, _NOT_POSITIVE = "0.88", "0.58"  # greys, which no colour of the scale of temperatures comes near
_NO_LAPLACIAN = "0.58"  # the middle of a scale with two ends is nearly white

Cells = npt.NDArray[np.float64]


def temperature_heat_map(history: LayerHistory) -> Figure:
    """Heat map of temperature: layers down in order of depth, steps across, colour the logarithm of the temperature.

    The colour scale covers at most six decades below the hottest cell, so that one layer with next to no
    temperature doesn't flatten all others; what is colder still takes the coldest colour. Cells without a value are
    light grey, cells at or below zero (an estimate within its error of zero) dark grey, both named in a legend when
    they occur. With many layers only every k-th name is written, and long names lose their beginning.

    Args:
        history: Temperatures in units of the loss.

    Returns:
        A new figure that no window system and no pyplot knows of; save it with ``figure.savefig``.

    Example:
        >>> from thermo_callbacks.display.figures.layer_history import LayerHistory
        >>> history = LayerHistory()
        >>> history.append(0, {"body": 1e-3, "head": 1e-2})
        >>> [label.get_text() for label in temperature_heat_map(history).axes[0].get_yticklabels()]
        ['body', 'head']
    """
    figure, axes = _map_axes(history, "Temperature by layer: which is hot, and when?")
    cells = history.values
    if cells.size == 0:
        annotate_empty(axes, "temperatures")
        return figure
    shown, scale, colours = _temperature_scale(cells)
    mesh = _draw_cells(axes, history, shown, scale, colours)
    if (cells > 0.0).any():
        bar = add_bar(figure, mesh, "temperature\n[units of the loss]")
        lowest, highest = bar.ax.get_ylim()
        if highest < 100.0 * lowest:
            # matplotlib's own ticks lie on top of each other here
            bar.minorticks_off()
            ticks = _round_numbers(lowest, highest)
            bar.set_ticks(ticks, labels=[f"{value:.1e}".replace(".0e", "e") for value in ticks])
    else:
        annotate(axes, "no layer has a positive temperature yet")
    greys = {"no value": (_NO_VALUE, np.isnan(cells)), "not above zero": (_NOT_POSITIVE, cells <= 0.0)}
    _explain(figure, [(label, grey) for label, (grey, where) in greys.items() if where.any()])
    return figure


def laplacian_heat_map(history: LayerHistory) -> Figure:
    """Map of curvature: layers down in order of depth, steps across, colour the Laplacian of the loss.

    Orange is curved upwards, purple downwards, and white near zero. The colour grows with the logarithm of the
    magnitude down to a thousandth of the largest, and in proportion below that; both signs have the same scale. Cells
    without a value are grey, which a legend names when they occur.

    Args:
        history: Laplacians of the layers, in units of the loss.

    Returns:
        A new figure that no window system and no pyplot knows of.

    Example:
        >>> from thermo_callbacks.display.figures.layer_history import LayerHistory
        >>> history = LayerHistory()
        >>> history.append(0, {"body": 4.0, "head": -1.0})
        >>> scale = laplacian_heat_map(history).axes[0].collections[0].norm
        >>> scale.vmin, scale.vmax
        (-4.0, 4.0)
    """
    from matplotlib import colormaps
    from matplotlib.colors import SymLogNorm

    figure, axes = _map_axes(history, "Trace of the Hessian by layer: which is curved, and when?")
    cells = history.values
    known = np.abs(cells[np.isfinite(cells)])
    if cells.size == 0:
        annotate_empty(axes, "traces of the Hessian")
        return figure
    largest = float(known.max(initial=0.0)) or 1.0
    scale = SymLogNorm(largest / 10.0**_SIGNED_DECADES, vmin=-largest, vmax=largest, base=10)
    colours = colormaps["PuOr_r"].with_extremes(bad=_NO_LAPLACIAN)
    mesh = _draw_cells(axes, history, cells, scale, colours)
    if known.size:
        # none near zero, where the scale is proportional: they would stand on top of each other
        first, last = math.ceil(math.log10(3.0 * scale.linthresh)), math.floor(math.log10(largest))
        powers = [10.0**exponent for exponent in range(first, last + 1)]
        ticks = [*(-power for power in reversed(powers)), 0.0, *powers]
        add_bar(figure, mesh, "Trace of the Hessian\n[units of the loss]", ticks)
    else:
        annotate(axes, "no layer has a trace of the Hessian yet")
    _explain(figure, [("no value", _NO_LAPLACIAN)] if known.size < cells.size else [])
    return figure


def _map_axes(history: LayerHistory, title: str) -> tuple[Figure, Axes]:
    from matplotlib.ticker import MaxNLocator

    figure, axes = new_axes(height_of(len(history.layers)), title)
    axes.set_xlabel("step")
    longest = max(map(len, history.layers), default=0)  # of long names little room is left for numbers
    axes.xaxis.set_major_locator(MaxNLocator(nbins=3 if longest > 20 else 6, integer=True, min_n_ticks=1))
    axes.set_ylabel("← depth")
    if history.layers:
        label_rows(axes, history.layers)
    return figure, axes


def _temperature_scale(temperatures: Cells) -> tuple[Cells, Normalize, Colormap]:
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm

    positive = temperatures[temperatures > 0.0]
    hottest = float(positive.max()) if positive.size else 1.0
    coldest = max(float(positive.min()), hottest / 10.0**_MOST_DECADES) if positive.size else 1.0
    if coldest == hottest:  # one temperature everywhere would leave the scale no width
        coldest, hottest = coldest / 3.0, hottest * 3.0
    # below the scale's end lie only cells that are not positive: the merely cold ones are lifted to it
    shown = np.where(temperatures > 0.0, np.maximum(temperatures, coldest), coldest / 10.0)
    shown = np.where(np.isnan(temperatures), math.nan, shown)
    colours = colormaps["inferno"].with_extremes(bad=_NO_VALUE, under=_NOT_POSITIVE)
    return shown, LogNorm(coldest, hottest), colours


def _draw_cells(axes: Axes, history: LayerHistory, cells: Cells, scale: Normalize, colours: Colormap) -> QuadMesh:
    edges = np.arange(cells.shape[0] + 1) - 0.5
    return axes.pcolormesh(history.boundaries, edges, np.ma.masked_invalid(cells), norm=scale, cmap=colours)


def _round_numbers(lowest: float, highest: float) -> list[float]:
    """1, 2 and 5 times powers of ten, or the ends where fewer than two lie between them."""
    powers = range(math.floor(math.log10(lowest)), math.ceil(math.log10(highest)))
    numbers = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    between = [number for number in numbers if lowest <= number <= highest]
    return between if len(between) > 1 else [lowest, highest]


def _explain(figure: Figure, greys: Sequence[tuple[str, str]]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=grey, edgecolor="0.5", label=label) for label, grey in greys]
    if handles:
        figure.legend(handles=handles, loc="lower right", ncols=len(handles), fontsize=9, frameon=False)
