"""Which steps of an optimizer are read: a window of them, then none for a while."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thermo_callbacks.callbacks.planning import WindowPlan

LONGEST_PAUSE = 19
"""Length in windows of the longest pause that is made without being asked for."""


class WindowSchedule:
    """Counts steps: ``window`` of them are read, then none in a pause of ``steps_between_windows``.

    With a plan, the pauses are such that its windows are spread over the run and the last one ends with it. Without
    either, a pause is as long as the run so far, up to 19 windows: a run changes fastest at its start, and the
    cost of a watched step, some percent of a step of a small network, is borne by one step in 20 later.
    """

    def __init__(self, window: int, steps_between_windows: int | None, plan: WindowPlan | None = None) -> None:
        self.skipped = 0  # steps that never happened, or whose gradient was not finite
        self.taken = 0  # steps of the open window: those read, or those that it is known to hold elsewhere
        self.interrupted = 0  # steps of a window that a checkpoint could not hold
        self._window, self._between, self._plan = window, steps_between_windows, plan
        self._left = 0 if plan is None else plan.count  # planned windows to come, with the one under way
        self._undone = 0  # steps that were announced and never happened: the plan has counted them
        self._paused = 0  # steps until the next window; the first window starts with the first step
        self._steps = 0
        self._excess = 0
        self._bridge = 0  # unwatched steps before the window under way
        self._pending: int | None = None  # batch whose step is about to happen
        self._reading = False

    @property
    def full(self) -> bool:
        """Whether the window holds all its steps."""
        return self.taken >= self._window

    @property
    def measuring(self) -> bool:
        """Whether the next step is read."""
        return not self._paused and not self.full

    @property
    def pending(self) -> bool:
        """Whether a step was announced and has not happened yet."""
        return self._pending is not None

    def announce(self, batch: int) -> bool:
        """A step is about to happen: whether it is to be read."""
        # LBFGS evaluates its closure several times in one batch, and the first one counts
        if self._pending == batch:
            return False
        if self._pending is not None:  # announced and never done: the gradient scaler skipped it
            self._miss()
        self._pending = batch
        self._reading = False
        return self.measuring

    def _miss(self) -> None:
        """A step that was announced has not happened."""
        self.skipped += 1
        self._undone += 1
        if self._plan is not None and self._paused:  # the next window has its place in the run
            self._paused -= 1
            self._bridge -= 1

    def arrive(self) -> bool:
        """The step has happened: whether it was read before, and is to be read now."""
        self._pending = None
        self._steps += 1
        if self._paused:
            self._paused -= 1
        elif self.full:  # more steps in the batch that filled the window
            self._excess += 1
        self.taken += self._reading
        return self._reading

    def _pause(self) -> None:
        """The window has ended."""
        self.taken = 0
        self._paused = self._pause_length()
        self._bridge = self._excess + self._paused
        self._excess = 0

    def _pause_length(self) -> int:
        if self._plan is not None:
            self._left = max(0, self._left - 1)
            return self._plan.pause(self._steps + self._undone, self._left)
        return min(LONGEST_PAUSE * self._window, self._steps) if self._between is None else self._between

    def schedule_state(self) -> dict[str, Any]:
        """Where the run is between its windows, as plain numbers for a checkpoint."""
        return {
            "steps": self._steps,
            "undone": self._undone + self.pending,
            "paused": self._paused,
            "bridge": self._bridge,
            "skipped": self.skipped + self.pending,  # a step that is still pending when its batch has ended
            "plan": None if self._plan is None else self._plan.state_dict(),
            "left": self._left,
        }

    def restore_schedule(self, state: Mapping[str, Any]) -> None:
        """Go on with a window's own plan; up to the end that the run has now, if that is a later one."""
        self._steps, self._paused = state["steps"], state["paused"]
        self._bridge, self.skipped = state["bridge"], state["skipped"]
        self._undone = state.get("undone", 0)
        kept = state.get("plan")
        if self._plan is None or kept is None:
            self._plan = None
            return
        end, self._plan = self._plan.end, WindowPlan(**kept)
        self._left = state["left"]
        if end > self._plan.end:
            planned, self._plan = self._plan.count, self._plan.extended(end)
            self._left += self._plan.count - planned
