"""The table of last values, and which differences it claims."""

from __future__ import annotations

import math

import pytest
from commands.report.test_runs import run_with
from hypothesis import given
from hypothesis import strategies as st

from thermo_callbacks.commands.report.discovery import find_runs
from thermo_callbacks.commands.report.key_numbers import Difference, Value, compare, estimate, last_value, rows_of

NAN = math.nan


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.65321, 0.0042, "0.6532 ± 0.0042"),
        (12084.0, 7012.0, "12,100 ± 7,000"),
        (148.3, 26.2, "148 ± 26"),
        (2.5, 12.0, "2 ± 12"),
        (3.72e-6, 6.4e-7, "(3.72 ± 0.64) × 10⁻⁶"),
        (1e-9, 2e-6, "(0.0 ± 2.0) × 10⁻⁶"),
        (3.2e8, 1.5e7, "(3.20 ± 0.15) × 10⁸"),
        (-58.74, 7.5, "−58.7 ± 7.5"),
        (-58.74, NAN, "−58.7"),
        (0.0, NAN, "0.00"),
        (0.0, 0.0, "0.00 ± 0.00"),
        (math.inf, NAN, "inf"),
        (5e-324, NAN, "4.94 × 10⁻³²⁴"),
    ],
)
def test_the_error_sets_the_last_place(value, error, text):
    assert estimate(value, error) == text


@given(st.floats(allow_nan=False), st.floats(min_value=0.0, allow_nan=False))
def test_any_numbers_can_be_written(value, error):
    assert "nan" not in estimate(value, error)


@given(st.floats(min_value=1e-12, max_value=1e12), st.floats(min_value=1e-3, max_value=10.0))
def test_what_is_written_is_the_value_to_a_tenth_of_its_error(value, relative):
    error = relative * value
    text = estimate(value, error).replace(",", "")
    number, _, scale = text.strip("(").partition(" ± ")
    power = 0
    if "× 10" in scale:
        power = int(scale.partition("× 10")[2].translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")))
    assert float(number) * 10.0**power == pytest.approx(value, abs=0.051 * error)


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ((1.0, 0.3), (2.0, 0.4), "not told apart"),  # exactly two errors are not more than two
        ((1.0, 0.3), (2.1, 0.4), "higher"),
        ((2.1, 0.4), (1.0, 0.3), "lower"),
        ((1.0, NAN), (9.0, 0.1), "error not known"),
        ((1.0, 0.1), (9.0, NAN), "error not known"),
        ((1.0, 0.0), (1.0, 0.0), "not told apart"),
    ],
)
def test_a_difference_is_claimed_beyond_twice_its_error_alone(first, second, verdict):
    difference = compare(Value(*first, 9), Value(*second, 9))
    assert difference.value == pytest.approx(second[0] - first[0])
    assert difference.error == pytest.approx(math.hypot(first[1], second[1]), nan_ok=True)
    assert difference.verdict == verdict


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ((100.0, 20.0, 110.0), (130.0, 120.0, 900.0), "higher"),  # the ends that face each other are near
        ((130.0, 120.0, 900.0), (100.0, 20.0, 110.0), "lower"),
        ((100.0, 20.0, 900.0), (130.0, 120.0, 140.0), "not told apart"),
        ((100.0, 20.0, math.inf), (130.0, 120.0, 140.0), "not told apart"),
        ((100.0, 20.0, math.inf), (30.0, 20.0, 110.0), "not told apart"),
        ((100.0, 20.0, NAN), (130.0, 120.0, 140.0), "error not known"),
    ],
)
def test_where_there_is_an_interval_alone_the_sides_that_face_each_other_count(first, second, verdict):
    values = [Value(value, NAN, 9, lower, upper) for value, lower, upper in (first, second)]
    difference = compare(*values)
    assert difference.verdict == verdict
    assert "inf" not in difference.text
    sides = (1, 2) if first[0] > second[0] else (2, 1)
    widths = [(each[side] - each[0]) / 1.96 for each, side in zip((first, second), sides, strict=True)]
    assert difference.error == pytest.approx(math.hypot(*widths), nan_ok=True)


@pytest.mark.parametrize(
    ("lower", "upper", "text"),
    [
        (350.0, 812.0, "593 (350 to 812)"),
        (350.0, math.inf, "593 (at least 350)"),
        (350.0, NAN, "593 (at least 350)"),
        (NAN, 812.0, "593"),
    ],
)
def test_an_interval_stands_beside_a_value_without_an_error(lower, upper, text):
    record = {"thermo/noise_scale": 593.0, "thermo/noise_scale_lower": lower, "thermo/noise_scale_upper": upper}
    run = run_with({9: record})
    assert last_value(run, "thermo/noise_scale").text == text
    both = run_with({9: {**record, "thermo/noise_scale_stderr": 10.0}})
    assert last_value(both, "thermo/noise_scale").text == "593 ± 10"


@pytest.mark.parametrize("other", [None, Value(NAN, 0.1, 9), Value(math.inf, 0.1, 9)])
def test_no_difference_without_two_values(other):
    assert compare(Value(1.0, 0.1, 9), other) is None
    assert compare(other, Value(1.0, 0.1, 9)) is None


def test_differences_are_signed():
    assert Difference(0.25, 0.1).text == "+0.25 ± 0.10"
    assert Difference(-0.25, NAN).text == "−0.250"


def test_the_error_is_that_of_the_same_step():
    run = run_with({10: {"thermo/temperature": 1.0, "thermo/temperature_stderr": 0.5}, 20: {"thermo/temperature": 2.0}})
    value = last_value(run, "thermo/temperature")
    assert (value.value, value.step) == (2.0, 20)
    assert math.isnan(value.error)


def test_a_last_value_that_is_nan_is_not_replaced_by_an_earlier_one():
    run = run_with({10: {"thermo/noise_scale": 1.0}, 20: {"thermo/noise_scale": NAN}})
    assert last_value(run, "thermo/noise_scale").text == "–"


def test_rows_of_real_runs_hold_the_logged_values(logs):
    runs = find_runs([logs.both, logs.table])
    rows = {row.tag: row for row in rows_of(runs)}
    assert next(iter(rows)) == "train_loss"
    keys = ["thermo/internal_energy", "thermo/temperature", "thermo/drift_share"]
    assert [row.tag for row in rows.values() if row.key][1:4] == keys
    assert not any(tag.endswith(("_stderr", "_lower", "_upper", "epoch")) for tag in rows)
    for tag, row in rows.items():
        for value, name in zip(row.values, ("slow", "table"), strict=True):
            known = logs.latest[name]
            if tag in known:
                assert value.value == pytest.approx(known[tag], nan_ok=True), tag
                assert value.error == pytest.approx(known.get(f"{tag}_stderr", NAN), nan_ok=True), tag
    # the table was written by preset standard, which knows no bulk
    assert rows["thermo/complexity"].values[1] is None
    assert rows["thermo/complexity"].differences == [None, None]
    assert rows["thermo/temperature"].unit == "loss"
    labels = [row.label for row in rows.values()]
    assert len(labels) == len(set(labels))
