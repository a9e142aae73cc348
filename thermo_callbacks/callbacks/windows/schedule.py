"""Which steps of an optimizer are read: a window of them, then none for a while."""

from __future__ import annotations

LONGEST_PAUSE = 19
"""Length in windows of the longest pause that is made without being asked for."""


class WindowSchedule:
    """Counts steps: ``window`` of them are read, then none in a pause of ``steps_between_windows``.

    By default the pause is as long as the run so far, up to 19 windows: a run changes fastest at its start, and the
    cost of a watched step, some percent of a step of a small network, is borne by one step in 20 later.
    """

    def __init__(self, window: int, steps_between_windows: int | None) -> None:
        self.skipped = 0  # steps that never happened, or whose gradient was not finite
        self.taken = 0  # steps of the open window: those read, or those that it is known to hold elsewhere
        self.interrupted = 0  # steps of a window that a checkpoint could not hold
        self._window, self._between = window, steps_between_windows
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
            self.skipped += 1
        self._pending = batch
        self._reading = False
        return self.measuring

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
        self._paused = min(LONGEST_PAUSE * self._window, self._steps) if self._between is None else self._between
        self._bridge = self._excess + self._paused
        self._excess = 0
