"""The TensorBoard page of a run: layout and legend, figures, the spectrum."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch

from thermo_callbacks.display.figures.canvas import render
from thermo_callbacks.display.figures.engines import Engine, engine_chart
from thermo_callbacks.display.figures.heat_maps import laplacian_heat_map, temperature_heat_map
from thermo_callbacks.display.figures.layer_history import LayerHistory, merge_names
from thermo_callbacks.display.figures.path_history import PathHistory
from thermo_callbacks.display.figures.temperature_entropy import temperature_entropy_diagram
from thermo_callbacks.display.tensorboard.layout import Layout, custom_scalar_layout
from thermo_callbacks.display.tensorboard.legend import legend
from thermo_callbacks.display.tensorboard.writers import PrefixedWriter, SummaryWriterLike

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIAGRAM_TAG = "thermo/temperature_entropy"
EQUILIBRIUM_REFERENCE_TAG = "thermo/equilibrium_reference"
ENGINE_CHART_TAG = "thermo/engines"
HEAT_MAP_TAG = "thermo/temperature_by_layer"
LAPLACIAN_MAP_TAG = "thermo/laplacian_by_layer"
LEGEND_TAG = "thermo/legend"


@dataclass
class _Page:
    """What a run's page is about, and what of it is written."""

    layers: list[str] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)
    empty: set[str] = field(default_factory=set)
    layout: Layout = field(default_factory=dict)
    text: str = ""


# TensorBoard keeps one layout a run, and several monitors may write to the same one
_PAGES: WeakKeyDictionary[SummaryWriterLike, _Page] = WeakKeyDictionary()


def write_page(
    writers: Iterable[PrefixedWriter],
    layers: Sequence[str],
    tags: Collection[str],
    step: int = 0,
    *,
    empty: Collection[str] = frozenset(),
) -> None:
    """Write the layout of the charts and the legend: when a run starts, and again when it logs new tags.

    A writer's page holds all that was ever asked for on it, so that several monitors of one run have one page
    together. What the page says already is not written again: a call that changes nothing costs a few milliseconds.
    TensorBoard shows the last layout of a run, and all legends with the step that they are filed under.

    Args:
        writers: From :func:`~thermo_callbacks.display.tensorboard_writers`.
        layers: Names of the layers, in order of depth.
        tags: Tags that the run logs, without a logger's prefix.
        step: Step that the legend is filed under.
        empty: Those of the tags that have had no value so far: they are explained, and not drawn.
    """
    for writer, prefix in writers:
        page = _PAGES.setdefault(writer, _Page())
        # of what another monitor of the run has had a value, an empty tag says nothing new
        page.empty |= set(empty).intersection(tags) - page.tags
        page.empty -= set(tags).difference(empty)
        page.tags.update(tags)
        page.layers = merge_names(page.layers, layers)
        layout = custom_scalar_layout(page.tags, prefix=prefix, empty=page.empty)
        if layout != page.layout:
            writer.add_custom_scalars(layout)
            page.layout = layout
        text = legend(page.tags, page.layers)
        if text != page.text:
            writer.add_text(prefix + LEGEND_TAG, text, step)
            page.text = text


def write_equilibrium_reference(writers: Iterable[PrefixedWriter], step: int) -> None:
    """Write the 1 that the equilibrium ratio is read against, so that its chart has a line there.

    Args:
        writers: From :func:`~thermo_callbacks.display.tensorboard_writers`.
        step: Step of the logging point.
    """
    for writer, prefix in writers:
        writer.add_scalar(prefix + EQUILIBRIUM_REFERENCE_TAG, 1.0, step)


def write_heat_map(writers: Sequence[PrefixedWriter], history: LayerHistory, step: int) -> None:
    """Write the heat map of temperature as an image. Without writers or temperatures nothing is drawn.

    Args:
        writers: From :func:`~thermo_callbacks.display.tensorboard_writers`.
        history: Temperatures of the layers so far.
        step: Step of the logging point.
    """
    if len(history):
        _write_figure(writers, HEAT_MAP_TAG, lambda: temperature_heat_map(history), step)


def write_laplacian_heat_map(writers: Sequence[PrefixedWriter], history: LayerHistory, step: int) -> None:
    """Write the map of the layers' Laplacians as an image. Without writers or values nothing is drawn.

    Args:
        writers: From :func:`~thermo_callbacks.display.tensorboard_writers`.
        history: Laplacians of the layers so far.
        step: Step of the logging point.
    """
    if len(history):
        _write_figure(writers, LAPLACIAN_MAP_TAG, lambda: laplacian_heat_map(history), step)


def write_temperature_entropy_diagram(writers: Sequence[PrefixedWriter], history: PathHistory, step: int) -> None:
    """Write the path of the run through temperature and entropy as an image. Without writers or points, nothing.

    Args:
        writers: From :func:`~thermo_callbacks.display.tensorboard_writers`.
        history: Entropies and temperatures of the run so far.
        step: Step of the logging point.
    """
    if len(history):
        _write_figure(writers, DIAGRAM_TAG, lambda: temperature_entropy_diagram(history), step)


def write_engine_chart(writers: Sequence[PrefixedWriter], engines: Sequence[Engine], step: int) -> None:
    """Write the activations as engines, through the depth, as an image. Without writers or engines nothing is drawn.

    Args:
        writers: From :func:`~thermo_callbacks.display.tensorboard_writers`.
        engines: Activations in order of depth, from :func:`~thermo_callbacks.display.engines_of` for example.
        step: Step of the logging point.
    """
    if engines:
        _write_figure(writers, ENGINE_CHART_TAG, lambda: engine_chart(engines), step)


def write_spectrum(
    writers: Iterable[PrefixedWriter], tag: str, eigenvalues: torch.Tensor | npt.ArrayLike, step: int
) -> None:
    """Write a spectrum as a histogram. Values that are not finite are left out; without any other nothing is written.

    The legend of the next :func:`write_page` explains it.

    Args:
        writers: From :func:`~thermo_callbacks.display.tensorboard_writers`.
        tag: Tag without a logger's prefix, ``"thermo/bulk_spectrum"`` for example.
        eigenvalues: The spectrum, any shape; each value counts once.
        step: Step of the logging point.
    """
    if isinstance(eigenvalues, torch.Tensor):
        eigenvalues = eigenvalues.detach().double().cpu().numpy()
    values = np.asarray(eigenvalues, dtype=np.float64).ravel()
    values = values[np.isfinite(values)]  # a histogram of nothing, or of an infinity, is an error
    if values.size == 0:
        return
    for writer, prefix in writers:
        writer.add_histogram(prefix + tag, values, step)
        _PAGES.setdefault(writer, _Page()).tags.add(tag)


def _write_figure(writers: Sequence[PrefixedWriter], tag: str, draw: Callable[[], Figure], step: int) -> None:
    if not writers:
        return
    # not add_figure: that imports pyplot and with it settles the process's plotting backend
    pixels = render(draw())
    for writer, prefix in writers:
        writer.add_image(prefix + tag, pixels, step, dataformats="HWC")
