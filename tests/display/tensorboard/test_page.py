"""The page as TensorBoard itself reads it back from event files."""

from __future__ import annotations

import math
import random
import re
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard_page import charts_of, drawn_by_tensorboard, page_of
from torch.utils.tensorboard import SummaryWriter

from thermo_callbacks.display import (
    Engine,
    LayerHistory,
    PathHistory,
    PrefixedWriter,
    custom_scalar_layout,
    tensorboard_writers,
    write_engine_chart,
    write_equilibrium_reference,
    write_heat_map,
    write_laplacian_heat_map,
    write_page,
    write_spectrum,
    write_temperature_entropy_diagram,
)

BAND = ("temperature", "temperature_lower", "temperature_upper")
GLOBALS = {*BAND, "temperature_stderr", "heat", "equilibrium_ratio", "noise_scale"}
FAMILIES = ("temperature", "heat", "equilibrium_ratio", "noise_scale")
LAYERS = ("net.0", "block[1]", "a+b(c)", "net.10")


def tags_of(layers):
    return {f"thermo/{name}" for name in GLOBALS} | {f"thermo_{name}/{layer}" for name in FAMILIES for layer in layers}


def legends_in(folder):
    events = EventAccumulator(str(folder)).Reload().Tensors("thermo/legend/text_summary")
    return [(event.step, event.tensor_proto.string_val[0].decode()) for event in events]


def short_path():
    path = PathHistory()
    path.append(9, -10.0, 2e-3)
    path.append(19, -20.0, 1e-3)
    return path


def short_history():
    history = LayerHistory()
    history.append(9, {"net.0": 1e-3, "block[1]": math.nan})
    history.append(19, {"net.0": 2e-3, "block[1]": -1e-4})
    return history


def write_all_figures(writers):
    write_heat_map(writers, short_history(), 19)
    write_laplacian_heat_map(writers, short_history(), 19)
    write_temperature_entropy_diagram(writers, short_path(), 19)
    write_engine_chart(writers, [Engine("relu", 0.5, 0.5, "passive")], 19)


