"""The figure of a comparison."""

from __future__ import annotations

import itertools
import math
import sys

import numpy as np
import pytest
from comparison_runs import DIVERGED, FAILED, run, runs

from thermo_callbacks.comparison.figure import comparison_figure, line_styles, mean_path
from thermo_callbacks.comparison.records import PathPoint, estimate


def lines(axes, colour):
    return [line for line in axes.lines if line.get_color() == colour and len(line.get_xdata()) > 1]


def test_efficiency_by_depth_is_the_mean_with_its_interval():
    axes = comparison_figure(runs(["ReLU", "Tanh"])).axes[0]
    style = line_styles(["ReLU"])["ReLU"]
    (line,) = lines(axes, style.colour)
    assert line.get_xdata().tolist() == [1, 2]
    np.testing.assert_allclose(line.get_ydata(), [0.51, 0.51])
    heights = axes.collections[0].get_paths()[0].vertices[:, 1]
    expected = estimate([0.5, 0.51, 0.52])
    assert heights.min() == pytest.approx(expected.lower)
    assert heights.max() == pytest.approx(expected.upper)


def test_line_at_one_is_inside():
    axes = comparison_figure(runs(["Tanh"])).axes[0]
    assert axes.get_ylim()[1] > 1.0
    assert any(list(line.get_ydata()) == [1.0, 1.0] for line in axes.lines)


def test_paths_go_from_the_hollow_marker_to_the_full_one():
    axes = comparison_figure(runs(["ReLU"])).axes[1]
    path, start, end = axes.lines
    np.testing.assert_allclose(path.get_xdata(), [-100011, -100021, -100031])
    np.testing.assert_allclose(path.get_ydata(), [11e-5, 21e-5, 31e-5])
    assert (start.get_xdata()[0], end.get_xdata()[0]) == (-100011, -100031)
    assert start.get_markerfacecolor() == "white"
    assert end.get_markerfacecolor() == path.get_color()
    assert axes.get_yscale() == "log"


def test_temperature_below_zero_has_a_linear_axis():
    record = run("ReLU", 0, path=[PathPoint(1, 0.0, -1e-6), PathPoint(2, 1.0, 1e-6)])
    assert comparison_figure([record]).axes[1].get_yscale() == "linear"


def test_mean_path_takes_the_steps_that_all_runs_have():
    first = run("ReLU", 0, path=[PathPoint(1, 0.0, 2.0), PathPoint(2, 4.0, 6.0), PathPoint(3, 1.0, math.nan)])
    second = run("ReLU", 1, path=[PathPoint(2, 2.0, 2.0), PathPoint(3, 1.0, 1.0), PathPoint(4, 1.0, 1.0)])
    assert mean_path([first, second]).tolist() == [[3.0, 4.0]]
    assert mean_path([first]).tolist() == [[0.0, 2.0], [4.0, 6.0]]
    assert mean_path([run("ReLU", 0, path=[])]).shape == (0, 2)


def test_efficiency_against_loss_has_a_point_a_run_and_the_means():
    axes = comparison_figure(runs(["ReLU", "Tanh"])).axes[2]
    points = [line for line in axes.lines if line.get_linestyle() == "None" and len(line.get_xdata()) == 3]
    np.testing.assert_allclose(points[0].get_ydata(), [0.40, 0.41, 0.42])
    np.testing.assert_allclose(points[0].get_xdata(), [0.5**2, 0.51**2, 0.52**2])
    assert len(points) == len(axes.containers) == 2


@pytest.mark.parametrize(
    ("key", "values", "scale"),
    [
        ("work_efficiency", (1.0, 0.01), "log"),
        ("work_efficiency", (1.0, 0.05), "linear"),
        ("work_efficiency", (1.0, 0.0), "linear"),
        ("val_loss_final", (1.0, 0.2), "log"),
        ("val_loss_final", (1.0, 0.3), "linear"),
    ],
)
def test_values_far_apart_have_a_logarithmic_axis_with_plain_numbers(key, values, scale):
    records = [
        run(name, 0, values={"work_efficiency": 0.5, "val_loss_final": 0.5, key: value})
        for name, value in zip(("ReLU", "Tanh"), values, strict=True)
    ]
    axes = comparison_figure(records).axes[2]
    axis = axes.xaxis if key == "work_efficiency" else axes.yaxis
    assert axis.get_scale() == scale
    assert {axes.xaxis.get_scale(), axes.yaxis.get_scale()} == {scale, "linear"}
    if scale == "log":
        assert [axis.get_major_formatter()(value) for value in (0.02, 0.5)] == ["0.02", "0.5"]


def test_runs_that_did_not_finish_are_left_out():
    figure = comparison_figure([*runs(["ReLU"]), FAILED, DIVERGED])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ReLU"]


@pytest.mark.parametrize("records", [[], [FAILED], [run("ReLU", 0, values={}, work_efficiency=[], path=[])]])
def test_panel_with_nothing_to_show_says_so(records):
    figure = comparison_figure(records)
    assert [axes.texts[-1].get_text() for axes in figure.axes] == ["not measured"] * 3


def test_looks_stay_and_differ():
    names = ["ReLU", "Tanh", "GELU", "SELU", "mine", "yours", "LeakyReLU(negative_slope=0.2)", "Hardswish"]
    chosen = line_styles(names)
    assert len(set(chosen.values())) == len(names)
    for name in ("ReLU", "Tanh", "mine"):
        assert line_styles([name])[name] == chosen[name]
    assert len(set(line_styles([f"f{i}" for i in range(21)]).values())) == 21
    assert len(line_styles([f"f{i}" for i in range(40)])) == 40


def test_colours_differ_for_eyes_that_see_two_kinds_of_light():
    """Without the cones for long waves, by Viénot's matrix: the first seven differ clearly."""
    from matplotlib.colors import to_rgb

    matrix = np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]])
    colours = [
        style.colour for style in line_styles(["ReLU", "Tanh", "GELU", "SELU", "SiLU", "ELU", "Sigmoid"]).values()
    ]
    seen = [matrix @ (np.array(to_rgb(colour)) ** 2.2) for colour in colours]
    assert min(np.abs(a - b).max() for a, b in itertools.combinations(seen, 2)) > 0.03


def test_figure_leaves_pyplot_alone_and_can_be_saved(tmp_path):
    before = "matplotlib.pyplot" in sys.modules
    comparison_figure(runs()).savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    assert ("matplotlib.pyplot" in sys.modules) == before


def test_name_with_a_dollar_is_no_formula(tmp_path):
    record = run("ReLU", 0, activation="$\\nothing$")
    comparison_figure([record]).savefig(tmp_path / "figure.png")
