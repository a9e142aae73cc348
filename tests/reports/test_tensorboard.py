"""The page as TensorBoard itself reads it back from event files."""

from __future__ import annotations

import json
import math
import random
import re
import sys
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard import context
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins import base_plugin
from tensorboard.plugins.scalar import scalars_plugin
from torch.utils.tensorboard import SummaryWriter

from thermo_callbacks.reports import (
    PrefixedWriter,
    TemperatureHistory,
    custom_scalar_layout,
    tensorboard_writers,
    write_equilibrium_reference,
    write_heat_map,
    write_page,
)

with warnings.catch_warnings():  # of the HTML cleaner that TensorBoard brings along
    warnings.simplefilter("ignore", DeprecationWarning)
    from tensorboard.plugins.custom_scalar import custom_scalars_plugin

TEMPERATURES = ("temperature", "virial_temperature", "einstein_temperature")
BAND = ("temperature", "temperature_lower", "temperature_upper")
ENERGIES = ("internal_energy", "heat", "first_law_residual")
GLOBALS = {*TEMPERATURES, *BAND, *ENERGIES, "temperature_stderr", "equilibrium_ratio", "noise_scale", "signal_share"}
FAMILIES = ("temperature", "heat", "equilibrium_ratio", "noise_scale", "signal_share")
LAYERS = ("net.0", "block[1]", "a+b(c)", "net.10")


def tags_of(layers):
    return {f"thermo/{name}" for name in GLOBALS} | {f"thermo_{name}/{layer}" for name in FAMILIES for layer in layers}


def charts_of(layout):
    return {title: content for charts in layout.values() for title, content in charts.items()}


def plugin_of(folder):
    multiplexer = plugin_event_multiplexer.EventMultiplexer(tensor_size_guidance={"custom_scalars": 10})
    multiplexer.AddRunsFromDirectory(str(folder)).Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(folder))
    shared = base_plugin.TBContext(
        logdir=str(folder), multiplexer=multiplexer, data_provider=provider, plugin_name_to_instance={}
    )
    shared.plugin_name_to_instance["scalars"] = scalars_plugin.ScalarsPlugin(shared)
    return custom_scalars_plugin.CustomScalarsPlugin(shared)


def drawn_by_tensorboard(folder, run):
    """Title of each chart of lines to the tags that TensorBoard would draw in it."""
    plugin = plugin_of(folder)
    layout = json.loads(plugin.layout_impl(context.RequestContext(), ""))
    drawn = {}
    for category in layout["category"]:
        for chart in category["chart"]:
            if "multiline" in chart:
                # the page joins the patterns of a chart in this way
                pattern = "|".join(f"({tag})" for tag in chart["multiline"]["tag"])
                answer = plugin.scalars_impl(context.RequestContext(), run, pattern, "")
                drawn[chart["title"]] = set(answer["tag_to_events"])
    return drawn


def short_history():
    history = TemperatureHistory()
    history.append(9, {"net.0": 1e-3, "block[1]": math.nan})
    history.append(19, {"net.0": 2e-3, "block[1]": -1e-4})
    return history


