"""States of a watch that a version with other sums has written."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from thermo_callbacks.callbacks.windows.optimizer_window import OptimizerWindow
from thermo_callbacks.callbacks.windows.window_settings import WindowSettings


@torch.no_grad()
def watch(steps: int) -> OptimizerWindow:
    """A watch of windows of 4 steps, after some of them."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    settings = WindowSettings(window=4, steps_between_windows=0, sample=None, seed=0, pairs=True)
    watching = OptimizerWindow(optimizer, {"layer": list(layer.parameters())}, settings)
    for step in range(steps):
        layer.zero_grad()
        with torch.enable_grad():
            layer(torch.ones(5, 3)).square().mean().backward()
        watching.announce(step)
        watching.read_before(1.0)
        optimizer.step()
        watching.arrive()
        watching.read_after()
        if watching.stream.full:
            watching.close()
    return watching


def without(state: dict[str, Any], part: str, name: str) -> dict[str, Any]:
    return {**state, part: {key: value for key, value in state[part].items() if key != name}}


def test_its_own_state_is_taken() -> None:
    other = watch(0)
    assert other.load_state_dict(watch(6).state_dict())
    assert other.stream.steps == 2
    assert other.last is not None
    assert other.last.moving.tolist() == [8.0]


@pytest.mark.parametrize("steps", [0, 2, 4], ids=["new", "first window", "between windows"])
def test_what_is_not_there_does_not_matter(steps: int) -> None:
    assert watch(0).load_state_dict(watch(steps).state_dict())


@pytest.mark.parametrize(("part", "name"), [("stream", "scatter"), ("stream", "mobility"), ("last", "log_variance")])
def test_a_state_without_a_sum_is_left_alone(part: str, name: str) -> None:
    other = watch(0)
    assert not other.load_state_dict(without(watch(6).state_dict(), part, name))
    assert other.stream.steps == 0
    assert other.last is None


def as_means(state: dict[str, Any]) -> dict[str, Any]:
    """A state of an open window as versions wrote it that took all pairs from the mean and scaled at the end."""
    stream = dict(state["stream"])
    steps, flags = stream["steps"], stream["flags"][: stream["steps"], 0]
    series = stream["series"].clone()
    count = flags.cumsum(0)
    series[1:steps, :2] *= (count / (count - 1.0))[1:, None, None]
    stream |= {"means": stream.pop("references"), "series": series, "validity": stream["validity"][:2]}
    return {**state, "stream": stream}


def test_an_open_window_of_an_earlier_version_is_gone_on_with() -> None:
    straight, other = watch(7), watch(0)
    assert other.load_state_dict(as_means(straight.state_dict()))
    torch.testing.assert_close(vars(other.peek()), vars(straight.peek()), rtol=1e-6, atol=0.0, equal_nan=True)
