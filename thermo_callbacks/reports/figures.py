"""Figures of a run, drawn with matplotlib's objects: no pyplot, no backend, nothing shared with a user's plots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # matplotlib takes a second to import; a run pays for it only when a figure is drawn
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from thermo_callbacks.reports.history import TemperatureHistory

_WIDTH, _LEAST_HEIGHT, _GREATEST_HEIGHT = 7.5, 3.0, 12.0  # inches, at 100 dots per inch
_INCHES_PER_LAYER = 0.24
_MOST_LABELS = 40
_LONGEST_LABEL = 36
_MOST_DECADES = 6
_NO_VALUE, _NOT_POSITIVE = "0.88", "0.58"  # greys, which no colour of the scale comes near


def temperature_heat_map(history: TemperatureHistory) -> Figure:
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
        >>> from thermo_callbacks.reports.history import TemperatureHistory
        >>> history = TemperatureHistory()
        >>> history.append(0, {"body": 1e-3, "head": 1e-2})
        >>> [label.get_text() for label in temperature_heat_map(history).axes[0].get_yticklabels()]
        ['body', 'head']
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    height = min(max(_LEAST_HEIGHT, 1.5 + _INCHES_PER_LAYER * len(history.layers)), _GREATEST_HEIGHT)
    figure = Figure(figsize=(_WIDTH, height), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title("Which layer is hot, and when? Temperature by layer")
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.set_ylabel("layer, first at the top")
    temperatures = history.temperatures
    if temperatures.size == 0:
        axes.set_xticks([])
        axes.set_yticks([])
        _say(axes, "no temperatures yet")
        return figure
    _label_layers(axes, history.layers)
    _draw_cells(figure, axes, history.boundaries, temperatures)
    _explain_greys(figure, temperatures)
    return figure


def render(figure: Figure) -> npt.NDArray[np.uint8]:
    """Pixels of a figure, drawn without touching pyplot or the backend that the user chose.

    Args:
        figure: A figure.

    Returns:
        Red, green and blue, shape ``[height, width, 3]``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba(), dtype=np.uint8)  # type: ignore[no-untyped-call]
    return pixels[..., :3].copy()


def _draw_cells(
    figure: Figure, axes: Axes, boundaries: npt.NDArray[np.float64], temperatures: npt.NDArray[np.float64]
) -> None:
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
    edges = np.arange(temperatures.shape[0] + 1) - 0.5
    mesh = axes.pcolormesh(boundaries, edges, np.ma.masked_invalid(shown), norm=LogNorm(coldest, hottest), cmap=colours)
    if positive.size:
        # the aspect keeps the bar a sixth of an inch wide at any height
        bar = figure.colorbar(mesh, ax=axes, pad=0.01, aspect=6.0 * figure.get_figheight())
        bar.set_label("temperature\n[units of the loss]")
    else:
        _say(axes, "no layer has a positive temperature yet")


def _label_layers(axes: Axes, layers: Sequence[str]) -> None:
    every = math.ceil(len(layers) / _MOST_LABELS)
    names = [name if len(name) <= _LONGEST_LABEL else "…" + name[1 - _LONGEST_LABEL :] for name in layers[::every]]
    # names are code, not formulas: a dollar or an underscore in one must not be read as TeX
    axes.set_yticks(range(0, len(layers), every), names, fontsize=9, usetex=False, parse_math=False)
    axes.set_ylim(len(layers) - 0.5, -0.5)


def _explain_greys(figure: Figure, temperatures: npt.NDArray[np.float64]) -> None:
    from matplotlib.patches import Patch

    handles = []
    if np.isnan(temperatures).any():
        handles.append(Patch(facecolor=_NO_VALUE, edgecolor="0.5", label="no value"))
    if (temperatures <= 0.0).any():
        handles.append(Patch(facecolor=_NOT_POSITIVE, edgecolor="0.5", label="not above zero"))
    if handles:
        figure.legend(handles=handles, loc="outside lower right", ncols=len(handles), fontsize=9, frameon=False)


def _say(axes: Axes, text: str) -> None:
    box = {"facecolor": "white", "edgecolor": "none"}
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="black", bbox=box)
