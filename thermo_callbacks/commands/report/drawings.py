"""Figures of a run, drawn again from its logged values."""

from __future__ import annotations

import base64
import io
import math
import re
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from thermo_callbacks.commands.report.log import LoggedHistogram
from thermo_callbacks.commands.report.runs import Run, is_ours, members_of, words_of
from thermo_callbacks.display.figures.engines import engine_chart, engines_of
from thermo_callbacks.display.figures.heat_maps import laplacian_heat_map, temperature_heat_map
from thermo_callbacks.display.figures.layer_history import LayerHistory
from thermo_callbacks.display.figures.path_history import PathHistory
from thermo_callbacks.display.figures.temperature_entropy import temperature_entropy_diagram
from thermo_callbacks.display.tensorboard.page import DIAGRAM_TAG, ENGINE_CHART_TAG, HEAT_MAP_TAG, LAPLACIAN_MAP_TAG

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_DRAWN = 12
"""Runs whose figures are drawn: one takes half a second of work, and of more none would find their way."""
_DOTS_PER_INCH = 150  # of the cells of a map, which are pixels within the drawing
_WIDE = 100.0  # largest over smallest eigenvalue from which their axis is logarithmic


class Drawing(NamedTuple):
    """A picture within the page."""

    run: str
    caption: str
    source: str


def drawings_of(runs: Sequence[Run]) -> list[list[Drawing]]:
    """Figures of the first runs.

    Drawn from the numbers wherever these hold all that the figure shows. Logs of a version that did not write the
    engine types of the activations have them in the logged image alone, which is taken then. Images that are not among
    the figures follow as they were logged.

    Args:
        runs: The runs.

    Returns:
        Each figure of all the runs that have it.
    """
    runs = runs[:MOST_DRAWN]
    figures = [
        [Drawing(run.name, f"{caption}: {run.name}", source) for run in runs if (source := _drawn(caption, run, runs))]
        for caption in _FIGURES
    ]
    tags = dict.fromkeys(tag for run in runs for tag in run.images if is_ours(tag) and tag not in _DRAWN_AGAIN)
    figures += [
        [
            Drawing(run.name, f"{words_of(tag)}, step {run.images[tag].step:,}: {run.name}", source)
            for run in runs
            if (source := _logged(run, tag))
        ]
        for tag in tags
    ]
    return [figure for figure in figures if figure]


def _drawn(caption: str, run: Run, runs: Sequence[Run]) -> str:
    """A figure of a run; empty where it has none, or it can't be drawn, which is noted and costs that figure alone."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing")  # a name's signs are drawn by the browser
            return _FIGURES[caption](run, runs)
    except Exception as fault:  # matplotlib's, of any kind, at numbers that nobody has foreseen
        run.notices.append(f"The figure {caption!r} can't be drawn ({type(fault).__name__}).")
        return ""


def _map(family: str, draw: Callable[[LayerHistory], Figure]) -> Callable[[Run, Sequence[Run]], str]:
    def make(run: Run, runs: Sequence[Run]) -> str:
        layers = [layer for layer in members_of(runs, family) if f"{family}/{layer}" in run.scalars]
        if not layers:
            return ""
        series = {layer: run.scalars[f"{family}/{layer}"] for layer in layers}
        history = LayerHistory()
        steps = np.unique(np.concatenate([each.steps for each in series.values()]))
        rows = np.full((len(steps), len(series)), math.nan)
        for column, each in enumerate(series.values()):
            rows[np.searchsorted(steps, each.steps), column] = each.values
        for step, row in zip(steps.tolist(), rows.tolist(), strict=True):
            history.append(step, dict(zip(series, row, strict=True)))
        return _encode(draw(history))

    return make


def _path(run: Run, _: Sequence[Run]) -> str:
    entropies, temperatures = run.scalars.get("thermo/entropy"), run.scalars.get("thermo/temperature")
    if entropies is None or temperatures is None:
        return ""
    path = PathHistory()
    both = np.intersect1d(entropies.steps, temperatures.steps, assume_unique=True, return_indices=True)
    columns = (both[0], entropies.values[both[1]], temperatures.values[both[2]])
    for step, entropy, temperature in zip(*(column.tolist() for column in columns), strict=True):
        path.append(step, entropy, temperature)
    return _encode(temperature_entropy_diagram(path)) if len(path) else ""


def _engines(run: Run, runs: Sequence[Run]) -> str:
    types = run.configurations.engine_types
    if not types and (logged := _logged(run, ENGINE_CHART_TAG)):
        return logged
    record = {
        f"{family}/{name}": run.scalars[f"{family}/{name}"].last
        for name in members_of(runs, "thermo_work_efficiency")
        for family in ("thermo_work_efficiency", "thermo_learning_efficiency")
        if f"{family}/{name}" in run.scalars
    }
    engines = engines_of(record, types)
    return _encode(engine_chart(engines)) if engines else ""


def _spectrum(run: Run, _: Sequence[Run]) -> str:
    histogram = run.histograms.get("thermo/bulk_spectrum")
    return "" if histogram is None else _encode(spectrum_figure(histogram))


def spectrum_figure(histogram: LoggedHistogram) -> Figure:
    """Draw a spectrum: eigenvalues across, their number up."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.stairs(histogram.counts, histogram.edges, fill=True, color="#0072B2")
    if histogram.edges[0] > 0.0 and histogram.edges[-1] > _WIDE * histogram.edges[0]:
        axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=1.0)  # one eigenvalue is to be seen beside thousands
    figure.suptitle(f"How stiff are the neurons? Spectrum at step {histogram.step:,}", fontsize="large")
    axes.set_xlabel("eigenvalue")
    axes.set_ylabel("number")
    return figure


_FIGURES: dict[str, Callable[[Run, Sequence[Run]], str]] = {
    "Temperature by layer and step": _map("thermo_temperature", temperature_heat_map),
    "Trace of the Hessian by layer and step": _map("thermo_laplacian", laplacian_heat_map),
    "Path through temperature and entropy": _path,
    "Activations through the depth": _engines,
    "Spectrum of the neurons": _spectrum,
}
_DRAWN_AGAIN = (DIAGRAM_TAG, ENGINE_CHART_TAG, HEAT_MAP_TAG, LAPLACIAN_MAP_TAG)


def _logged(run: Run, tag: str) -> str:
    """Data URI of an image as it was logged, empty where there is none that a browser reads."""
    image = run.images.get(tag)
    if image is None or not image.encoded.startswith(b"\x89PNG"):
        return ""
    return f"data:image/png;base64,{base64.b64encode(image.encoded).decode('ascii')}"


def _encode(figure: Figure) -> str:
    """Data URI of a figure as a vector drawing, in which the cells of maps are pixels and words are text."""
    from matplotlib import rc_context
    from matplotlib.collections import QuadMesh

    for axes in figure.axes:
        for mesh in axes.collections:
            if isinstance(mesh, QuadMesh):  # thousands of cells as paths would make the page heavy
                mesh.set_rasterized(True)
    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "thermo-callbacks"}):
        figure.savefig(buffer, format="svg", dpi=_DOTS_PER_INCH, metadata={"Date": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    return f"data:image/svg+xml;base64,{base64.b64encode(text.encode('utf-8')).decode('ascii')}"
