"""Learning rates of all steps of an optimizer since its last window, watched or not."""

from __future__ import annotations

from typing import Any

MOST_RATES = 4096
"""Learning rates of unwatched steps that are kept; a longer pause is thinned to its half, and again."""


class RateRecord:
    """Learning rates of the steps since the last window, thinned where they are many."""

    def __init__(self) -> None:
        self.steps = 0
        self._stride = 1
        self.rates: list[float] = []

    def add(self, rate: float) -> None:
        """A step was made at this learning rate."""
        if self.steps % self._stride == 0:
            self.rates.append(rate)
            if len(self.rates) > MOST_RATES:
                self.rates, self._stride = self.rates[::2], 2 * self._stride
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        """The record as plain numbers."""
        return {"steps": self.steps, "stride": self._stride, "rates": list(self.rates)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back :meth:`state_dict`."""
        self.steps, self._stride, self.rates = state["steps"], state["stride"], list(state["rates"])


class RateHistory:
    """Learning rates of an open window, of the steps before it that nobody watches, and of those behind its end."""

    def __init__(self) -> None:
        self.watched: list[float] = []
        self._before, self._after = RateRecord(), RateRecord()

    @property
    def unwatched(self) -> list[float]:
        """Learning rates of the steps before the window, evenly thinned."""
        return self._before.rates

    def add(self, rate: float, *, read: bool, opened: bool) -> None:
        """A step was made, and read or not; ``opened``: after others of the window."""
        if read:
            self.watched.append(rate)
        else:  # before the window, or in the batch that filled it
            (self._after if opened else self._before).add(rate)

    def turn(self) -> None:
        """The window has ended: what came behind its end comes before the next one."""
        self._before, self._after, self.watched = self._after, RateRecord(), []

    def state_dict(self, *, open_window: bool) -> dict[str, Any]:
        """The history as plain numbers, with the open window if that is wanted."""
        return {
            "watched": list(self.watched) if open_window else [],
            "before": self._before.state_dict(),
            "after": self._after.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Take back :meth:`state_dict`; an earlier version has none."""
        if state is None:
            return
        self.watched = list(state["watched"])
        self._before.load_state_dict(state["before"])
        self._after.load_state_dict(state["after"])
