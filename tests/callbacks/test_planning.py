"""Plans of windows and extra passes: their table, and what holds at every length of a run."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermo_callbacks.callbacks.planning import (
    WindowPlan,
    plan_extra_passes,
    plan_windows,
    planned_extra_passes,
    planned_windows,
)


def planned(steps: int, start: int = 0) -> WindowPlan:
    plan = plan_windows(steps, start)
    assert plan is not None
    return plan


def ends_of(plan: WindowPlan, steps: int) -> list[int]:
    """Steps done when each window of a run of so many steps ends."""
    ends, left = [plan.length], plan.count - 1
    while (end := ends[-1] + plan.pause(ends[-1], left) + plan.length) <= steps:
        ends.append(end)
        left = max(0, left - 1)
    return ends


# steps: length, windows, first ends and last one, extra passes, first of them and last one
TABLE = {
    8: (8, 1, [8, 8], 0, []),
    15: (15, 1, [15, 15], 0, []),
    16: (8, 2, [8, 16, 16], 4, [8, 10, 12, 14, 14]),
    40: (8, 5, [8, 16, 24, 32, 40, 40], 10, [8, 11, 14, 17, 38]),
    100: (8, 12, [8, 16, 24, 32, 100], 10, [8, 16, 26, 36, 98]),
    300: (8, 25, [8, 20, 32, 44, 300], 10, [8, 16, 32, 64, 298]),
    500: (8, 25, [8, 24, 44, 64, 500], 10, [8, 16, 32, 64, 498]),
    1500: (15, 25, [15, 45, 105, 168, 1500], 10, [15, 30, 60, 120, 1498]),
    10_000: (20, 25, [20, 60, 140, 300, 10_000], 25, [20, 40, 80, 160, 9_998]),
    25_000: (50, 25, [50, 150, 350, 750, 25_000], 62, [50, 100, 200, 400, 24_998]),
    100_000: (50, 100, [50, 150, 350, 750, 100_000], 200, [50, 100, 200, 400, 99_998]),
}


@pytest.mark.parametrize("steps", TABLE)
def test_the_plan_of_a_run(steps: int) -> None:
    length, count, ends, passes, due = TABLE[steps]
    plan = planned(steps)
    actual = ends_of(plan, steps)
    assert (plan.length, plan.count, len(actual)) == (length, count, count)
    assert [*actual[: len(ends) - 1], actual[-1]] == ends
    steps_due = plan_extra_passes(steps, plan.length)
    assert len(steps_due) == passes
    assert [*steps_due[: max(0, len(due) - 1)], *steps_due[-1:]] == due


def test_a_run_of_fewer_steps_than_a_window_has_no_plan() -> None:
    assert plan_windows(7) is None
    assert plan_extra_passes(7, 50) == ()


@given(st.integers(8, 300_000))
def test_windows_cover_the_run_from_its_first_step_to_its_last(steps: int) -> None:
    plan = planned(steps)
    ends = ends_of(plan, steps)
    assert ends[-1] == steps
    assert len(ends) == plan.count >= min(25, steps // 8)
    assert 8 <= plan.length <= 50
    distances = [later - earlier for earlier, later in pairwise(ends)]
    assert all(distance >= plan.length for distance in distances)  # no overlap
    assert all(earlier <= later for earlier, later in pairwise(distances))  # never sparser at the start
    # as long as the run so far at most, and then equal
    assert all(
        gap - plan.length in {end, *range(max(distances) - plan.length - 1, max(distances))}
        for end, gap in zip(ends, distances, strict=False)
    )
    if steps >= 10_000:
        assert 20 * plan.watched <= steps
    elif steps >= 800:
        assert 4 * plan.watched <= steps
    else:
        assert plan.watched <= max(200, steps)


@given(st.integers(8, 300_000), st.integers(8, 50))
def test_extra_passes_reach_from_the_first_window_to_the_end(steps: int, first: int) -> None:
    due = plan_extra_passes(steps, first)
    if steps < first + 2:
        assert due == ()
        return
    assert due[0] == first
    assert len(due) == 1 or due[-1] == steps - 2  # the last step has no batch after it
    assert len(due) <= max(10, min(steps // 400, 200))
    assert len(due) >= min(10, (steps - first) // 2)
    distances = [later - earlier for earlier, later in pairwise(due)]
    assert all(2 <= earlier <= later + 1 for earlier, later in pairwise(distances))


@given(st.integers(8, 50_000), st.integers(1, 1_000))
def test_a_run_longer_than_planned_goes_on_in_the_same_rhythm(steps: int, more: int) -> None:
    plan = planned(steps)
    ends = ends_of(plan, steps + more)
    assert ends[: plan.count] == ends_of(plan, steps)
    assert all(later - earlier == plan.length + plan.between for earlier, later in pairwise(ends[plan.count - 1 :]))
    assert steps + more - ends[-1] < plan.length + plan.between


@given(st.integers(200, 50_000), st.data())
def test_a_window_that_lost_steps_delays_no_later_one(steps: int, data: st.DataObject) -> None:
    plan = planned(steps)
    end, left = plan.length, plan.count - 1
    while left:
        lost = data.draw(st.integers(0, plan.length)) if left == plan.count // 2 else 0
        end += plan.pause(end, left) + plan.length + lost
        left -= 1
    # where windows follow on one another there is no room to make up for it
    assert end == steps or plan.between < plan.length


@given(st.integers(8, 50_000), st.integers(1, 49_999))
def test_layers_that_thaw_have_windows_up_to_the_same_end(steps: int, step: int) -> None:
    plan = planned(steps)
    rest = plan.rest(step)
    assert (rest.length, rest.start) == (plan.length, step)
    if rest.count > 1:
        assert step + ends_of(rest, steps - step)[-1] == steps
    assert plan.rest(0) == plan


@given(st.integers(8, 5_000), st.integers(8, 5_000))
def test_a_run_that_is_made_longer_has_windows_up_to_its_new_end(steps: int, more: int) -> None:
    states = [{"losses": [0.0] * planned(steps).length, "plan": planned(steps).state_dict()}]
    length, plan = planned_windows(states, start=steps, end=steps + more)
    assert plan is not None
    assert (length, plan.end) == (planned(steps).length, steps + more)
    left, end = plan.count - planned(steps).count, steps
    while left > 0 and end + length <= plan.end:
        end += plan.pause(end, left) + length
        left -= 1
    assert end == plan.end or more < length


def test_a_checkpoint_s_plan_is_kept() -> None:
    plan = planned(500)
    states = [{"losses": [0.0] * 8, "plan": plan.state_dict()}]
    assert planned_windows(states, start=200, end=500) == (8, plan)
    assert planned_windows(states, start=200, end=None) == (8, plan)
    assert planned_windows([{"losses": [0.0] * 50}], start=200, end=500) == (50, None)  # of an earlier version
    assert planned_windows([], start=200, end=None) == (50, None)
    assert planned_windows([], start=200, end=700) == (8, planned(500, 200))


def test_a_checkpoint_s_extra_passes_are_kept() -> None:
    every, due = planned_extra_passes({}, start=0, end=500, first=8)
    assert (every, due) == (74, plan_extra_passes(500, 8))
    state = {"next": 128, "every": every, "planned": list(due)}
    assert planned_extra_passes(state, start=100, end=500, first=8) == (every, due)
    assert planned_extra_passes({"next": 128}, start=100, end=500, first=8) == (200, ())  # of an earlier version
    assert planned_extra_passes({}, start=100, end=None, first=50) == (200, ())
    _, longer = planned_extra_passes(state, start=500, end=900, first=8)
    assert longer[: len(due)] == due
    assert (longer[len(due)], longer[-1], len(longer)) == (498 + 74, 898, 20)


@pytest.mark.parametrize("start", [0, 130])
def test_a_plan_begins_where_the_monitor_does(start: int) -> None:
    every, due = planned_extra_passes({}, start=start, end=start + 500, first=8)
    assert due == tuple(start + step for step in plan_extra_passes(500, 8))
    assert every == 74
    assert planned(500, start).end == start + 500
