"""Plan of a run whose length is known: where its windows lie, and which steps have an extra pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from thermo_callbacks.callbacks.arguments import MINIMUM_STEPS

WINDOW = 50
"""Steps in a window where no plan can be made."""
EVERY = 200
"""Steps between two extra passes where no plan can be made."""

FEWEST_WINDOWS = 25
_SHORTEST, _MIDDLE, _LONGEST = MINIMUM_STEPS, 20, WINDOW
_LONG_RUN = 10_000  # steps, from which on cost is what limits the windows
_WATCHED = 20  # a long run has one step in so many watched

FEWEST_PASSES, _MOST_PASSES = 10, 200
_PER_PASS = 400
"""Steps of a long run for each extra pass: one takes seven steps of a decoder, more than all else together."""


@dataclass(frozen=True)
class WindowPlan:
    """Windows of one length, spread over the steps of a run: one starts with the first, one ends with the last.

    Attributes:
        start: Step of the run that the plan begins with.
        steps: Steps that are planned for.
        length: Steps in a window.
        count: Number of windows.
        between: Steps between two windows where they are spread evenly, and after the plan's end.
    """

    start: int
    steps: int
    length: int
    count: int
    between: int

    @property
    def end(self) -> int:
        """Steps of the run when the plan ends."""
        return self.start + self.steps

    @property
    def watched(self) -> int:
        """Steps in all windows."""
        return self.count * self.length

    def pause(self, done: int, left: int) -> int:
        """Pause after a window, with ``done`` steps made since the plan's start and ``left`` windows to come.

        Pauses are equal from here on, but none is longer than the run so far, which changes fastest at its start.
        Counted anew after each window, they make up for steps that a window lost.

        Returns:
            Steps until the next window.
        """
        left = min(left, (self.steps - done) // self.length)
        if left <= 0:
            return self.between  # the run is longer than was planned for
        room = self.steps - done - left * self.length
        return room if left == 1 else min(room // left, done)

    def rest(self, step: int) -> WindowPlan:
        """Windows of the same length from this step of the run to the plan's end."""
        if step <= self.start:
            return self
        fresh = plan_windows(self.end - step, step)
        if fresh is None:
            return replace(self, start=step, steps=max(0, self.end - step), count=0)
        return _spread(step, fresh.steps, self.length, max(1, fresh.watched // self.length))

    def extended(self, end: int) -> WindowPlan:
        """The same windows, and more of that length up to another end of the run."""
        fresh = plan_windows(end - self.end)
        more = 0 if fresh is None else max(1, fresh.watched // self.length)
        return replace(self, steps=end - self.start, count=self.count + more)

    def state_dict(self) -> dict[str, int]:
        """The plan as plain numbers."""
        return asdict(self)


def plan_windows(steps: int, start: int = 0) -> WindowPlan | None:
    """Plan the windows of a run with so many steps to come, from step ``start`` on.

    25 windows or more, of 8 to 50 steps. Up to 10,000 steps there are 25, which watch a quarter of the run but have 8
    to 20 steps each; a run too short for them is watched throughout. Beyond, one step in 20 is watched: windows grow up
    to 50 steps, then there are more of them.

    Returns:
        The plan; None for fewer steps than the shortest window has.
    """
    if steps < _SHORTEST:
        return None
    if steps < FEWEST_WINDOWS * _SHORTEST:
        count = steps // _SHORTEST
        return _spread(start, steps, steps // count, count)
    if steps < _LONG_RUN:
        length = min(max(_SHORTEST, steps // (4 * FEWEST_WINDOWS)), _MIDDLE)
        return _spread(start, steps, length, FEWEST_WINDOWS)
    length = min(steps // (_WATCHED * FEWEST_WINDOWS), _LONGEST)
    return _spread(start, steps, length, steps // _WATCHED // length)


def _spread(start: int, steps: int, length: int, count: int) -> WindowPlan:
    room = max(0, steps - count * length)
    return WindowPlan(start, steps, length, count, room // max(1, count - 1))


def plan_extra_passes(steps: int, first: int) -> tuple[int, ...]:
    """Plan the extra passes of a run with so many steps to come, after the first ``first`` of them.

    10 passes, or one for each 400 steps, and 200 at most. Distances double from the first pass on, then they are equal.
    The last one is the last but one step of the run: what it measures ends with the batch after it. A run of few steps
    has a pass at every other one.

    Returns:
        Steps that have one, counted from 0.
    """
    last = steps - 2
    if last < first:
        return ()
    left = min(max(FEWEST_PASSES, min(steps // _PER_PASS, _MOST_PASSES)), 1 + (last - first) // 2)
    due = [first]
    while (left := left - 1) > 0:
        room = last - due[-1]
        due.append(last if left == 1 else due[-1] + min(room // left, max(1, due[-1])))
    return tuple(due)


@dataclass(frozen=True)
class Timetable:
    """When a monitor measures in one run.

    Attributes:
        window: Steps in a window.
        steps_between_windows: Steps between two windows; None: as planned, or as many as the run so far up to a limit.
        windows: Plan of the windows, where there is one.
        every: Steps between two extra passes, after those that are planned.
        planned: Steps of the planned extra passes.
    """

    window: int = WINDOW
    steps_between_windows: int | None = None
    windows: WindowPlan | None = None
    every: int = EVERY
    planned: tuple[int, ...] = ()

    @property
    def of_windows(self) -> dict[str, Any]:
        """Arguments of a schedule of windows."""
        return {
            "window": self.window,
            "steps_between_windows": self.steps_between_windows,
            "plan": self.windows,
        }

    @property
    def of_extra_passes(self) -> dict[str, Any]:
        """Arguments of a schedule of extra passes."""
        return {"first": min(self.window, self.every), "every": self.every, "planned": self.planned}

    def described(self, arguments: Mapping[str, Any], extra_passes: bool) -> dict[str, Any]:
        """The arguments of a monitor with what was planned in place of None, and what else there is to say."""
        chosen = {"window": self.window, "curvature_every_n_steps": self.every}
        configuration = {name: chosen.get(name) if value is None else value for name, value in arguments.items()}
        first = self.planned[0] if self.planned else min(self.window, self.every)
        configuration["extra_passes"] = {"first": first, "every": self.every} if extra_passes else None
        planned = {} if self.windows is None else {"steps": self.windows.end, "windows": self.windows.count}
        if self.planned:
            planned["extra_passes"] = len(self.planned)
        return configuration | ({"planned": planned} if planned else {})


def planned_windows(
    states: Sequence[Mapping[str, Any]], *, start: int, end: int | None
) -> tuple[int, WindowPlan | None]:
    """Length of the windows and their plan: that of a checkpoint's states where there are any, or else a fresh one."""
    if not states:
        fresh = None if end is None else plan_windows(end - start, start)
        return (WINDOW if fresh is None else fresh.length), fresh
    length, kept = len(states[0]["losses"]), states[0].get("plan")
    if kept is None:  # of an earlier version, or of a run of unknown length: it goes on as it was
        return length, None
    plan = WindowPlan(**kept)
    return length, plan if end is None or end <= plan.end else plan.extended(end)


def planned_extra_passes(
    state: Mapping[str, Any], *, start: int, end: int | None, first: int
) -> tuple[int, tuple[int, ...]]:
    """Steps between extra passes that are not planned, and the planned ones: a checkpoint's, or else fresh ones."""
    if not state:
        due = () if end is None else tuple(start + step for step in plan_extra_passes(end - start, first))
        return (due[-1] - due[-2] if len(due) > 1 else EVERY), due
    every, due = int(state.get("every", EVERY)), tuple(state.get("planned", ()))
    if due and end is not None and end - 2 > due[-1]:  # the run was made longer than its checkpoint knew of
        due += tuple(due[-1] + step for step in plan_extra_passes(end - due[-1], min(every, end - 2 - due[-1])))
    return every, due
