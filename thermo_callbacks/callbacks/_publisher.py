"""Where the values of a window go: all loggers, the Trainer's monitorable metrics, the TensorBoard page."""

from __future__ import annotations

from typing import Any

import torch

from thermo_callbacks.reports import (
    TemperatureHistory,
    tensorboard_writers,
    write_equilibrium_reference,
    write_heat_map,
    write_page,
)

FIRST_DRAWING = 64
"""Windows before the heat map is drawn for the first time while training goes on, then at every doubling: a drawing
costs about as much as some dozens of small steps."""


class Publisher:
    """Hands out the values of each window, and remembers the last ones."""

    def __init__(self) -> None:
        self.latest: dict[str, float] = {}
        self.windows = 0
        self._history = TemperatureHistory()
        self._page_written = False
        self._drawn = 0

    def publish(self, trainer: Any, record: dict[str, float], step: int) -> None:
        """Log the values of a window.

        Args:
            trainer: The Trainer.
            record: Tag to value.
            step: Position on Lightning's own axis.
        """
        self.windows += 1
        self.latest.update(record)
        self.offer(trainer, self.latest)
        # not self.log: Lightning would repeat the last value at every flush until the epoch ends
        for logger in trainer.loggers:
            logger.log_metrics(record, step=step)
        family = "thermo_temperature/"
        temperatures = {tag.removeprefix(family): value for tag, value in record.items() if tag.startswith(family)}
        self._history.append(step, temperatures)
        self._extend_page(trainer, step)
        if self.windows >= FIRST_DRAWING and self.windows >= 2 * self._drawn:
            self.draw(trainer, step)

    def _extend_page(self, trainer: Any, step: int) -> None:
        """Layout and legend once, and the line that the equilibrium ratio is read against."""
        writers = tensorboard_writers(trainer.loggers)
        if not writers:
            return
        if not self._page_written:
            write_page(writers, self._history.layers, self.latest.keys())
            self._page_written = True
        if "thermo/equilibrium_ratio" in self.latest:
            write_equilibrium_reference(writers, step)

    def draw(self, trainer: Any, step: int) -> None:
        """Draw the heat map of temperature, unless it shows all windows already.

        Args:
            trainer: The Trainer.
            step: Position on Lightning's own axis.
        """
        if self.windows > self._drawn:
            write_heat_map(tensorboard_writers(trainer.loggers), self._history, step)
            self._drawn = self.windows

    @staticmethod
    def offer(trainer: Any, record: dict[str, float]) -> None:
        """Let ModelCheckpoint and EarlyStopping monitor the values.

        Args:
            trainer: The Trainer.
            record: Tag to value.
        """
        trainer.callback_metrics.update({tag: torch.tensor(value) for tag, value in record.items()})

    def state_dict(self) -> dict[str, Any]:
        """Latest values and history, in what a checkpoint may hold."""
        return {"latest": dict(self.latest), "windows": self.windows, "history": self._history.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back :meth:`state_dict`.

        Args:
            state: What :meth:`state_dict` returned.
        """
        self.latest, self.windows = dict(state["latest"]), int(state["windows"])
        self._drawn = self.windows
        self._history.load_state_dict(state["history"])