class TestLayout:
    def test_lines_show_their_tags_and_no_others(self, tmp_path):
        decoys = {
            "thermo/temperature_by_hand",
            "thermo/heater",
            "xthermo/heat",
            "thermo_heatwave/net.0",
            "thermo/heat/net",
        }
        tags = tags_of(LAYERS)
        with SummaryWriter(tmp_path / "run") as writer:
            write_page([PrefixedWriter(writer)], LAYERS, tags)
            write_equilibrium_reference([PrefixedWriter(writer)], 0)
            for tag in tags | decoys:
                writer.add_scalar(tag, 1.0, 0)

        drawn = drawn_by_tensorboard(tmp_path, "run")

        def by_layer(name):
            return {f"thermo_{name}/{layer}" for layer in LAYERS}

        assert drawn == {
            "Temperature by layer": by_layer("temperature"),
            "Equilibrium ratio of the run: 1 if it is": {"thermo/equilibrium_ratio", "thermo/equilibrium_reference"},
            "Equilibrium ratio by layer": by_layer("equilibrium_ratio") | {"thermo/equilibrium_reference"},
            "Thermometers: far apart means no": {f"thermo/{name}" for name in TEMPERATURES},
            "Energy balance: loss, heat, residual": {f"thermo/{name}" for name in ENERGIES},
            "Heat by layer: the lowest removed most": by_layer("heat"),
            "Noise scale: samples where they are equal": by_layer("noise_scale") | {"thermo/noise_scale"},
            "Signal share of a step": by_layer("signal_share") | {"thermo/signal_share"},
        }

    def test_band_has_literal_names_value_first(self):
        kind, tags = charts_of(custom_scalar_layout(LAYERS, tags_of(LAYERS)))["Temperature of the run, 95 % band"]
        assert kind == "Margin"
        assert tags == [f"thermo/{name}" for name in BAND]

    @pytest.mark.parametrize("missing", BAND)
    def test_band_needs_its_three_tags(self, missing):
        charts = charts_of(custom_scalar_layout(LAYERS, tags_of(LAYERS) - {f"thermo/{missing}"}))
        assert "Temperature of the run, 95 % band" not in charts
        assert "Temperature by layer" in charts

    def test_categories_are_questions(self):
        assert all("?" in question for question in custom_scalar_layout(LAYERS, tags_of(LAYERS)))

    def test_without_layers_no_charts_by_layer(self):
        charts = charts_of(custom_scalar_layout([], tags_of([])))
        assert "Temperature by layer" not in charts
        assert charts["Noise scale: samples where they are equal"] == ["Multiline", ["thermo/noise_scale$"]]
        assert "Energy balance: loss, heat, residual" in charts

    def test_one_layer(self):
        layout = custom_scalar_layout(["net.0"], {"thermo_temperature/net.0"})
        assert charts_of(layout) == {"Temperature by layer": ["Multiline", ["thermo_temperature/.+$"]]}

    def test_one_thermometer_alone_is_not_compared(self):
        assert custom_scalar_layout([], {"thermo/temperature"}) == {}

    @pytest.mark.parametrize("tags", [set(), {"loss"}, {"thermo/equilibrium_reference"}, {"thermo_heat/other"}])
    def test_no_known_tag_no_layout(self, tags):
        assert custom_scalar_layout(LAYERS, tags) == {}

    def test_size_does_not_depend_on_the_number_of_layers(self):
        many = [f"blocks.{index}" for index in range(200)]
        assert custom_scalar_layout(many, tags_of(many)) == custom_scalar_layout(LAYERS, tags_of(LAYERS))

    def test_runs_of_different_models_share_their_charts(self, tmp_path):
        for run, layers in (("one", ("net.0",)), ("two", LAYERS)):
            with SummaryWriter(tmp_path / run) as writer:
                write_page([PrefixedWriter(writer)], layers, tags_of(layers))
        layout = json.loads(plugin_of(tmp_path).layout_impl(context.RequestContext(), ""))
        titles = [chart["title"] for category in layout["category"] for chart in category["chart"]]
        assert sorted(titles) == sorted(charts_of(custom_scalar_layout(LAYERS, tags_of(LAYERS))))


