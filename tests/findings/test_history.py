"""What the rules read."""

from __future__ import annotations

import math

import numpy as np
import pytest

from thermo_callbacks.findings import Course, History
from thermo_callbacks.findings.history import VALIDATION_LOSS


def of(**values: list[float]) -> History:
    history = History()
    for tag, series in values.items():
        for step, value in enumerate(series):
            history.add({f"thermo/{tag}": value}, step)
    return history


def test_courses_hold_what_was_known() -> None:
    course = of(heat=[1.0, math.nan, 3.0, math.inf])["thermo/heat"]
    assert course.steps.tolist() == [0, 2, 3]
    assert course.values.tolist() == [1.0, 3.0, math.inf]
    assert (len(course), course.first, course.last, course.median) == (3, 1.0, math.inf, 3.0)


def test_of_nothing_there_is_nothing() -> None:
    course = History()["thermo/heat"]
    assert len(course) == len(course.part(0.5)) == 0
    assert all(map(math.isnan, (course.first, course.last, course.median)))


@pytest.mark.parametrize(
    ("start", "end", "wanted"), [(0.5, 1.0, [2, 3]), (0.0, 0.5, [0, 1]), (0.99, 1.0, [3]), (0, 0.1, [0])]
)
def test_a_part_has_one_value_at_least(start: float, end: float, wanted: list[int]) -> None:
    assert Course(np.arange(4), np.arange(4.0)).part(start, end).values.tolist() == wanted


def test_only_what_is_read_is_kept() -> None:
    history = History(["thermo/heat", "thermo_heat"])
    history.add({"thermo/heat": 1.0, "thermo_heat/net.0": 2.0, "thermo/entropy": 3.0, "loss": 4.0}, 7)
    assert list(history) == ["thermo/heat", "thermo_heat/net.0"]
    assert list(history.members("thermo_heat")) == ["net.0"]
    assert history.step == 7


def test_a_value_that_is_no_more_is_lost_since_then() -> None:
    history = of(heat=[1.0, math.nan, math.nan])
    assert history.lost("thermo/heat") == 1
    history.add({"thermo/heat": 2.0}, 9)
    assert history.lost("thermo/heat") is None
    assert history.lost("thermo/entropy") is None


def test_the_runs_own_validation_loss_has_one_name() -> None:
    history = History([VALIDATION_LOSS])
    history.add({"valid/loss_epoch": 2.0}, 3)
    history.add({"val_accuracy": 0.5, "val_loss": 1.0}, 5)
    assert history[VALIDATION_LOSS].values.tolist() == [2.0, 1.0]


def test_how_much_is_over() -> None:
    history = History(facts={"planned": {"steps": 10}})
    history.add({"thermo/heat": 1.0}, 4)
    assert history.over == 0.5
    assert History().over == 1.0  # of a log nobody knows more


def test_a_history_goes_on_from_its_state() -> None:
    whole = of(heat=[1.0, math.nan, 3.0], entropy=[1.0, math.nan])
    rest = History()
    rest.load_state_dict(whole.state_dict())
    assert rest.state_dict() == whole.state_dict()
    assert rest.lost("thermo/entropy") == 1
    rest.load_state_dict({})
    assert list(rest) == []
