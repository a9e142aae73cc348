"""Shared parts of the figures: canvas without pyplot, row labels, notes on empty axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from thermo_callbacks.display.figures.margins import margins

if TYPE_CHECKING:  # matplotlib takes a second to import; a run pays for it only when a figure is drawn
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure

# TensorBoard shows an image at half of this size: letters of 9 points are then nine dots high, and can be read
WIDTH, _DOTS = 5.0, 150  # inches, and dots an inch
_LEAST_HEIGHT, _GREATEST_HEIGHT = 2.4, 8.0
_HEIGHT_OF_MARGINS, _HEIGHT_OF_ROW = 1.0, 0.16
_MOST_LABELS = 40
_LONGEST_LABEL = 36


def new_axes(height: float, title: str) -> tuple[Figure, Axes]:
    """A figure, which no window system and no pyplot knows of, and its one pair of axes; height in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), dpi=_DOTS, layout=margins())
    figure.suptitle(title, fontsize="medium")  # not the axes' own: beside long names it would leave the figure
    return figure, figure.add_subplot()


def add_bar(figure: Figure, mappable: ScalarMappable, label: str, ticks: Sequence[float] | None = None) -> Colorbar:
    """Add the bar that explains the colours, on the right of the axes."""
    bar = figure.colorbar(mappable, cax=figure.add_axes((0.8, 0.2, 0.03, 0.6)), ticks=ticks)
    bar.set_label(label)
    return bar


def height_of(rows: int) -> float:
    """Height in inches, within bounds, of a figure with so many named rows."""
    return min(max(_LEAST_HEIGHT, _HEIGHT_OF_MARGINS + _HEIGHT_OF_ROW * rows), _GREATEST_HEIGHT)


def label_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows 0, 1, ... of a figure, the first at the top."""
    # with many rows only every k-th is named, and long names lose their beginning
    every = math.ceil(len(names) / _MOST_LABELS)
    labels = [name if len(name) <= _LONGEST_LABEL else "…" + name[1 - _LONGEST_LABEL :] for name in names[::every]]
    # names are code, not formulas: a dollar or an underscore in one must not be read as TeX
    axes.set_yticks(range(0, len(names), every), labels, fontsize=9, usetex=False, parse_math=False)
    axes.set_ylim(len(names) - 0.5, -0.5)


def annotate(axes: Axes, text: str) -> None:
    """Write words in the middle of the axes, legible on any background."""
    box = {"facecolor": "white", "edgecolor": "none"}
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="black", bbox=box)


def annotate_empty(axes: Axes, what: str) -> None:
    """Leave axes without ticks, and say what there is none of yet."""
    axes.set_xticks([])
    axes.set_yticks([])
    annotate(axes, f"no {what} yet")


def render(figure: Figure) -> npt.NDArray[np.uint8]:
    """Pixels ``[height, width, 3]`` of a figure, drawn without pyplot or the backend that the user chose."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba(), dtype=np.uint8)  # type: ignore[no-untyped-call]
    return pixels[..., :3].copy()
