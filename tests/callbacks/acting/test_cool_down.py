"""Where the cool-down of a run begins, and what is left of a rate in it."""

from __future__ import annotations

import itertools

import pytest

from thermo_callbacks.callbacks.acting.cool_down import CoolDown


def test_is_the_last_share_of_a_run_of_known_length() -> None:
    assert CoolDown.planned(1000, 0.2) == CoolDown(800, 1000)
    assert CoolDown.planned(7, 0.5) == CoolDown(3, 7)


@pytest.mark.parametrize(("end", "share"), [(None, 0.2), (1000, 0.0), (2, 0.2)])
def test_there_is_none_without_an_end_a_share_or_a_step(end: int | None, share: float) -> None:
    assert CoolDown.planned(end, share) is None


def test_falls_evenly_and_is_above_zero_at_the_last_step() -> None:
    cooling = CoolDown(800, 1000)
    factors = [cooling.factor(step) for step in range(1000)]
    assert factors[:800] == [1.0] * 800
    falls = [before - after for before, after in itertools.pairwise(factors[799:])]
    assert falls == pytest.approx([1.0 / 201.0] * 200)
    assert factors[-1] == pytest.approx(1.0 / 201.0)
    assert cooling.factor(1200) == factors[-1]  # a run that is longer than it said