class TestWriting:
    def test_page_holds_the_legend_of_what_is_logged(self, tmp_path):
        with SummaryWriter(tmp_path) as writer:
            write_page([PrefixedWriter(writer)], ["net.0"], {"thermo/heat", "thermo_heat/net.0"})
        events = EventAccumulator(str(tmp_path)).Reload()
        text = events.Tensors("thermo/legend/text_summary")[0].tensor_proto.string_val[0].decode()
        assert "`thermo_heat/<layer>`" in text
        assert "`net.0`" in text
        assert "thermo/temperature" not in text

    def test_page_without_known_tags_stays_empty(self, tmp_path):
        with SummaryWriter(tmp_path) as writer:
            write_page([PrefixedWriter(writer)], ["net.0"], {"loss"})
        assert EventAccumulator(str(tmp_path)).Reload().Tags()["tensors"] == []

    def test_a_loggers_prefix_is_taken_over(self, tmp_path):
        logger = TensorBoardLogger(tmp_path, name="", version="run", prefix="c++")
        writers = tensorboard_writers([logger])
        layers, tags = ["net.0"], tags_of(["net.0"])
        write_page(writers, layers, tags)
        write_equilibrium_reference(writers, 3)
        write_heat_map(writers, short_history(), 3)
        logger.log_metrics(dict.fromkeys(tags, 1.0), step=3)
        logger.finalize("success")

        drawn = drawn_by_tensorboard(tmp_path, "run")
        reference = "c++-thermo/equilibrium_reference"
        assert drawn["Equilibrium ratio of the run: 1 if it is"] == {"c++-thermo/equilibrium_ratio", reference}
        assert drawn["Equilibrium ratio by layer"] == {"c++-thermo_equilibrium_ratio/net.0", reference}
        charts = charts_of(custom_scalar_layout(layers, tags, prefix=writers[0].prefix))
        logged = EventAccumulator(str(tmp_path / "run")).Reload().Tags()
        assert set(charts["Temperature of the run, 95 % band"][1]) <= set(logged["scalars"])
        assert logged["images"] == ["c++-thermo/temperature_by_layer"]
        assert "c++-thermo/legend/text_summary" in logged["tensors"]

    def test_every_writer_gets_the_page(self, tmp_path):
        with SummaryWriter(tmp_path / "a") as one, SummaryWriter(tmp_path / "b") as two:
            writers = tensorboard_writers([one, two])
            write_page(writers, LAYERS, tags_of(LAYERS))
            write_heat_map(writers, short_history(), 19)
        for run in ("a", "b"):
            tags = EventAccumulator(str(tmp_path / run)).Reload().Tags()
            assert set(tags["tensors"]) == {"custom_scalars__config__", "thermo/legend/text_summary"}
            assert tags["images"] == ["thermo/temperature_by_layer"]

    def test_reference_is_one_at_its_step(self, tmp_path):
        with SummaryWriter(tmp_path) as writer:
            write_equilibrium_reference([PrefixedWriter(writer)], 49)
            write_equilibrium_reference([PrefixedWriter(writer)], 99)
        events = EventAccumulator(str(tmp_path)).Reload().Scalars("thermo/equilibrium_reference")
        assert [(event.step, event.value) for event in events] == [(49, 1.0), (99, 1.0)]

    def test_heat_map_is_an_image_at_its_step(self, tmp_path):
        with SummaryWriter(tmp_path) as writer:
            write_heat_map([PrefixedWriter(writer)], short_history(), 19)
        (image,) = EventAccumulator(str(tmp_path)).Reload().Images("thermo/temperature_by_layer")
        assert image.step == 19
        assert (image.width, image.height) == (750, 300)

    def test_nothing_is_drawn_for_nobody_or_of_nothing(self, tmp_path, monkeypatch):
        def refuse(history):
            raise AssertionError("a figure was drawn")

        monkeypatch.setitem(write_heat_map.__globals__, "temperature_heat_map", refuse)
        write_heat_map([], short_history(), 19)
        with SummaryWriter(tmp_path) as writer:
            write_heat_map([PrefixedWriter(writer)], TemperatureHistory(), 0)
        assert EventAccumulator(str(tmp_path)).Reload().Tags()["images"] == []

    def test_pyplot_and_the_chosen_backend_are_left_alone(self, tmp_path, monkeypatch):
        monkeypatch.setitem(matplotlib.rcParams, "backend", "svg")
        monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it now fails
        settings = dict(matplotlib.rcParams)
        with SummaryWriter(tmp_path) as writer:
            write_heat_map([PrefixedWriter(writer)], short_history(), 19)
        assert dict(matplotlib.rcParams) == settings
        assert settings["backend"] == "svg"

    def test_no_random_number_is_drawn(self, tmp_path):
        before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 - the global stream is meant
        with SummaryWriter(tmp_path) as writer:
            writers = tensorboard_writers([writer])
            write_page(writers, LAYERS, tags_of(LAYERS))
            write_equilibrium_reference(writers, 19)
            write_heat_map(writers, short_history(), 19)
        assert random.getstate() == before[0]
        assert all(np.array_equal(new, old) for new, old in zip(np.random.get_state(), before[1], strict=True))  # noqa: NPY002
        assert torch.equal(torch.get_rng_state(), before[2])


def test_reports_import_matplotlib_only_when_they_draw_and_lightning_never():
    for path in (Path(sys.modules["thermo_callbacks.reports"].__file__).parent).glob("*.py"):
        pattern = re.compile(r"^( *)(?:from|import) (matplotlib|lightning|pytorch_lightning)", re.MULTILINE)
        imports = pattern.findall(path.read_text("utf-8"))
        assert all(indent and package == "matplotlib" for indent, package in imports), path.name
