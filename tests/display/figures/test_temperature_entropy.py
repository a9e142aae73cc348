"""The temperature-entropy diagram, read off the figure."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection

from thermo_callbacks.display import PathHistory, temperature_entropy_diagram
from thermo_callbacks.display.figures.canvas import render


def diagram_of(entropies, temperatures, every=10):
    path = PathHistory()
    for index, point in enumerate(zip(entropies, temperatures, strict=True)):
        path.append(every * (index + 1), *point)
    return temperature_entropy_diagram(path)


def parts(figure):
    axes = figure.axes[0]
    (dots,) = [part for part in axes.collections if isinstance(part, PathCollection)]
    lines = [part for part in axes.collections if isinstance(part, LineCollection)]
    marks = {mark.get_label(): (mark.get_xdata()[0], mark.get_ydata()[0]) for mark in axes.lines}
    return axes, dots, lines, marks


def test_entropy_goes_across_and_temperature_up():
    axes, dots, (line,), marks = parts(diagram_of([3.0, 2.0, 1.0], [5.0, 6.0, 4.0]))
    points = [[3.0, 5.0], [2.0, 6.0], [1.0, 4.0]]
    assert dots.get_offsets().tolist() == points
    assert [piece.tolist() for piece in line.get_segments()] == [points[:2], points[1:]]
    assert marks == {"start": (3.0, 5.0), "end": (1.0, 4.0)}
    assert "entropy" in axes.get_xlabel()
    assert "[nats]" in axes.get_xlabel()
    assert axes.get_ylabel() == "temperature [units of the loss]"


def test_colour_is_the_step():
    figure = diagram_of([3.0, 2.0, 1.0], [5.0, 6.0, 4.0])
    _, dots, (line,), _ = parts(figure)
    assert dots.get_array().tolist() == [10.0, 20.0, 30.0]
    assert line.get_array().tolist() == [15.0, 25.0]
    assert line.get_clim() == dots.get_clim() == (10.0, 30.0)
    assert line.get_cmap().name == dots.get_cmap().name
    assert figure.axes[1].get_ylabel() == "step"


def test_line_runs_through_means_of_a_long_path():
    rising = np.arange(120.0)
    _, dots, (line,), marks = parts(diagram_of(rising, 1.0 + rising))
    assert len(dots.get_offsets()) == 120
    corners = np.array([segment[0] for segment in line.get_segments()])
    np.testing.assert_allclose(corners[:, 0], 1.0 + 3.0 * np.arange(39))  # of three points each
    assert marks["end"] == (118.0, 119.0)


@pytest.mark.parametrize("temperatures", [[4.0, 3.0, 1.0], [400.0, 30.0, 1.0]])
def test_arrows_point_along_the_path_at_equal_distances(temperatures):
    axes = diagram_of([3.0, 2.0, 1.0], temperatures).axes[0]
    steepness = math.log if axes.get_yscale() == "log" else float
    heads = [(arrow.xyann, arrow.xy) for arrow in axes.texts if arrow.arrow_patch is not None]
    assert len(heads) == 5
    for (x, y), (x_ahead, y_ahead) in heads:
        assert x_ahead < x
        assert y_ahead < y
        piece = 0 if x > 2.0 else 1
        slope = steepness(temperatures[piece]) - steepness(temperatures[piece + 1])
        assert steepness(y) - steepness(y_ahead) == pytest.approx(slope * (x - x_ahead))


@pytest.mark.parametrize(
    ("temperatures", "scale"),
    [([1.0, 19.0], "linear"), ([1.0, 21.0], "log"), ([-0.1, 21.0], "linear"), ([0.0, 21.0], "linear")],
)
def test_temperatures_are_logarithmic_where_they_range_widely(temperatures, scale):
    figure = diagram_of([1.0, 2.0], temperatures)
    assert figure.axes[0].get_yscale() == scale
    render(figure)


def test_one_point():
    figure = diagram_of([3.0], [5.0])
    _, _, lines, marks = parts(figure)
    assert lines == []
    assert marks == {"the only point so far": (3.0, 5.0)}
    assert len(figure.axes) == 1  # no bar for one colour
    render(figure)


def test_path_that_stands_still():
    axes, _, (line,), marks = parts(diagram_of([3.0, 3.0], [5.0, 5.0]))
    assert len(line.get_segments()) == 1
    assert not axes.texts
    assert marks["start"] == marks["end"]


def test_no_point():
    figure = temperature_entropy_diagram(PathHistory())
    assert [text.get_text() for text in figure.axes[0].texts] == ["no windows with an entropy and a temperature yet"]


@pytest.mark.parametrize("offset", [0.0, -2.5e5, -7e8])
def test_ticks_of_entropy_do_not_overlap(offset):
    figure = diagram_of(offset + np.linspace(0.0, -3e5, 9), np.linspace(2.0, 1.0, 9))
    render(figure)
    axes = figure.axes[0]
    low, high = axes.get_xlim()
    labels = [label for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high]
    boxes = sorted((label.get_window_extent() for label in labels), key=lambda box: box.x0)
    assert len(boxes) > 2
    assert all(left.x1 <= right.x0 for left, right in pairwise(boxes))
