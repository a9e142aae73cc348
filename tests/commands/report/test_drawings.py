"""Figures drawn again from the logs."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import numpy as np
import pytest
from commands.report.test_runs import run_with

from thermo_callbacks.commands.report import drawings
from thermo_callbacks.commands.report.discovery import find_runs
from thermo_callbacks.commands.report.drawings import drawings_of, spectrum_figure
from thermo_callbacks.commands.report.log import LoggedHistogram, LoggedImage
from thermo_callbacks.display.text.configuration import configuration_text

PNG = b"\x89PNG\r\n\x1a\n logged"


def decoded(drawing):
    return base64.b64decode(drawing.source.partition("base64,")[2])


def flat(figures):
    return [drawing for figure in figures for drawing in figure]


@pytest.fixture(scope="module")
def made(logs):
    runs = find_runs([logs.both, logs.table])
    return runs, drawings_of(runs)


def test_figures_of_event_files_and_of_a_table_alone(made):
    runs, figures = made[0], flat(made[1])
    captions = [
        "Temperature by layer and step",
        "Trace of the Hessian by layer and step",
        "Path through temperature and entropy",
        "Activations through the depth",
    ]
    wanted = [f"{caption}: {run.name}" for caption in captions for run in runs]
    assert [drawing.caption for drawing in figures] == [
        *wanted,
        "Spectrum of the neurons: slow",
    ]


def test_drawings_are_vectors_with_words_as_text_and_refer_to_nothing(made):
    figures = flat(made[1])
    for drawing in figures:
        root = ET.fromstring(decoded(drawing))
        texts = ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]
        assert any("?" in text for text in texts), drawing.caption
        links = [value for each in root.iter() for key, value in each.attrib.items() if key.endswith("href")]
        assert all(link.startswith(("#", "data:")) for link in links)
    assert any("net.0" in decoded(drawing).decode() for drawing in figures[:2])


def test_the_map_holds_the_logged_temperatures(logs, monkeypatch):
    histories = []

    def draw(history):
        histories.append(history)
        return SimpleNamespace(axes=[], savefig=lambda stream, **_: stream.write("<svg></svg>"))

    monkeypatch.setitem(drawings._FIGURES, "Temperature by layer and step", drawings._map("thermo_temperature", draw))
    runs = find_runs([logs.table])
    drawings_of(runs)
    (history,) = histories
    assert history.layers == ("net.0", "net.2", "net.4")
    logged = [runs[0].scalars[f"thermo_temperature/{layer}"].values for layer in history.layers]
    np.testing.assert_array_equal(history.values, logged)


def engines_run(kinds, *, logged):
    """Activations of several types, as a version wrote them that notes their engine types, or (None) as older ones."""
    record = {"thermo_engine/ReLU": 0.5, "thermo_engine/Tanh": 0.4}
    run = run_with({1: record | {f"thermo_work_efficiency/{name}": 0.45 for name in ("a", "b", "c")}})
    if kinds is not None:
        run.texts["thermo/run_configuration"] = configuration_text({"engine_types": kinds})
    if logged:
        run.images["thermo/engines"] = LoggedImage(1, PNG)
    return run


@pytest.mark.parametrize("logged", [True, False])
def test_activations_have_the_engine_types_that_were_logged(logged):
    run = engines_run({"a": "passive", "b": "driven", "c": None}, logged=logged)
    assert run.configurations.engine_types == {"a": "passive", "b": "driven"}
    ((drawing,),) = drawings_of([run])
    assert drawing.source.startswith("data:image/svg+xml")
    text = decoded(drawing).decode()
    assert all(f"work, {kind}" in text for kind in ("passive", "driven", "unknown type"))


@pytest.mark.parametrize("kinds", [None, {}, {"a": "mine"}, ["passive"]])
@pytest.mark.parametrize("logged", [True, False])
def test_activations_of_logs_without_engine_types_are_shown_as_logged(kinds, logged):
    ((drawing,),) = drawings_of([engines_run(kinds, logged=logged)])
    assert drawing.source.startswith("data:image/png" if logged else "data:image/svg+xml")
    assert (decoded(drawing) == PNG) == logged
    if not logged:
        assert b"work, unknown type" in decoded(drawing)


def test_images_that_no_numbers_tell_of_are_shown_as_logged():
    run = run_with({1: {"thermo/topology_disorder": 0.5}})
    run.images |= {
        "thermo/some_picture": LoggedImage(3, PNG),
        "thermo/other": LoggedImage(3, b"GIF89a"),
        "samples": LoggedImage(3, PNG),
    }
    ((drawing,),) = drawings_of([run])
    assert drawing.caption == "some picture, step 3: run"
    assert decoded(drawing) == PNG


def test_equal_figures_of_runs_stand_together(made):
    _, figures = made
    assert [len(figure) for figure in figures] == [2, 2, 2, 2, 1]  # preset full alone has a spectrum
    assert all(len({drawing.caption.partition(":")[0] for drawing in figure}) == 1 for figure in figures)


def test_the_spectrum_has_the_logged_counts():
    figure = spectrum_figure(LoggedHistogram(7, [0.1, 1.0, 10.0, 100.0], [5.0, 0.0, 2.0]))
    (axes,) = figure.axes
    (stairs,) = axes.patches
    values, edges, _ = stairs.get_data()
    np.testing.assert_array_equal(values, [5.0, 0.0, 2.0])
    np.testing.assert_array_equal(edges, [0.1, 1.0, 10.0, 100.0])
    assert axes.get_xscale() == "log"
    assert spectrum_figure(LoggedHistogram(7, [0.1, 1.0], [5.0])).axes[0].get_xscale() == "linear"


def test_pyplot_is_not_touched(made):
    import matplotlib

    assert matplotlib.rcParams["svg.fonttype"] == "path"
    assert matplotlib.rcParams["svg.hashsalt"] is None


def test_the_path_has_the_steps_that_both_numbers_have(monkeypatch):
    paths = []

    def draw(path):
        paths.append(path)
        return SimpleNamespace(axes=[], savefig=lambda stream, **_: stream.write("<svg></svg>"))

    monkeypatch.setattr(drawings, "temperature_entropy_diagram", draw)
    both = {"thermo/entropy": -7.0, "thermo/temperature": 0.5}
    drawings_of([run_with({1: both, 2: {"thermo/entropy": -6.0}, 3: {**both, "thermo/temperature": 0.25}})])
    (path,) = paths
    assert list(path.steps) == [1, 3]
    assert list(path.entropies) == [-7.0, -7.0]
    assert list(path.temperatures) == [0.5, 0.25]