class TestWriting:
    def test_page_holds_the_legend_of_what_is_logged(self, tmp_path):
        with SummaryWriter(tmp_path) as writer:
            write_page([PrefixedWriter(writer)], ["net.0"], {"thermo/heat", "thermo_heat/net.0"})
        ((step, text),) = legends_in(tmp_path)
        assert step == 0
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
        assert drawn["Equilibrium ratio [ratio]: 1 if it is"] == {"c++-thermo/equilibrium_ratio", reference}
        assert drawn["Equilibrium ratio by layer [ratio]: 1 if it is"] == {"c++-thermo_equilibrium_ratio/net.0"}
        charts = charts_of(custom_scalar_layout(tags, prefix=writers[0].prefix))
        logged = EventAccumulator(str(tmp_path / "run")).Reload().Tags()
        assert set(charts["Temperature of the run [loss], 95 % band"][1]) <= set(logged["scalars"])
        assert logged["images"] == ["c++-thermo/temperature_by_layer"]
        assert "c++-thermo/legend/text_summary" in logged["tensors"]

    def test_page_grows_with_the_tags(self, tmp_path):
        with SummaryWriter(tmp_path / "run") as writer:
            writers = [PrefixedWriter(writer)]
            write_page(writers, ["net.0"], {"thermo/heat"}, 49)
            write_page(writers, ["net.0", "net.2"], {"thermo/heat", "thermo_laplacian/net.2"}, 99)
            for tag in ("thermo/heat", "thermo_laplacian/net.2"):
                writer.add_scalar(tag, 1.0, 99)
        assert drawn_by_tensorboard(tmp_path, "run") == {
            "Energy balance: loss, heat, residual [loss]": {"thermo/heat"},
            "Trace of the Hessian by layer [loss]": {"thermo_laplacian/net.2"},
        }
        (first, _), (second, text) = legends_in(tmp_path / "run")
        assert (first, second) == (49, 99)
        assert "**Trace of the Hessian (Laplacian)**" in text
        assert text.endswith("`net.0`, `net.2`")

    def test_what_has_no_value_yet_is_explained_and_not_drawn(self, tmp_path):
        sharpness, heat = "thermo/sharpness", "thermo/heat"
        with SummaryWriter(tmp_path) as writer:
            writers = [PrefixedWriter(writer)]
            titles = []
            for empty in ({sharpness}, {heat}, {heat, sharpness}):  # the last two: another monitor, and one value
                write_page(writers, [], {heat, sharpness}, 49, empty=empty)
                writer.flush()
                charts = [chart for category in page_of(tmp_path)["category"] for chart in category["chart"]]
                titles.append([chart["title"].partition(",")[0].partition(":")[0] for chart in charts])
        both = ["Sharpness", "Energy balance"]
        assert titles == [["Energy balance"], both, both]
        assert all(f"`{tag}`" in legends_in(tmp_path)[0][1] for tag in (heat, sharpness))

    def test_monitors_of_one_run_share_its_page(self, tmp_path):
        with SummaryWriter(tmp_path) as writer:
            write_page([PrefixedWriter(writer)], ["net.0"], {"thermo/heat"}, 49)
            write_page([PrefixedWriter(writer)], [], {"thermo/transition_temperature_shift"}, 99)
        titles = [chart["title"] for category in page_of(tmp_path)["category"] for chart in category["chart"]]
        balance, outputs = titles
        assert balance.startswith("Energy balance")
        assert outputs.startswith("Loss by entropy of the outputs")
        text = legends_in(tmp_path)[-1][1]
        assert "`thermo/heat`" in text
        assert "`thermo/transition_temperature_shift`" in text
        assert text.endswith("`net.0`")

    def test_what_the_page_says_already_is_not_written_again(self, tmp_path):
        with SummaryWriter(tmp_path) as writer:
            for step in range(5):
                write_page([PrefixedWriter(writer)], LAYERS, tags_of(LAYERS), step)
        events = EventAccumulator(str(tmp_path)).Reload()
        assert len(events.Tensors("custom_scalars__config__")) == 1
        assert [step for step, _ in legends_in(tmp_path)] == [0]

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
        assert (image.width, image.height) == (750, 360)

    @pytest.mark.parametrize(
        ("write", "what", "tag", "height"),
        [
            (write_laplacian_heat_map, short_history, "thermo/laplacian_by_layer", 360),
            (write_temperature_entropy_diagram, short_path, "thermo/temperature_entropy", 510),
            (write_engine_chart, lambda: [Engine("relu", 0.5)], "thermo/engines", 360),
        ],
    )
    def test_figure_is_an_image_at_its_step_under_the_prefix(self, write, what, tag, height, tmp_path):
        with SummaryWriter(tmp_path) as writer:
            write([PrefixedWriter(writer, "p-")], what(), 19)
        (image,) = EventAccumulator(str(tmp_path)).Reload().Images(f"p-{tag}")
        assert (image.step, image.width, image.height) == (19, 750, height)

    @pytest.mark.parametrize(
        ("write", "drawing", "full", "empty"),
        [
            (write_heat_map, "temperature_heat_map", short_history(), LayerHistory()),
            (write_laplacian_heat_map, "laplacian_heat_map", short_history(), LayerHistory()),
            (write_temperature_entropy_diagram, "temperature_entropy_diagram", short_path(), PathHistory()),
            (write_engine_chart, "engine_chart", [Engine("relu", 0.5)], []),
        ],
    )
    def test_nothing_is_drawn_for_nobody_or_of_nothing(self, write, drawing, full, empty, tmp_path, monkeypatch):
        def refuse(_):
            raise AssertionError("a figure was drawn")

        monkeypatch.setitem(write.__globals__, drawing, refuse)
        write([], full, 19)
        with SummaryWriter(tmp_path) as writer:
            write([PrefixedWriter(writer)], empty, 0)
        assert EventAccumulator(str(tmp_path)).Reload().Tags()["images"] == []

    @pytest.mark.parametrize("kind", [torch.tensor, np.array, list])
    def test_spectrum_is_a_histogram_of_its_finite_values(self, kind, tmp_path):
        with SummaryWriter(tmp_path) as writer:
            values = kind([0.1, 0.5, math.nan, 2.0, math.inf])
            write_spectrum([PrefixedWriter(writer, "p-")], "thermo/bulk_spectrum", values, 19)
        (event,) = EventAccumulator(str(tmp_path)).Reload().Histograms("p-thermo/bulk_spectrum")
        histogram = event.histogram_value
        assert event.step == 19
        assert (histogram.num, histogram.min, histogram.max, histogram.sum) == pytest.approx((3, 0.1, 2.0, 2.6))

    def test_spectrum_of_any_shape_dtype_and_history_of_gradients(self, tmp_path):
        values = torch.ones(2, 3, dtype=torch.bfloat16, requires_grad=True)
        with SummaryWriter(tmp_path) as writer:
            write_spectrum([PrefixedWriter(writer)], "thermo/bulk_spectrum", values, 0)
        (event,) = EventAccumulator(str(tmp_path)).Reload().Histograms("thermo/bulk_spectrum")
        assert event.histogram_value.num == 6

    def test_spectrum_is_in_the_legend_of_the_next_page(self, tmp_path):
        with SummaryWriter(tmp_path) as writer:
            write_spectrum([PrefixedWriter(writer, "p-")], "thermo/bulk_spectrum", [1.0, 2.0], 49)
            write_page([PrefixedWriter(writer, "p-")], [], {"thermo/complexity"}, 49)
        (event,) = EventAccumulator(str(tmp_path)).Reload().Tensors("p-thermo/legend/text_summary")
        assert "`thermo/bulk_spectrum`" in event.tensor_proto.string_val[0].decode()

    @pytest.mark.parametrize("values", [[], [math.nan, math.inf], torch.zeros(0)])
    def test_spectrum_without_values_is_not_written(self, values, tmp_path):
        with SummaryWriter(tmp_path) as writer:
            write_spectrum([PrefixedWriter(writer)], "thermo/bulk_spectrum", values, 0)
        assert EventAccumulator(str(tmp_path)).Reload().Tags()["histograms"] == []

    def test_pyplot_and_the_chosen_backend_are_left_alone(self, tmp_path, monkeypatch):
        monkeypatch.setitem(matplotlib.rcParams, "backend", "svg")
        monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it now fails
        settings = dict(matplotlib.rcParams)
        with SummaryWriter(tmp_path) as writer:
            write_all_figures([PrefixedWriter(writer)])
        assert dict(matplotlib.rcParams) == settings
        assert settings["backend"] == "svg"

    def test_no_random_number_is_drawn(self, tmp_path):
        before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 - the global stream is meant
        with SummaryWriter(tmp_path) as writer:
            writers = tensorboard_writers([writer])
            write_page(writers, LAYERS, tags_of(LAYERS))
            write_equilibrium_reference(writers, 19)
            write_all_figures(writers)
            write_spectrum(writers, "thermo/bulk_spectrum", [1.0, 2.0], 19)
        assert random.getstate() == before[0]
        assert all(np.array_equal(new, old) for new, old in zip(np.random.get_state(), before[1], strict=True))  # noqa: NPY002
        assert torch.equal(torch.get_rng_state(), before[2])


def test_display_imports_matplotlib_only_when_they_draw_and_lightning_never():
    for path in (Path(sys.modules["thermo_callbacks.display"].__file__).parent).rglob("*.py"):
        pattern = re.compile(r"^( *)(?:from|import) (matplotlib|lightning|pytorch_lightning)", re.MULTILINE)
        imports = pattern.findall(path.read_text("utf-8"))
        assert all(indent and package == "matplotlib" for indent, package in imports), path.name
