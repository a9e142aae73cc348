"""LiveTable: the key numbers of a run in the terminal, while it trains."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from thermo_callbacks.callbacks.base import Monitor
from thermo_callbacks.callbacks.compat import Callback, logging_step, plain_state
from thermo_callbacks.callbacks.output.loggers import logger_output
from thermo_callbacks.callbacks.output.terminal import GuestDisplay, OwnDisplay
from thermo_callbacks.callbacks.transition_monitor import TransitionTemperatureMonitor
from thermo_callbacks.display.tables.run_table import run_table
from thermo_callbacks.probes.guard import Guard

FIRST_PAUSE, LONGEST_PAUSE = 60.0, 3600.0
"""Seconds to the first table that is printed where none can be redrawn, and between two of them at most."""


class LiveTable(Callback):
    """Table of a run's key numbers in the terminal, updated as the monitors bring new ones.

    It shows what the monitors among the Trainer's callbacks log: loss, temperature and the hottest layers, drift,
    noise scale, entropy balance, Laplacian, work efficiency, complexity, transition temperatures, with standard errors
    where there are any. It measures nothing itself.

    - In a terminal, above Lightning's ``RichProgressBar`` or without a progress bar: one table, redrawn in place. Above
      the bar it is drawn again whenever the bar is, as often as the bar's ``refresh_rate`` says.
    - Beside ``TQDMProgressBar`` or another bar, which can't share its lines: a table is printed above the bar after a
      minute, then after twice as long each time, up to an hour, and at the end.
    - Without a terminal (a pipe, a log file, a notebook): printed just as rarely, in plain text.

    Only the first of several processes shows anything.

    Args:
        every_n_seconds: Shortest time between two updates, in seconds.
        layers: How many of the hottest layers are shown, at least 0.
        console: Where to print; None for standard output. Above a ``RichProgressBar`` it is the bar's own console.

    Raises:
        ValueError: If an argument is out of its range.

    Example::

        trainer = Trainer(callbacks=[ThermoMonitor(), LiveTable()])
    """

    def __init__(self, every_n_seconds: float = 1.0, *, layers: int = 3, console: Console | None = None) -> None:
        super().__init__()
        if isinstance(every_n_seconds, bool) or not isinstance(every_n_seconds, int | float):
            raise ValueError(f"every_n_seconds must be a number of at least 0, got {every_n_seconds!r}")
        if not 0.0 <= every_n_seconds <= sys.float_info.max:
            raise ValueError(f"every_n_seconds must be a number of at least 0, got {every_n_seconds!r}")
        if not isinstance(layers, int) or isinstance(layers, bool) or layers < 0:
            raise ValueError(f"layers must be a whole number of at least 0, got {layers!r}")
        if console is not None and not isinstance(console, Console):
            raise ValueError(f"console must be a rich.console.Console, or None for standard output, got {console!r}")
        self.every_n_seconds, self.layers, self.console = every_n_seconds, layers, console
        self._forget()

    def _forget(self) -> None:
        self._guard = Guard(type(self).__name__)
        self._monitors: list[Any] = []
        self._shown: dict[str, float] = {}
        self._next = math.inf
        self._pause = FIRST_PAUSE
        self._printed = math.inf  # when the next table may be printed
        self._display: OwnDisplay | GuestDisplay | None = None

    def __getstate__(self) -> dict[str, Any]:
        """State for copies and pickles: without what belongs to the one running fit."""
        return {**plain_state(self), "_monitors": [], "_display": None, "_next": math.inf, "console": None}

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Find the monitors.

        Args:
            trainer: The Trainer.
            pl_module: The model.
            stage: Only ``"fit"`` is shown.

        Raises:
            ValueError: If there is no monitor among the Trainer's callbacks.
        """
        if stage != "fit":
            return
        self._end()
        self._forget()
        self._guard.told.join(logger_output(trainer).told)
        monitors = [one for one in trainer.callbacks if isinstance(one, Monitor | TransitionTemperatureMonitor)]
        if not monitors:
            raise ValueError(
                "LiveTable found no monitor among the Trainer's callbacks, so it has nothing to show: give it one, as "
                "in Trainer(callbacks=[ThermoMonitor(), LiveTable()])"
            )
        if trainer.is_global_zero:
            self._monitors = monitors

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Open the display; the first values come with the first window."""
        if self._monitors:
            self._next = time.monotonic()
            self._printed = self._next + self._pause

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Show new values, if it is time to."""
        if (now := time.monotonic()) >= self._next:
            self._next = now + self.every_n_seconds
            self._protected_update(trainer, pl_module, now)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Bring the table up to date while the progress bar that it may stand in is there."""
        if self._display is not None:
            self._protected_update(trainer, pl_module, time.monotonic())

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Leave the last table behind: the monitors have logged their last values by now."""
        if isinstance(self._display, OwnDisplay):
            self._protected_update(trainer, pl_module, time.monotonic())
        elif self._display is None and (values := self._values()):
            with self._guard.protect("showing values"), self._guard.invisible(pl_module.device):
                self._output().print(self._table(trainer, values))
        self._end()

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Close the display."""
        self._end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Close the display: after an exception no other hook comes."""
        self._end()

    def _protected_update(self, trainer: Any, pl_module: Any, now: float) -> None:
        with self._guard.protect("showing values"), self._guard.invisible(pl_module.device):
            self._update(trainer, now)
        if self._guard.disabled:
            if isinstance(self._display, GuestDisplay):
                self._display.withdraw()
            self._end()

    def _values(self) -> dict[str, float]:
        return {tag: value for monitor in self._monitors for tag, value in monitor.latest().items()}

    def _table(self, trainer: Any, values: dict[str, float]) -> Table:
        return run_table(values, layers=self.layers, head=f"step {logging_step(trainer):,}")

    def _output(self) -> Console:
        return Console() if self.console is None else self.console

    def _update(self, trainer: Any, now: float) -> None:
        values = self._values()
        if not values:
            return
        display = self._find_display(trainer.progress_bar_callback)
        fresh = values != self._shown
        if display is not None:
            if fresh:
                display.show(self._table(trainer, values))
        elif fresh and now >= self._printed:
            self._pause = min(2.0 * self._pause, LONGEST_PAUSE)
            self._printed = now + self._pause
            self._print(trainer.progress_bar_callback, self._table(trainer, values))
        else:
            return
        self._shown = values

    def _find_display(self, bar: Any) -> OwnDisplay | GuestDisplay | None:
        """Where a table can be redrawn now; None where it can only be printed."""
        progress = getattr(bar, "progress", None)
        if isinstance(progress, Progress):
            if isinstance(self._display, GuestDisplay) and self._display.progress is progress:
                return self._display
            self._shown = {}  # the bars began anew
            if progress.console.is_interactive:
                self._display = GuestDisplay(progress, self._guard)
        elif bar is not None and bar.is_enabled:
            return None
        elif self._display is None and (console := self._output()).is_interactive:
            self._display = OwnDisplay(console)
        return self._display

    def _print(self, bar: Any, table: Table) -> None:
        console = self._output()
        if bar is None or not bar.is_enabled:
            console.print(table)
            return
        with console.capture() as capture:
            console.print(table)
        bar.print(capture.get().rstrip("\n"))

    def _end(self) -> None:
        self._next, self._monitors = math.inf, []
        display, self._display = self._display, None
        if isinstance(display, OwnDisplay):
            with self._guard.protect("giving the terminal back"):
                display.close()
