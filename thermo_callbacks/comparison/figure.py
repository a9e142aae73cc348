"""Figure of a comparison of activations as heat engines."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from thermo_callbacks.comparison.records import ActivationSummary, RunRecord, summarise

if TYPE_CHECKING:  # matplotlib takes a second to import
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

_SIZE = (13.0, 5.2)  # inches, at 100 dots per inch
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito's colours, told apart with all common kinds of colour vision; their yellow is too pale for lines."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_Dashes = Literal["-", "--", ":"]
_LINES: tuple[_Dashes, ...] = ("-", "--", ":")
_USUAL = ("ReLU", "Tanh", "GELU", "SELU", "SiLU", "ELU", "Sigmoid", "LeakyReLU", "Mish", "Softplus", "Hardtanh")
"""Activations with a style of their own in every figure; others take one by their name."""
_MOST_IN_A_ROW = 8


class LineStyle(NamedTuple):
    """Style of an activation in the figure."""

    colour: str
    marker: str
    line: _Dashes


_LINE_STYLES = tuple(
    LineStyle(colour, _MARKERS[(place + shift) % len(_MARKERS)], line)
    for (shift, line), (place, colour) in product(enumerate(_LINES), enumerate(_COLOURS))
)


def line_styles(activations: Sequence[str]) -> dict[str, LineStyle]:
    """A line style for each activation: the same in every figure, unless two without one of their own collide.

    Returns:
        Name to style, all different for up to 21 activations.

    Example:
        >>> line_styles(["Tanh", "ReLU"])["ReLU"] == line_styles(["ReLU"])["ReLU"]
        True
    """
    chosen = {name: _USUAL.index(name) for name in activations if name in _USUAL}
    for name in activations:
        if name in chosen:
            continue
        place = zlib.crc32(name.encode()) % len(_LINE_STYLES)
        while place in chosen.values() and len(chosen) < len(_LINE_STYLES):
            place = (place + 1) % len(_LINE_STYLES)
        chosen[name] = place
    return {name: _LINE_STYLES[place] for name, place in chosen.items()}


def comparison_figure(records: Sequence[RunRecord]) -> Figure:
    """Three views of a comparison: efficiency through the depth, temperature against entropy, efficiency against loss.

    Left: mean work efficiency of each activation module, first of the network first, with its 95 % interval over the
    seeds, and a line at 1, which no passive engine exceeds. Middle: temperature against entropy through training,
    averaged over the seeds, from the hollow marker to the full one. Right: work efficiency of the network against the
    final validation loss, small for a run, large for the mean with its intervals. Runs that failed or diverged are left
    out. A panel with nothing to show says so.

    Returns:
        A new figure that no window system and no pyplot knows of; save it with ``figure.savefig``.

    Example:
        >>> run = RunRecord(activation="ReLU", seed=0, work_efficiency=[("act", 0.5)])
        >>> [text.get_text() for text in comparison_figure([run]).legends[0].get_texts()]
        ['ReLU']
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    summaries = [each for each in summarise(records) if each.finished]
    styles = line_styles([each.activation for each in summaries])
    figure = Figure(figsize=_SIZE, dpi=100, layout="constrained")
    panels = figure.subplots(1, 3)
    for draw, axes in zip((_efficiency_by_depth, _paths, _efficiency_against_loss), panels, strict=True):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(True, color="0.92", linewidth=0.8)
        axes.set_axisbelow(True)
        draw(axes, summaries, styles)
        if not axes.has_data():
            axes.grid(False)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center", color="0.4")
    handles = [
        Line2D([], [], color=style.colour, marker=style.marker, linestyle=style.line, label=name)
        for name, style in styles.items()
    ]
    if handles:
        legend = figure.legend(
            handles=handles, loc="outside lower center", ncols=min(len(handles), _MOST_IN_A_ROW), frameon=False
        )
        for text in legend.get_texts():  # names are code, not formulas
            text.set_parse_math(False)
    return figure


