"""The windows of a run: those of all optimizers, which the processes of a run end together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from thermo_callbacks.callbacks.windows.optimizer_window import OptimizerWindow
from thermo_callbacks.callbacks.windows.sync import merge
from thermo_callbacks.probes.guard import Guard


class JointWindows:
    """Windows that end in all processes or in none.

    Attributes:
        windows: Those of all optimizers, in the order in which they were made.
        closed: How many have ended, or were restored as such.
        sharded: Whether each process has a part of the parameters only.
    """

    def __init__(self, trainer: Any, guard: Guard, windows: list[OptimizerWindow]) -> None:
        self.trainer, self.guard, self.windows = trainer, guard, windows
        self.closed = 0
        self.sharded = self._in_step = False  # in step: the processes close their windows together

    @property
    def active(self) -> bool:
        """Whether steps are followed: with several processes also after a fault, which the others must learn of."""
        return self._in_step or not self.guard.disabled

    @property
    def measuring(self) -> bool:
        """Whether a window reads the step under way."""
        if not self.guard.disabled:  # a plain loop, since several hooks of each step come here
            for window in self.windows:
                if window.measuring:
                    return True
        return False

    def complete(self) -> list[OptimizerWindow]:
        """Windows that are complete now, knowing what all processes have seen."""
        if not self.active:
            return []
        complete = self._brought_together([window for window in self.windows if window.full])
        self.closed += len(complete)
        return complete

    def with_steps(self, minimum: int, *, ending: bool = False) -> list[OptimizerWindow]:
        """Windows that hold at least ``minimum`` steps so far, which can be looked into, or closed if ``ending``."""
        found = [window for window in self.windows if window.taken >= minimum]
        # a look into windows of whole parameters needs no other process, and not all of them may be validating
        return self._brought_together(found) if ending or self.sharded else found

    def first_window_open(self, known: bool) -> bool:
        """Whether nothing has been said of any window yet, so that it is time to look into the open one."""
        # whether values are known may differ between processes, which must answer alike
        return not self.closed if self._in_step else not known

    def _brought_together(self, windows: list[OptimizerWindow]) -> list[OptimizerWindow]:
        """The same windows, knowing what all processes have seen."""
        if not (self._in_step and windows):
            return windows
        together = merge(windows, self.guard, self.trainer.strategy.root_device)
        if not together:
            self.leave(windows)
        self.stop_if_disabled()
        return windows if together else []

    @staticmethod
    def leave(windows: Sequence[OptimizerWindow]) -> None:
        """Go on after windows that are full, also those that a fault has kept from being closed."""
        for window in windows:
            window.leave()

    def stop_if_disabled(self) -> None:
        """All processes know of a fault in one of them: none waits for another from now on."""
        self._in_step = self._in_step and not self.guard.disabled

    def state(self) -> list[dict[str, Any]]:
        """State of each window, for a checkpoint."""
        return [window.state_dict() for window in self.windows]

    def restore(self, states: Sequence[dict[str, Any]]) -> None:
        """Go on where :meth:`state` was taken; no states are a fresh start."""
        if not states:
            return
        self.closed = sum(state["last"] is not None for state in states)
        fitting = [window.load_state_dict(state) for window, state in zip(self.windows, states, strict=False)]
        if len(states) != len(self.windows) or not all(fitting):
            self.guard.warn_once(
                f"{self.guard.name} found statistics of other layers or optimizers in the checkpoint: those that don't "
                "fit start afresh. Give it the model and arguments of the run that wrote the checkpoint to go on."
            )
        if interrupted := max((window.interrupted for window in self.windows), default=0):
            self.guard.warn_once(
                f"{self.guard.name} begins its open window, of {interrupted} steps so far, afresh: a checkpoint holds "
                "what one process knows, and each process has seen a part of the sharded parameters"
            )
