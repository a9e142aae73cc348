"""Planned windows lie where the plan has them, whatever happens to single steps."""

from __future__ import annotations

import pytest

from thermo_callbacks.callbacks.planning import plan_windows
from thermo_callbacks.callbacks.windows.schedule import WindowSchedule


class Counted(WindowSchedule):
    """Counts steps and reads none."""

    def run(self, steps: int, missed: frozenset[int] = frozenset(), each: int = 1) -> list[int]:
        """Steps of the run done when a window ends: ``missed`` never happen, ``each`` happen in a batch."""
        ends = []
        for batch in range(steps):
            for step in range(each):
                self._reading = self.announce(batch * each + step)
                if batch not in missed:
                    self.arrive()
            if self.full:
                ends.append(batch + 1)
                self._pause()
        return ends


def schedule(steps: int) -> Counted:
    plan = plan_windows(steps)
    assert plan is not None
    return Counted(plan.length, None, plan)


@pytest.mark.parametrize("steps", [8, 13, 40, 100, 300, 500, 1500, 12_345])
def test_the_last_window_ends_with_the_run(steps: int) -> None:
    ends = schedule(steps).run(steps)
    assert ends[-1] == steps
    assert len(ends) == min(25, steps // 8)


def test_steps_that_the_scaler_skips_in_a_pause_move_no_window() -> None:
    complete = schedule(1500).run(1500)
    one = schedule(1500)
    assert one.run(1500, missed=frozenset({20, 29, 700, 701, 1400})) == complete
    assert one.skipped == 5


def test_steps_that_the_scaler_skips_in_a_window_delay_its_end_alone() -> None:
    complete = schedule(1500).run(1500)
    delayed = schedule(1500).run(1500, missed=frozenset({3, 4}))
    assert delayed[0] == complete[0] + 2
    assert delayed[-1] == 1500
    assert len(delayed) == len(complete)


def test_a_batch_with_several_steps_makes_the_run_longer_than_planned() -> None:
    ends = schedule(300).run(300, each=2)
    assert len(ends) > 40
    assert 300 - ends[-1] < 12


def test_without_a_plan_nothing_changes() -> None:
    assert Counted(8, None).run(420) == [8, 24, 56, 120, 248, 408]
    assert Counted(8, 3).run(30, missed=frozenset({9})) == [8, 20]
