"""Looks at a run that goes on: what they test, their level over all of them, and what a checkpoint keeps."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from oracles import normal
from torch import Tensor

from thermo_callbacks.functional import Stationarity, stationarity_test
from thermo_callbacks.functional.repeated_stationarity import LOOKS, EquilibriumCriteria, RepeatedStationarityTest

CRITERIA = EquilibriumCriteria()


def steps_of(
    count: int, seed: int, *, drift: float = 0.0, fall: Callable[[Tensor], Tensor] = torch.zeros_like
) -> Tensor:
    """White steps with a true relative drift, and a loss with unit noise that falls as it is told."""
    squares = 1.0 + 0.1 * normal(count, seed=seed + 10_000).clamp(-3.0, 3.0)
    products = 0.5 * (drift - 1.0) * squares + 0.5 * normal(count, seed=seed)
    places = torch.arange(1, count + 1, dtype=torch.float64)
    return torch.stack([products, squares, 3.0 - fall(places) + normal(count, seed=seed + 20_000)])


def run(values: Tensor, test: RepeatedStationarityTest, chunk: int = 50) -> tuple[int, Stationarity] | None:
    """Steps at which a run is accepted, and what was found; None if it never is."""
    for end in range(chunk, values.shape[1] + 1, chunk):
        if test.settled(end - chunk):
            test.add(values[:, end - chunk : end])
        if test.turn(end) and (found := test.look()).stationary:
            return end, found
    return None


def test_a_look_tests_what_was_added_at_its_share_of_the_level() -> None:
    values, test = steps_of(2000, 3, drift=0.1), RepeatedStationarityTest(CRITERIA, momentum=0.5)
    test.add(values)
    expected = stationarity_test(*values, momentum=0.5, tolerance=0.5, loss_tolerance=0.5, level=CRITERIA.level / LOOKS)
    assert test.look() == expected


def test_looks_come_after_twice_as_many_steps() -> None:
    test = RepeatedStationarityTest(CRITERIA)
    first = CRITERIA.first_look()
    assert not test.turn(first - 1)
    assert test.turn(first)
    assert not test.turn(first)
    assert not test.turn(2 * first - 1)
    assert test.turn(2 * first)
    test.restart()
    assert test.turn(first)


def test_nothing_could_be_accepted_before_the_first_look() -> None:
    """With a change of exactly zero the interval would only just fit."""
    first = CRITERIA.first_look()
    assert EquilibriumCriteria(loss_tolerance=0.25).first_look() == pytest.approx(4 * first, abs=4)
    assert CRITERIA.first_look(0.9) == first
    assert CRITERIA.first_look(0.999) == 2 * 10 * 1999  # five batches of two correlation times


@pytest.mark.slow
@pytest.mark.parametrize(
    "moving",
    [
        pytest.param({"drift": 0.5}, id="drift at the tolerance"),
        # over the last half of any span it changes by the tolerance
        pytest.param({"fall": lambda t: 0.5 / math.log(2.0) * t.log()}, id="loss at the tolerance"),
    ],
)
def test_a_run_at_the_tolerance_is_accepted_at_any_look_no_more_often_than_the_level_says(moving: dict) -> None:
    runs = 150
    accepted = sum(
        run(steps_of(12_000, seed, **moving), RepeatedStationarityTest(CRITERIA)) is not None for seed in range(runs)
    )
    level = CRITERIA.level
    assert accepted <= level * runs + 2.6 * math.sqrt(runs * level * (1.0 - level))


def test_a_stationary_run_is_accepted_before_long() -> None:
    found = [run(steps_of(6000, seed), RepeatedStationarityTest(CRITERIA)) for seed in range(60)]
    when = sorted(each[0] for each in found if each is not None)
    assert len(when) == 60
    assert when[30] <= 2 * CRITERIA.first_look() + 50  # it is asked every 50 steps


def test_what_comes_right_after_a_change_of_the_rate_is_left_out() -> None:
    test, first = RepeatedStationarityTest(CRITERIA), CRITERIA.first_look()
    assert not test.settled(first // 2 - 1)
    assert test.settled((first + 1) // 2)
    test.turn(first)
    assert test.settled(first + 1)


def test_a_run_that_moves_from_the_first_tested_step_on_is_not_accepted() -> None:
    """A slow truth under a moving run: it stands still at first, while nobody looks."""
    begin = CRITERIA.first_look() // 2
    for seed in range(20):
        values = torch.cat([steps_of(begin, seed), steps_of(3000, seed + 50, drift=2.0)], 1)
        assert run(values, RepeatedStationarityTest(CRITERIA), chunk=1) is None


def test_a_long_span_is_kept_as_means_and_judged_alike() -> None:
    values, test = steps_of(40_000, 1), RepeatedStationarityTest(CRITERIA)
    test.turn(10_000)
    test.turn(20_000)
    test.look()
    for end in range(22_000, 40_001, 2000):
        test.add(values[:, end - 2000 : end])
    assert test.state_dict()["values"].shape[1] < 4096 + 1
    assert test.state_dict()["steps_per_value"] == 8
    found = test.look()
    whole = stationarity_test(*values[:, 20_000:], tolerance=0.5, loss_tolerance=0.5, level=CRITERIA.level / LOOKS)
    assert found.drift == pytest.approx(whole.drift, abs=1e-3)
    assert found.loss_change == pytest.approx(whole.loss_change, abs=0.1)
    assert found.stationary == whole.stationary


def test_when_a_checkpoint_is_written_changes_nothing() -> None:
    values = steps_of(40_000, 2, drift=0.6)
    one, other = RepeatedStationarityTest(CRITERIA, 0.9), RepeatedStationarityTest(CRITERIA, 0.9)
    looks = [1250 * 2**k for k in range(6)]
    generator = torch.Generator().manual_seed(0)
    ends = sorted({*looks, *torch.randint(1, 40_000, (30,), generator=generator).tolist()})
    for begin, end in pairwise([0, *ends]):
        other.add(values[:, begin:end])
        if end in looks:
            one.add(values[:, 0 if end == 1250 else end // 2 : end])
            assert one.turn(end)
            assert other.turn(end)
            assert one.look() == other.look()
        else:
            resumed = RepeatedStationarityTest(CRITERIA, 0.9)
            resumed.load_state_dict(other.state_dict())
            other = resumed


def test_values_that_are_not_finite_are_left_out() -> None:
    values = steps_of(3000, 4)
    broken = torch.cat([values[:, :1500], torch.full((3, 7), math.nan, dtype=torch.float64), values[:, 1500:]], 1)
    one, other = RepeatedStationarityTest(CRITERIA), RepeatedStationarityTest(CRITERIA)
    one.add(values)
    other.add(broken)
    assert one.look() == other.look()


def test_without_any_loss_nothing_is_accepted() -> None:
    values = steps_of(3000, 5)
    values[2] = math.nan
    test = RepeatedStationarityTest(CRITERIA)
    test.add(values)
    found = test.look()
    assert not found.stationary
    assert found.reason.startswith("too short a span: 0 values")
