"""Values of one tag from several files."""

from __future__ import annotations

import math

import pytest

from thermo_callbacks.commands.report.series import Series


def series_of(*points):
    series = Series()
    for step, value, time in points:
        series.add(step, value, time)
    return series


def test_steps_come_in_order_whatever_the_order_of_writing():
    series = series_of((30, 3.0, 1.0), (10, 1.0, 2.0), (20, 2.0, 3.0))
    assert series.steps.tolist() == [10, 20, 30]
    assert series.values.tolist() == [1.0, 2.0, 3.0]
    assert (series.last_step, series.last) == (30, 3.0)


@pytest.mark.parametrize("first_read", ["early", "late"])
def test_the_later_writer_wins_whichever_file_is_read_first(first_read):
    early, late = series_of((10, 1.0, 100.0), (20, 2.0, 101.0)), series_of((20, -2.0, 200.0), (30, -3.0, 201.0))
    merged = Series()
    for part in (early, late) if first_read == "early" else (late, early):
        merged.merge(part)
    assert merged.steps.tolist() == [10, 20, 30]
    assert merged.values.tolist() == [1.0, -2.0, -3.0]


def test_of_equal_times_the_value_added_last_counts():
    assert series_of((10, 1.0, 5.0), (10, 2.0, 5.0)).values.tolist() == [2.0]


def test_nan_is_a_value_that_was_logged():
    series = series_of((10, 1.0, 1.0), (20, math.nan, 2.0))
    assert len(series) == 2
    assert math.isnan(series.last)
    assert math.isnan(series.values[1])


def test_an_empty_series():
    series = Series()
    assert len(series) == 0
    assert series.last_step == -1
    assert math.isnan(series.last)
    assert series.steps.shape == series.values.shape == (0,)
