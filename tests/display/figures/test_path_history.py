"""The bounded path through entropy and temperature."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from thermo_callbacks.display import PathHistory


def path_of(*points, capacity=4):
    path = PathHistory(capacity)
    for point in points:
        path.append(*point)
    return path


def columns(path):
    return path.steps.tolist(), path.entropies.tolist(), path.temperatures.tolist()


def test_keeps_the_points():
    assert columns(path_of((10, -3.0, 4.0), (20, -5.0, 2.0))) == ([10.0, 20.0], [-3.0, -5.0], [4.0, 2.0])


def test_without_points():
    path = PathHistory()
    assert len(path) == 0
    assert columns(path) == ([], [], [])


@pytest.mark.parametrize("point", [(15, math.nan, 1.0), (15, 1.0, math.nan), (15, -math.inf, 1.0), (15, 1.0, math.inf)])
def test_point_without_both_values_is_left_out(point):
    points = (10, -3.0, 4.0), (20, -5.0, 2.0)
    assert columns(path_of(points[0], point, points[1])) == columns(path_of(*points))


def test_memory_is_bounded_and_means_are_of_the_same_points():
    steps = np.arange(1000)
    path = path_of(*((int(step), -float(step), 2.0 * step) for step in steps), capacity=16)
    assert len(path) <= 16
    np.testing.assert_allclose(path.temperatures, -2.0 * path.entropies)
    np.testing.assert_allclose(path.entropies, -path.steps)
    assert path.state_dict()["sums"].shape == (2, len(path))


def test_going_back_forgets_what_came_from_there_on():
    assert columns(path_of((0, 1.0, 1.0), (10, 2.0, 2.0), (5, 3.0, 3.0))) == ([0.0, 5.0], [1.0, 3.0], [1.0, 3.0])


@pytest.mark.parametrize("before", [0, 1, 4, 5, 11])
def test_a_resumed_path_goes_on_as_if_it_had_not_been_interrupted(before, tmp_path):
    points = [(step, -float(step), 1.0 + step) for step in range(20)]
    torch.save(path_of(*points[:before]).state_dict(), tmp_path / "path.pt")
    resumed = PathHistory()
    resumed.load_state_dict(torch.load(tmp_path / "path.pt", weights_only=True))
    for point in points[before:]:
        resumed.append(*point)
    assert columns(resumed) == columns(path_of(*points))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": ["net.0"]}, r"holds \['net.0'\] in place of entropy and temperature: load what state_dict\(\)"),
        ({"layers": None}, r"lacks \['layers'\]: load what state_dict\(\) returned"),
        ({"version": 2}, "has version 2, this package reads 1"),
    ],
)
def test_a_wrong_state_is_refused_and_changes_nothing(change, message):
    path = path_of((0, 1.0, 2.0))
    state = {key: value for key, value in {**path.state_dict(), **change}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        path.load_state_dict(state)
    assert columns(path) == ([0.0], [1.0], [2.0])


def test_capacity_must_be_even():
    with pytest.raises(ValueError, match=r"capacity must be an even number of at least 2 \(for example 256\), got 3$"):
        PathHistory(3)
