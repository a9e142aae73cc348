"""Charts: every logged point has its place, gaps stay gaps."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest

from thermo_callbacks.commands.report.chart import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Chart,
    Line,
    chart_of,
    scales_of,
    tick_label,
)
from thermo_callbacks.commands.report.series import Series


def series_of(values, steps=None):
    series = Series()
    for step, value in zip(range(len(values)) if steps is None else steps, values, strict=True):
        series.add(step, value, 0.0)
    return series


def line_of(values, name="line", **options):
    return Line(name, series_of(values), "red", **options)


def corners(path):
    return [tuple(map(float, corner)) for corner in re.findall(r"(-?[\d.]+),(-?[\d.]+)", path)]


def drawn(values, **options):
    (line,) = chart_of("title", [line_of(values, **options)]).drawn
    return line


def test_each_point_stands_where_its_step_and_value_say():
    values = [0.0, 1.0, 0.25, 0.5]
    chart = chart_of("title", [line_of(values)])
    (line,) = chart.drawn
    points = np.array(corners(line["path"]))
    np.testing.assert_allclose(points[:, 0], np.linspace(LEFT, WIDTH - RIGHT, 4), atol=0.05)
    low, high = points[0, 1], points[1, 1]
    assert TOP <= high < low <= HEIGHT - BOTTOM
    np.testing.assert_allclose(points[:, 1], [low + value * (high - low) for value in values], atol=0.06)
    assert (line["logged"], line["shown"]) == (4, 4)


@pytest.mark.parametrize(
    ("values", "pieces", "dots"),
    [
        ([1.0, 2.0, math.nan, 3.0, 4.0], [2, 2], 0),
        ([math.nan, 1.0, 2.0, 3.0], [3], 0),
        ([1.0, math.nan, 2.0, 3.0, math.nan, 4.0], [2], 2),
        ([1.0, math.inf, 2.0], [], 2),
        ([5.0], [], 1),
        ([math.nan], [], 0),
    ],
)
def test_values_that_are_nan_leave_a_gap(values, pieces, dots):
    line = drawn(values)
    assert [piece.count(",") for piece in line["path"].split("M")[1:]] == pieces
    assert line["dots"].count("h0") == dots


def test_a_band_surrounds_its_line_and_has_its_gaps():
    values, lower, upper = [2.0, 3.0, 2.0, 3.0], [1.0, 2.0, math.nan, 2.5], [3.0, 4.0, math.nan, 3.5]
    band = drawn(values, lower=series_of(lower), upper=series_of(upper))["band"]
    first, second = band.split("Z")[:2]
    assert len(corners(first)) == 4
    assert len(corners(second)) == 2
    line = corners(drawn(values, lower=series_of(lower), upper=series_of(upper))["path"])
    (_, above), (_, _), (_, _), (_, below) = corners(first)
    assert above < line[0][1] < below


def test_huge_first_errors_do_not_press_the_line_flat():
    lower, upper = [-1e6, 1.8, 2.8], [1e6, 2.2, 3.2]
    chart = chart_of("title", [line_of([1.0, 2.0, 3.0], lower=series_of(lower), upper=series_of(upper))])
    heights = np.array(corners(chart.drawn[0]["path"]))[:, 1]
    assert np.ptp(heights) > 0.25 * (HEIGHT - TOP - BOTTOM)


def test_a_band_that_reaches_zero_goes_below_a_logarithmic_axis():
    values = [1.0, 10.0, 1000.0]
    lower = series_of([-1.0, 5.0, 900.0])
    chart = chart_of("title", [line_of(values, lower=lower, upper=series_of([2.0, 15.0, 1100.0]))])
    assert chart.y_scale.kind == "log"
    assert max(y for _, y in corners(chart.drawn[0]["band"])) == HEIGHT


def test_the_data_for_the_pointer_are_the_values():
    lines = [line_of([1.0, math.nan, 3.123456789]), Line("b</script>", series_of([4.0], [2]), "red")]
    text = chart_of("title", lines).data
    assert "</script" not in text
    data = json.loads(text)
    assert [line["name"] for line in data["lines"]] == ["line", "b</script>"]
    assert [line["values"] for line in data["lines"]] == [[1.0, None, 3.1235], [4.0]]
    assert [data["steps"][line["steps"]] for line in data["lines"]] == [[0, 1, 2], [2]]


def test_charts_beside_each_other_have_the_same_axes():
    first, second = [line_of([1.0, 2.0])], [Line("other", series_of([5.0, 9.0], [40, 90]), "red")]
    scales = scales_of([*first, *second])
    charts = [Chart("a", first, *scales), Chart("b", second, *scales)]
    assert charts[0].x_scale == charts[1].x_scale
    assert charts[0].y_scale == charts[1].y_scale
    assert charts[0].x_scale.upper == 90.0


def test_a_long_line_is_thinned_and_says_so():
    values = list(np.sin(np.arange(5000)))
    chart = chart_of("title", [line_of(values)])
    (line,) = chart.drawn
    assert line["logged"] == 5000
    assert line["shown"] == line["path"].count(",") <= 600
    assert "Long lines are drawn by the lowest and highest point of each of 300 stretches." in chart.note
    assert chart_of("title", [line_of(values[:600])]).note == ""


def test_a_chart_in_words():
    lines = [line_of([1.0, 2.5], "net.0"), line_of([1.0, math.nan], "net.2")]
    assert chart_of("Heat", lines).description == "Heat. Steps 0 to 1. Last values: net.0 2.5, net.2 no value."
    many = [line_of([1.0, 2.5], str(place)) for place in range(20)]
    assert chart_of("Heat", many).description.endswith("11 2.5, and 8 more.")


def test_the_axes_have_round_labels():
    chart = chart_of("title", [line_of([0.0, 1.0]), Line("late", series_of([0.5], [1000]), "red")])
    assert [label for _, label in chart.x_ticks] == ["0", "200", "400", "600", "800", "1,000"]
    assert [label for _, label in chart.y_ticks] == ["0", "0.2", "0.4", "0.6", "0.8", "1"]
    assert [place for place, _ in chart.x_ticks] == sorted(place for place, _ in chart.x_ticks)


@pytest.mark.parametrize(
    ("value", "label"),
    [(1e-3, "0.001"), (9e-4, "9e−4"), (-2e6, "−2e6"), (-2e5, "−200,000"), (2.5e-7, "2.5e−7"), (1e6, "1e6")],
)
def test_labels_are_short(value, label):
    assert tick_label(value) == label


def test_a_band_keeps_an_axis_near_its_line():
    values = [1.0, 10.0, 1000.0]
    near = line_of(values, lower=series_of([0.9, 9.0, 900.0]), upper=series_of([1.1, 11.0, 1100.0]))
    far = line_of(values, lower=series_of([1e-9, 9.0, 900.0]), upper=series_of([1.1, 11.0, 1100.0]))
    low = [chart_of("title", [line]).y_scale.lower for line in (near, far)]
    assert all(0.5 < each < 1.0 for each in low)
    reaching = line_of(values, lower=series_of([-900.0, -5.0, 900.0]), upper=series_of([1.1, 11.0, 1100.0]))
    assert chart_of("title", [reaching]).y_scale.kind == "log"
    narrow = line_of([1.0, 2.0], lower=series_of([-0.5, 1.0]), upper=series_of([2.0, 2.5]))
    assert chart_of("title", [narrow]).y_scale.lower > 0.0


def test_a_band_without_a_finite_lower_end_has_a_gap_on_a_logarithmic_axis():
    lower, upper = [0.9, 9.0, math.nan, 900.0, 9000.0], [1.1, 11.0, 110.0, 1100.0, 11000.0]
    chart = chart_of("t", [line_of([1.0, 10.0, 100.0, 1000.0, 1e4], lower=series_of(lower), upper=series_of(upper))])
    assert chart.y_scale.kind == "log"
    assert chart.drawn[0]["band"].count("M") == 2


def test_a_long_band_keeps_the_peaks_of_its_upper_end():
    values, upper = np.ones(5000), np.full(5000, 1.1)
    upper[2345] = 1.2
    line = line_of(list(values), lower=series_of(list(np.full(5000, 0.9))), upper=series_of(list(upper)))
    chart = chart_of("title", [line])
    highest = float(chart.up(np.array([1.2]))[0])
    assert min(y for _, y in corners(chart.drawn[0]["band"])) == pytest.approx(highest, abs=0.06)


def test_steps_are_labelled_at_whole_numbers_alone():
    assert [label for _, label in chart_of("title", [line_of([0.0, 1.0])]).x_ticks] == ["0", "1"]


def test_a_reference_has_a_place_within_the_axes():
    chart = chart_of("title", [line_of([5.0, 6.0])], reference=1.0)
    assert TOP <= chart.reference_place <= HEIGHT - BOTTOM


def test_what_lies_far_outside_of_the_drawing_is_cut():
    lower, upper = [1.0, -1e30, 1.0], [3.0, 1e30, 3.0]
    band = drawn([2.0, 2.5, 2.0], lower=series_of(lower), upper=series_of(upper))["band"]
    assert max(abs(y) for _, y in corners(band)) == 1e4
