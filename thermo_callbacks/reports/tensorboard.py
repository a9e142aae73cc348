"""The TensorBoard page of a run: charts that answer questions, a legend, and the heat map of temperature."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from thermo_callbacks.reports.figures import render, temperature_heat_map
from thermo_callbacks.reports.history import TemperatureHistory
from thermo_callbacks.reports.legend import legend
from thermo_callbacks.reports.writers import PrefixedWriter

EQUILIBRIUM_REFERENCE_TAG = "thermo/equilibrium_reference"
HEAT_MAP_TAG = "thermo/temperature_by_layer"
LEGEND_TAG = "thermo/legend"

Layout = dict[str, dict[str, list[str | list[str]]]]


class _Chart(NamedTuple):
    title: str
    tags: tuple[str, ...] = ()
    family: str = ""
    least: int = 1  # how many of the tags it takes to make a chart, where no layer does
    reference: str = ""  # a tag that never makes a chart by itself
    kind: str = "Multiline"


# TensorBoard draws the lines of a category before its bands, whatever their order here
_QUESTIONS: dict[str, tuple[_Chart, ...]] = {
    "How hot is the run, and which layer is hottest?": (
        _Chart(
            "Temperature of the run, 95 % band",
            ("thermo/temperature", "thermo/temperature_lower", "thermo/temperature_upper"),
            least=3,
            kind="Margin",
        ),
        _Chart("Temperature by layer", family="thermo_temperature"),
    ),
    "Is the run in equilibrium?": (
        _Chart(
            "Equilibrium ratio of the run: 1 if it is",
            ("thermo/equilibrium_ratio",),
            reference=EQUILIBRIUM_REFERENCE_TAG,
        ),
        # not with the run's: one layer far out would press the run and the line at 1 into one
        _Chart("Equilibrium ratio by layer", family="thermo_equilibrium_ratio", reference=EQUILIBRIUM_REFERENCE_TAG),
        _Chart(
            "Thermometers: far apart means no",
            ("thermo/temperature", "thermo/virial_temperature", "thermo/einstein_temperature"),
            least=2,
        ),
    ),
    "Where does the loss go, and which layer lowers it?": (
        _Chart(
            "Energy balance: loss, heat, residual",
            ("thermo/internal_energy", "thermo/heat", "thermo/first_law_residual"),
        ),
        _Chart("Heat by layer: the lowest removed most", family="thermo_heat"),
    ),
    "Signal or noise: is the batch large enough?": (
        _Chart("Noise scale: samples where they are equal", ("thermo/noise_scale",), family="thermo_noise_scale"),
        _Chart("Signal share of a step", ("thermo/signal_share",), family="thermo_signal_share"),
    ),
}


def custom_scalar_layout(layers: Sequence[str], tags: Collection[str], *, prefix: str = "") -> Layout:
    """Layout of the Custom Scalars page, by the questions that a person asks.

    All layers share a chart by one pattern a quantity, so the layout has the same size for 4 and for 400 layers, takes
    in layers that show up later, and two runs with different models share their charts. A chart appears when one of
    its tags is in ``tags``; the error band needs its three, logged at the same steps (NaN where an end has no value),
    or TensorBoard refuses to draw it. The charts of the equilibrium ratio always ask for the line at 1 as well.

    TensorBoard keeps only the last layout of a run. To add charts of your own, write them together with these:
    ``writer.add_custom_scalars({**yours, **custom_scalar_layout(layers, tags)})``.

    Args:
        layers: Names of the layers.
        tags: Tags that the run logs, those of single layers included (``thermo_temperature/<layer>``).
        prefix: What the logger puts before every tag.

    Returns:
        Question to chart title to ``[kind, tags]``, for ``SummaryWriter.add_custom_scalars``; empty if no tag is known.

    Example:
        >>> custom_scalar_layout(["net.0"], {"thermo_heat/net.0"})
        {'Where does the loss go, and which layer lowers it?':
         {'Heat by layer: the lowest removed most': ['Multiline', ['thermo_heat/.+$']]}}
    """
    layout: Layout = {}
    for question, charts in _QUESTIONS.items():
        drawn = {chart.title: content for chart in charts if (content := _content(chart, layers, tags, prefix))}
        if drawn:
            layout[question] = drawn
    return layout


def _content(chart: _Chart, layers: Sequence[str], tags: Collection[str], prefix: str) -> list[str | list[str]]:
    logged = [tag for tag in chart.tags if tag in tags]
    by_layer = bool(chart.family) and any(f"{chart.family}/{layer}" in tags for layer in layers)
    if len(logged) < chart.least and not by_layer:
        return []
    if chart.kind == "Margin":  # its tags are names; those of lines are patterns
        return [chart.kind, [prefix + tag for tag in chart.tags]]
    if chart.reference:
        logged.append(chart.reference)
    # TensorBoard matches a pattern at the start of a tag only: its end must be said
    patterns = [re.escape(prefix + tag) + "$" for tag in logged]
    if by_layer:
        patterns.append(re.escape(f"{prefix}{chart.family}/") + ".+$")
    return [chart.kind, patterns]


def write_page(writers: Iterable[PrefixedWriter], layers: Sequence[str], tags: Collection[str]) -> None:
    """Write the layout of the charts and the legend: once, when a run starts.

    Args:
        writers: From :func:`~thermo_callbacks.reports.tensorboard_writers`.
        layers: Names of the layers, in order of depth.
        tags: Tags that the run will log, without a logger's prefix.
    """
    for writer, prefix in writers:
        layout = custom_scalar_layout(layers, tags, prefix=prefix)
        if layout:
            writer.add_custom_scalars(layout)
        text = legend(tags, layers)
        if text:
            writer.add_text(prefix + LEGEND_TAG, text, 0)


def write_equilibrium_reference(writers: Iterable[PrefixedWriter], step: int) -> None:
    """Write the 1 that the equilibrium ratio is read against, so that its chart has a line there.

    Args:
        writers: From :func:`~thermo_callbacks.reports.tensorboard_writers`.
        step: Step of the logging point.
    """
    for writer, prefix in writers:
        writer.add_scalar(prefix + EQUILIBRIUM_REFERENCE_TAG, 1.0, step)


def write_heat_map(writers: Sequence[PrefixedWriter], history: TemperatureHistory, step: int) -> None:
    """Write the heat map of temperature as an image. Without writers or temperatures nothing is drawn.

    Args:
        writers: From :func:`~thermo_callbacks.reports.tensorboard_writers`.
        history: Temperatures of the layers so far.
        step: Step of the logging point.
    """
    if not writers or len(history) == 0:
        return
    # not add_figure: that imports pyplot and with it settles the process's plotting backend
    pixels = render(temperature_heat_map(history))
    for writer, prefix in writers:
        writer.add_image(prefix + HEAT_MAP_TAG, pixels, step, dataformats="HWC")
