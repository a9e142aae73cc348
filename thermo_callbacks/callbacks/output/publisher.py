"""Publication of values: all loggers, the Trainer's monitorable metrics, the TensorBoard page."""

from __future__ import annotations

import math
from typing import Any

from thermo_callbacks.callbacks.output.figures import Figures
from thermo_callbacks.callbacks.output.loggers import logger_output
from thermo_callbacks.callbacks.output.offers import offer, offer_together, without_windows
from thermo_callbacks.catalog import Scalars, members
from thermo_callbacks.display import (
    LayerHistory,
    PathHistory,
    engines_of,
    write_engine_chart,
    write_equilibrium_reference,
    write_heat_map,
    write_laplacian_heat_map,
    write_page,
    write_temperature_entropy_diagram,
)
from thermo_callbacks.probes.told import Told

FIRST_DRAWING = 64
"""Windows before the heat map is drawn for the first time while training goes on, then at every doubling: a drawing
costs about as much as some dozens of small steps."""


class Publisher:
    """Log the values of windows and extra passes, and keep the latest."""

    def __init__(self, told: Told | None = None) -> None:
        self.told = Told() if told is None else told
        self.latest: dict[str, float] = {}
        self.constants: dict[str, float] = {}  # known from the start, and logged once
        self.expected: Scalars = {}  # NaN for what may be logged later
        self.windows = 0
        self.activation_groups: dict[str, Any] = {}  # activations that are shown together
        self.engines: dict[str, Any] = {}  # type of engine of each activation, for the colours of its chart
        self._histories = {family: LayerHistory() for family in ("thermo_temperature", "thermo_laplacian")}
        self._path = PathHistory()
        self._figures = Figures(self.told)
        self._extra_passes_made = 0
        self._drawn = 0  # windows and extra passes on the last figures
        self._valued: set[str] = set()  # tags that have had a value that can be drawn

    @property
    def values(self) -> dict[str, float]:
        """Constants of the run and the last values of all else."""
        return self.constants | self.latest

    def publish(self, trainer: Any, record: dict[str, float], step: int, *, window: bool = True) -> None:
        """Log values at a step of Lightning's own axis; the figures remember the temperatures of a window."""
        self.windows += window
        self._extra_passes_made += not window
        valued = {tag for tag, value in record.items() if math.isfinite(value)}
        grown = not (record.keys() <= self.latest.keys() and valued <= self._valued)
        self._valued |= valued
        self.latest.update(record)
        offer(trainer, self.values)
        # not self.log: Lightning would repeat the last value at every flush until the epoch ends
        output = logger_output(trainer)
        output.values(trainer, record, step)
        self._remember(record, step)
        if grown:  # what a later extra pass brings first has charts too
            layers = max((history.layers for history in self._histories.values()), key=len)
            tags = self.values.keys()
            empty = tags - self._valued - self.constants.keys()
            output.write(trainer, step, lambda writers: write_page(writers, layers, tags, step, empty=empty))
        if "thermo/equilibrium_ratio" in record:
            output.write(trainer, step, lambda writers: write_equilibrium_reference(writers, step))
        if self.windows >= FIRST_DRAWING and self.windows + self._extra_passes_made >= 2 * self._drawn:
            self.draw(trainer, step)

    def _remember(self, record: dict[str, float], step: int) -> None:
        """Keep the values that the figures show."""
        for family, history in self._histories.items():
            if layers := members(record, family):
                history.append(step, layers)
        if "thermo/entropy" in record and "thermo/temperature" in record:
            self._path.append(step, record["thermo/entropy"], record["thermo/temperature"])

    def draw(self, trainer: Any, step: int) -> None:
        """Draw the figures of the run, unless they show all windows already."""
        if self._extra_passes_made + self.windows == self._drawn:
            return
        temperatures, laplacians = (self._histories[name] for name in ("thermo_temperature", "thermo_laplacian"))
        engines = engines_of(self.latest, self.engines)
        self._figures.draw(
            trainer,
            step,
            {
                "heat map of temperature": lambda writers: write_heat_map(writers, temperatures, step),
                "map of Laplacians": lambda writers: write_laplacian_heat_map(writers, laplacians, step),
                "diagram of temperature and entropy": lambda writers: write_temperature_entropy_diagram(
                    writers, self._path, step
                ),
                "chart of engines": lambda writers: write_engine_chart(writers, engines, step),
            },
        )
        self._drawn = self._extra_passes_made + self.windows

    def offer_together(self, trainer: Any, more: Scalars, *, windows: bool) -> None:
        """Let other callbacks monitor all that is known and ``more``; all processes of the run must come here.

        Where ``windows`` are no longer read, their values are those of a time that is past, and are NaN.
        """
        known = self.values if windows else without_windows(self.values)
        offer_together(trainer, self.expected | known | more)

    def state_dict(self) -> dict[str, Any]:
        """Latest values and history, in what a checkpoint may hold."""
        return {
            "latest": dict(self.latest),
            "windows": self.windows,
            "extra_passes": self._extra_passes_made,
            "histories": {family: history.state_dict() for family, history in self._histories.items()},
            "path": self._path.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back :meth:`state_dict`."""
        self.latest = dict(state["latest"])
        self._valued = {tag for tag, value in self.latest.items() if math.isfinite(value)}
        self.windows, self._extra_passes_made = int(state["windows"]), int(state["extra_passes"])
        self._drawn = self.windows + self._extra_passes_made
        for family, history in self._histories.items():
            history.load_state_dict(state["histories"][family])
        self._path.load_state_dict(state["path"])
