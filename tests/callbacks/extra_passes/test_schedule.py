"""Looks are taken when they are due, and a fault in one collector ends that collector only."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from thermo_callbacks.callbacks.extra_passes.schedule import Collector, ExtraPassSchedule

STEPS = 700


class Notebook(Collector):
    """Writes down what it is told, and when."""

    key = "notebook"

    def __init__(self, name: str = "notebook", fault: str = "") -> None:
        super().__init__(name, quiet=False)
        self.lines: list[tuple[str, Any]] = []
        self._fault = fault

    def _write(self, moment: str, batch: Any = None) -> dict[str, float]:
        self.lines.append((moment, batch))
        if moment == self._fault:
            raise RuntimeError("out of ink")
        return {f"{self.guard.name}/{moment}": float(len(self.lines))}

    def before_forward(self, batch: Any, batch_idx: int) -> None:
        self._write("before forward", batch)

    def before_step(self, optimizer: Any, scale: Any) -> None:
        self._write("before step", scale())

    def after_backward(self) -> dict[str, float]:
        return self._write("after backward")

    def after_step(self, batch: Any, batch_idx: int) -> dict[str, float]:
        return self._write("after step", batch)

    def close(self) -> None:
        self._write("close")

    def state_dict(self) -> dict[str, Any]:
        return {"lines": len(self.lines)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.lines = [("loaded", None)] * state["lines"]


OPTIMIZER = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)


def drive(schedule: ExtraPassSchedule, steps: range, accumulate: int = 1) -> list[dict[str, float]]:
    """Call the schedule as the monitor does, batches numbered through."""
    records = []
    for step in steps:
        for micro in range(accumulate):
            batch = step * accumulate + micro
            if schedule.due(step):
                records.append(schedule.batch_start(batch, batch, step))
            stepped = micro == accumulate - 1
            if stepped and schedule.measuring:
                schedule.before_step(OPTIMIZER, lambda: 0.5)
            if schedule.measuring:
                records.append(schedule.batch_end(stepped=stepped))
    return records


def looks(notebook: Notebook) -> list[int]:
    return [batch for moment, batch in notebook.lines if moment == "before forward"]


@pytest.mark.parametrize(
    ("every", "first", "expected"),
    [
        (200, 50, [50, 100, 200, 400, 600]),
        (100, 50, [50, 100, 200, 300, 400, 500, 600]),
        (30, 50, [30, 60, *range(90, STEPS, 30)]),
        (1, 50, list(range(1, STEPS))),
    ],
)
def test_distances_double_up_to_the_longest(every: int, first: int, expected: list[int]) -> None:
    notebook = Notebook()
    drive(ExtraPassSchedule([notebook], every=every, first=first), range(STEPS))
    assert looks(notebook) == expected


@pytest.mark.parametrize("accumulate", [1, 3])
def test_moments_of_a_look_in_order(accumulate: int) -> None:
    notebook = Notebook()
    drive(ExtraPassSchedule([notebook], every=200, first=50), range(60), accumulate)
    first = 50 * accumulate
    assert notebook.lines == [
        ("before forward", first),
        *([("before step", 0.5), ("after backward", None)] if accumulate == 1 else []),
        *([("after backward", None), ("before step", 0.5)] if accumulate > 1 else []),
        ("after step", first + accumulate),
    ]


def test_values_come_when_they_are_measured() -> None:
    records = drive(ExtraPassSchedule([Notebook("a"), Notebook("b")], every=200, first=50), range(60))
    assert records == [
        {},
        {"a/after backward": 3.0, "b/after backward": 3.0},
        {"a/after step": 4.0, "b/after step": 4.0},
    ]


@pytest.mark.parametrize("moment", ["before forward", "before step", "after backward", "after step"])
def test_a_fault_ends_one_instrument(moment: str) -> None:
    broken, other = Notebook("broken", moment), Notebook("other")
    schedule = ExtraPassSchedule([broken, other], every=100, first=100)
    with pytest.warns(UserWarning, match="broken is switched off for the rest of this run: RuntimeError.*out of ink"):
        drive(schedule, range(300))
    assert looks(other) == [100, 200]
    # what follows a step is still called: an collector may have to meet other processes there
    assert [line for line in broken.lines if line[0] not in {moment, "after step"}].count(("before forward", 200)) == 0


def test_a_checkpoint_keeps_the_schedule() -> None:
    whole, first, second = Notebook(), Notebook(), Notebook()
    drive(ExtraPassSchedule([whole], every=200, first=50), range(STEPS))
    schedule = ExtraPassSchedule([first], every=200, first=50)
    drive(schedule, range(150))
    resumed = ExtraPassSchedule([second], every=200, first=50)
    resumed.load_state_dict(schedule.state_dict())
    drive(resumed, range(150, STEPS))
    assert looks(first) + looks(second) == looks(whole)
    assert second.lines[: len(first.lines)] == [("loaded", None)] * len(first.lines)


def test_a_look_under_way_is_taken_again() -> None:
    notebook = Notebook()
    schedule = ExtraPassSchedule([notebook], every=200, first=50)
    drive(schedule, range(51))  # step 50 has been made, and nothing has been measured after it
    resumed = ExtraPassSchedule([again := Notebook()], every=200, first=50)
    resumed.load_state_dict(schedule.state_dict())
    drive(resumed, range(51, 60))
    assert looks(again) == [51]


def test_nothing_is_left_after_the_end() -> None:
    notebook = Notebook()
    schedule = ExtraPassSchedule([notebook], every=200, first=50)
    drive(schedule, range(51))
    schedule.close()
    assert notebook.lines[-1] == ("close", None)
    assert not schedule.measuring
    assert not schedule.due(51)