def _efficiency_by_depth(axes: Axes, summaries: Sequence[ActivationSummary], styles: Mapping[str, LineStyle]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title("Which engine passes on how much?")
    axes.set_xlabel("depth [activations from the input]")
    axes.set_ylabel("power ratio")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    highest = 0.0
    for each in summaries:
        means = np.array([estimate.mean for estimate in each.work_efficiency])
        if not np.isfinite(means).any():
            continue
        highest = max(highest, float(np.nanmax(means)))
        depth = np.arange(1, len(means) + 1)
        widths = np.nan_to_num([estimate.half_width for estimate in each.work_efficiency])
        style = styles[each.activation]
        axes.fill_between(depth, means - widths, means + widths, color=style.colour, alpha=0.15, linewidth=0)
        axes.plot(depth, means, color=style.colour, marker=style.marker, linestyle=style.line, markersize=5)
    if highest:
        axes.axhline(1.0, color="0.5", linewidth=1.0, zorder=1)
        axes.annotate(
            "passive engines stay below 1",
            (0.02, 1.0),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            fontsize=8,
            color="0.4",
        )
        axes.set_ylim(bottom=0.0, top=max(1.15, 1.1 * highest))


def _paths(axes: Axes, summaries: Sequence[ActivationSummary], styles: Mapping[str, LineStyle]) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator

    axes.set_title("Temperature and entropy (hollow: start)")
    axes.set_xlabel("entropy of the weights [nat]")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_ylabel("temperature [units of the loss]")
    lowest = math.inf
    for each in summaries:
        path = mean_path(each.finished)
        if not len(path):
            continue
        lowest = min(lowest, float(path[:, 1].min()))
        style = styles[each.activation]
        axes.plot(path[:, 0], path[:, 1], color=style.colour, linestyle=style.line, linewidth=1.2, alpha=0.9)
        for end, fill in ((0, "white"), (-1, style.colour)):
            axes.plot(*path[end], color=style.colour, marker=style.marker, markerfacecolor=fill, markersize=7)
    if lowest > 0.0 and math.isfinite(lowest):
        axes.set_yscale("log")


def mean_path(runs: Sequence[RunRecord]) -> npt.NDArray[np.float64]:
    """Entropy and temperature ``[points, 2]`` at each step that all runs were measured at, averaged over them."""
    paths = [{point.step: point[1:] for point in run.path if all(map(math.isfinite, point[1:]))} for run in runs]
    common = sorted(set.intersection(*map(set, paths))) if paths else []
    if not common:
        return np.empty((0, 2))
    mean: npt.NDArray[np.float64] = np.mean([[path[step] for path in paths] for step in common], axis=1)
    return mean


def _efficiency_against_loss(
    axes: Axes, summaries: Sequence[ActivationSummary], styles: Mapping[str, LineStyle]
) -> None:
    axes.set_title("Does efficiency go along with the loss?")
    axes.set_xlabel("power ratio of the network")
    axes.set_ylabel("final validation loss")
    shown: list[tuple[float, float]] = []
    for each in summaries:
        points = [
            (run.values.get("work_efficiency", math.nan), run.values.get("val_loss_final", math.nan))
            for run in each.finished
        ]
        points = [point for point in points if all(map(math.isfinite, point))]
        if not points:
            continue
        efficiency, loss = each.values["work_efficiency"], each.values["val_loss_final"]
        shown += points
        style = styles[each.activation]
        axes.plot(
            *zip(*points, strict=True),
            color=style.colour,
            marker=style.marker,
            linestyle="",
            markersize=4,
            alpha=0.5,
            markeredgewidth=0,
        )
        axes.errorbar(
            efficiency.mean,
            loss.mean,
            xerr=np.nan_to_num(efficiency.half_width),
            yerr=np.nan_to_num(loss.half_width),
            color=style.colour,
            marker=style.marker,
            markersize=9,
            linewidth=1.0,
            capsize=2,
        )
    efficiencies, losses = [point[0] for point in shown], [point[1] for point in shown]
    if _far_apart(efficiencies, 50.0):
        axes.set_xscale("log")
        _write_plainly(axes.xaxis)
    if _far_apart(losses, 4.0):  # one activation that hardly learns would press all others together
        axes.set_yscale("log")
        _write_plainly(axes.yaxis)


def _far_apart(values: Sequence[float], ratio: float) -> bool:
    return bool(values) and min(values) > 0.0 and max(values) > ratio * min(values)


def _write_plainly(axis: Axis) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())
