"""Scales of charts: kind, ends, places, round values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from thermo_callbacks.commands.report.scale import Scale, scale_of
from thermo_callbacks.commands.report.thinning import most_points, thin

FINITE = st.floats(min_value=-1e30, max_value=1e30, allow_nan=False)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1.0, 49.0], "linear"),
        ([1.0, 51.0], "log"),
        ([-1.0, 2.0, 3.0], "linear"),
        ([0.0, 1.0, 1.0, 2.0, 100.0], "symlog"),
        ([-500.0, 1.0, 1.1, 0.9], "symlog"),
        ([math.nan, 2.0, math.inf], "linear"),
    ],
)
def test_the_kind_follows_from_the_values(values, kind):
    assert scale_of(np.array(values)).kind == kind


@given(arrays(np.float64, st.integers(1, 30), elements=FINITE))
def test_all_values_are_on_the_axis_in_their_order(values):
    scale = scale_of(values)
    places = scale.place(np.sort(values))
    assert np.all((places >= -1e-9) & (places <= 1.0 + 1e-9))
    assert np.all(np.diff(places) >= 0.0)


@given(arrays(np.float64, st.integers(1, 30), elements=FINITE))
def test_round_values_are_few_increasing_and_on_the_axis(values):
    scale = scale_of(values)
    ticks = scale.ticks()
    assert len(ticks) <= 15
    assert ticks == sorted(ticks)
    assert np.all(np.diff(scale.place(np.array(ticks))) > 0.06)  # room for a line of text
    assert all(scale.lower <= tick <= scale.upper for tick in ticks)


def test_round_values_of_each_kind():
    assert Scale(0.0, 1.0).ticks() == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert 0.0 in Scale(-0.3, 0.3).ticks()  # and not what is left of it by rounding
    assert Scale(0.5, 2e4, "log").ticks() == [1.0, 10.0, 100.0, 1000.0, 10_000.0]
    assert Scale(2.0, 30.0, "log").ticks() == [2.0, 5.0, 10.0, 20.0]
    assert Scale(-100.0, 100.0, "symlog", 1.0).ticks() == [-100.0, -10.0, -1.0, 0.0, 1.0, 10.0, 100.0]


@pytest.mark.parametrize("values", [[], [math.nan, math.nan]])
def test_without_values_there_is_an_axis_all_the_same(values):
    assert scale_of(np.array(values)) == Scale(0.0, 1.0)


@pytest.mark.parametrize("value", [0.0, 3.0, -2e-7])
def test_one_value_stands_in_the_middle(value):
    assert scale_of(np.array([value, value])).place(np.array([value]))[0] == pytest.approx(0.5)


def test_the_value_to_compare_with_is_on_the_axis():
    scale = scale_of(np.array([-50.0, -40.0]), around=1.0)
    assert 0.0 < scale.place(np.array([1.0]))[0] < 1.0


def test_a_logarithmic_axis_has_no_place_for_zero():
    places = Scale(1.0, 100.0, "log").place(np.array([0.0, -1.0, 10.0, math.nan]))
    np.testing.assert_allclose(places, [math.nan, math.nan, 0.5, math.nan])


def test_symlog_is_odd():
    scale = Scale(-100.0, 100.0, "symlog", 1.0)
    np.testing.assert_allclose(scale.place(np.array([-100.0, 0.0, 100.0])), [0.0, 0.5, 1.0])


@given(arrays(np.float64, st.integers(0, 500), elements=st.floats(-10.0, 10.0)), st.integers(2, 30))
def test_thin_lines_keep_ends_peaks_and_their_count(values, half):
    most = 2 * half
    kept = thin(values, most)
    if len(values) <= most:
        assert kept.tolist() == list(range(len(values)))
    else:
        assert len(kept) <= most
        assert (kept[0], kept[-1]) == (0, len(values) - 1)
        assert values[kept].max() == values.max()
        assert values[kept].min() == values.min()
        assert np.all(np.diff(kept) > 0)


def test_thin_lines_keep_their_gaps():
    values = np.linspace(0.0, 1.0, 1000)
    values[500] = math.nan
    values[700:800] = math.nan
    kept = thin(values, 20)
    assert np.isnan(values[kept]).sum() >= 2
    assert 500 in kept
    assert not np.any((kept > 700) & (kept < 800) & ~np.isnan(values[kept]))


def test_many_lines_have_fewer_points_each():
    assert most_points(1) > most_points(20) > most_points(400) > 100
    assert all(most_points(lines) % 2 == 0 for lines in range(60))
