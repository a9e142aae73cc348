"""Which steps of an optimizer are read: a window of them, then a rest."""

from __future__ import annotations

MAXIMUM_REST = 19
"""Windows in the longest rest that is taken without being asked for."""


class Bursts:
    """Counts steps: ``window`` of them are read, then none in a rest.

    By default the rest is as long as the run so far, up to 19 windows: a run changes fastest at its start, and the
    cost of a watched step, some percent of a step of a small network, is borne by one step in 20 later.

    Args:
        window: Steps in a window.
        rest: Steps between two windows; None for the growing rest.
    """

    def __init__(self, window: int, rest: int | None) -> None:
        self.skipped = 0  # steps that never happened, or whose gradient was not finite
        self.taken = 0  # steps of the open window: those read, or those that it is known to hold elsewhere
        self.interrupted = 0  # steps of a window that a checkpoint could not hold
        self._window, self._rest = window, rest
        self._resting = 0  # steps of rest still to come; the first window starts with the first step
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
        return not self._resting and not self.full

    @property
    def pending(self) -> bool:
        """Whether a step was announced and has not happened yet."""
        return self._pending is not None

    def announce(self, batch: int) -> bool:
        """A step is about to happen.

        Args:
            batch: Number of the batch: LBFGS evaluates its closure several times in one, and the first one counts.

        Returns:
            Whether the step is to be read.
        """
        if self._pending == batch:
            return False
        if self._pending is not None:  # announced and never done: the gradient scaler skipped it
            self.skipped += 1
        self._pending = batch
        self._reading = False
        return self.measuring

    def arrive(self) -> bool:
        """The step has happened.

        Returns:
            Whether it was read before, and is to be read now.
        """
        self._pending = None
        self._steps += 1
        if self._resting:
            self._resting -= 1
        elif self.full:  # more steps in the batch that filled the window
            self._excess += 1
        self.taken += self._reading
        return self._reading

    def _begin_rest(self) -> None:
        """The window has ended."""
        self.taken = 0
        self._resting = min(MAXIMUM_REST * self._window, self._steps) if self._rest is None else self._rest
        self._bridge = self._excess + self._resting
        self._excess = 0
