"""The bounded history against a plain list of all rows."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thermo_callbacks.display import LayerHistory, TemperatureHistory
from thermo_callbacks.display.figures.layer_history import merge_names

TEMPERATURES = st.one_of(st.floats(-1e3, 1e3), st.just(math.nan), st.just(math.inf))


def filled(rows, capacity=4):
    history = LayerHistory(capacity=capacity)
    for step, row in rows:
        history.append(step, row)
    return history


def mean_of_finite(values):
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def columns_of(values, capacity):
    """All values kept, and cut into the fewest power-of-two pieces that fit."""
    length = 1
    while math.ceil(len(values) / length) > capacity:
        length *= 2
    return [mean_of_finite(values[start : start + length]) for start in range(0, len(values), length)]


@given(values=st.lists(TEMPERATURES, max_size=70), capacity=st.sampled_from([2, 4, 8]))
def test_columns_are_means_of_equally_many_rows(values, capacity):
    history = filled([(10 * index, {"a": value}) for index, value in enumerate(values)], capacity)
    expected = columns_of(values, capacity)
    assert len(history) == len(expected) <= capacity
    if values:
        np.testing.assert_allclose(history.values, [expected], rtol=1e-12, atol=1e-12)


def test_state_does_not_grow_with_the_run():
    history = filled([(step, {"a": 1.0, "b": 2.0}) for step in range(5000)], capacity=16)
    state = history.state_dict()
    assert state["sums"].shape == state["counts"].shape
    assert state["sums"].shape[1] == len(history) <= 16
    np.testing.assert_allclose(history.values, np.repeat([[1.0], [2.0]], len(history), axis=1))


def test_values_that_are_not_finite_are_left_out():
    history = filled([(0, {"a": math.inf}), (1, {"a": math.nan}), (2, {"a": -3.0})], capacity=2)
    np.testing.assert_array_equal(history.values, [[math.nan, -3.0]])


def test_late_layers_have_no_value_before_and_take_their_place():
    history = filled(
        [
            (0, {"head": 1.0}),
            (1, {"stem": 2.0, "body": 3.0, "head": 4.0}),
            (2, {"stem": 8.0, "head": 5.0, "tail": 6.0}),
            (3, {"other": 7.0}),
        ]
    )
    assert history.layers == ("stem", "body", "head", "tail", "other")
    none = math.nan
    np.testing.assert_array_equal(
        history.values,
        [
            [none, 2.0, 8.0, none],
            [none, 3.0, none, none],
            [1.0, 4.0, 5.0, none],
            [none, none, 6.0, none],
            [none, none, none, 7.0],
        ],
    )


def test_boundaries_lie_between_the_rows():
    assert filled([]).boundaries.tolist() == []
    assert filled([(7, {"a": 1.0})]).boundaries.tolist() == [6.5, 7.5]
    history = filled([(10, {"a": 1.0}), (20, {"a": 1.0}), (40, {"a": 1.0})])
    assert history.boundaries.tolist() == [5.0, 15.0, 30.0, 50.0]
    # averaged in pairs: rows 0, 10 | 20, 30 | 40
    history = filled([(step, {"a": 1.0}) for step in range(0, 50, 10)])
    assert history.boundaries.tolist() == [-5.0, 15.0, 35.0, 45.0]


@pytest.mark.parametrize("step", [20, 15, 11])
def test_going_back_forgets_what_came_from_there_on(step):
    rows = [(0, {"a": 1.0}), (10, {"a": 2.0}), (20, {"a": 3.0})]
    history = filled([*rows, (step, {"a": 9.0}), (30, {"a": 4.0})])
    np.testing.assert_array_equal(history.values, [[1.0, 2.0, 9.0, 4.0]])
    assert (np.diff(history.boundaries) > 0).all()


def test_middles_lie_half_way_through_each_column():
    assert filled([]).middles.tolist() == []
    # averaged in pairs: rows 0, 10 | 20, 30 | 40
    assert filled([(step, {"a": 1.0}) for step in range(0, 50, 10)]).middles.tolist() == [5.0, 25.0, 40.0]


def test_the_former_name_warns_and_has_the_values():
    with pytest.warns(DeprecationWarning, match="^TemperatureHistory is called LayerHistory now$"):
        history = TemperatureHistory(capacity=2)
    history.append(0, {"a": 1.0})
    history.append(1, {"a": math.nan, "b": 3.0})
    np.testing.assert_array_equal(history.temperatures, [[1.0, math.nan], [math.nan, 3.0]])
    np.testing.assert_array_equal(history.temperatures, history.values)


def test_going_back_into_a_mean_forgets_all_of_it():
    history = filled([(step, {"a": float(step)}) for step in range(5)])  # columns 0-1, 2-3, and 4, half full
    history.append(3, {"a": 7.0})
    history.append(4, {"a": 9.0})
    history.append(5, {"a": 10.0})
    np.testing.assert_array_equal(history.values, [[0.5, 8.0, 10.0]])


def test_a_new_run_starts_from_nothing():
    history = filled([(step, {"old": 1.0}) for step in range(100)])
    history.append(0, {"new": 2.0})
    history.append(1, {"new": 3.0})
    assert history.layers == ("new",)
    np.testing.assert_array_equal(history.values, [[2.0, 3.0]])


@pytest.mark.parametrize("before", [0, 1, 3, 4, 5, 10, 37])
def test_a_resumed_history_goes_on_as_if_it_had_not_been_interrupted(before, tmp_path):
    rows = [(step, {"a": float(step), **({"b": -1.0 * step} if step > 6 else {})}) for step in range(60)]
    torch.save({"history": filled(rows[:before]).state_dict()}, tmp_path / "checkpoint.pt")
    resumed = LayerHistory()
    resumed.load_state_dict(torch.load(tmp_path / "checkpoint.pt", weights_only=True)["history"])
    for step, row in rows[before:]:
        resumed.append(step, row)
    whole = filled(rows)
    assert resumed.layers == whole.layers
    np.testing.assert_array_equal(resumed.values, whole.values)
    np.testing.assert_array_equal(resumed.boundaries, whole.boundaries)


def test_state_is_a_copy_both_ways():
    history = filled([(step, {"a": float(step)}) for step in range(3)], capacity=2)  # columns 0-1, and 2, half full
    state = history.state_dict()
    saved = copy.deepcopy(state)
    loaded = LayerHistory()
    loaded.load_state_dict(state)
    for written in (history, loaded):
        written.append(3, {"a": 5.0})
        assert state.keys() == saved.keys()
        assert all(torch.equal(state[key], saved[key]) for key in ("first", "last", "sums", "counts"))
        written.append(4, {"a": 7.0, "b": 8.0})  # makes room for a column by averaging
        assert all(torch.equal(state[key], saved[key]) for key in ("first", "last", "sums", "counts"))
        assert state["layers"] == saved["layers"]
        np.testing.assert_array_equal(written.values, [[2.0, 7.0], [math.nan, 8.0]])


def test_loading_replaces_what_was_there():
    history = filled([(step, {"other": 1.0}) for step in range(9)])
    history.load_state_dict(filled([(0, {"a": 2.0})]).state_dict())
    assert history.layers == ("a",)
    np.testing.assert_array_equal(history.values, [[2.0]])


@pytest.mark.parametrize("capacity", [-2, 0, 1, 3, 255])
def test_capacity_must_be_even(capacity):
    message = rf"capacity must be an even number of at least 2 \(for example 256\), got {capacity}$"
    with pytest.raises(ValueError, match=message):
        LayerHistory(capacity=capacity)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"version": 2},
            r"has version 2, this package reads 1: resume with the package version that wrote the checkpoint",
        ),
        (
            {"layers": ["a", "b"]},
            r"with 2 layers and 1 columns has tensors of shapes .*: load what state_dict\(\) returned",
        ),
        ({"counts": None}, r"lacks \['counts'\]: load what state_dict\(\) returned"),
    ],
)
def test_a_wrong_state_is_refused_and_changes_nothing(change, message):
    history = filled([(0, {"a": 1.0})])
    state = {key: value for key, value in {**history.state_dict(), **change}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        history.load_state_dict(state)
    np.testing.assert_array_equal(history.values, [[1.0]])


def test_new_names_go_behind_their_predecessor():
    assert merge_names(["stem", "head"], ["stem", "body"]) == ["stem", "body", "head"]
