"""Displays that redraw a table in the terminal: alone, or above the bars of another live display."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.progress import Progress
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from thermo_callbacks.probes.guard import Guard


class OwnDisplay:
    """A live display of the table alone."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False)
        self._live.start()

    def show(self, table: Table) -> None:
        """Replace the table."""
        # what is written to the terminal behind the display's back leaves a first line behind: let it be empty
        self._live.update(Group(Text(), table), refresh=True)

    def close(self) -> None:
        """Close the display. The last table stays."""
        self._live.stop()


class GuestDisplay:
    """The table above the bars of another live display: a console has one display only.

    At the end of a run there is nothing to do. The display takes its last picture later, with the table, and is never
    started again.
    """

    def __init__(self, progress: Progress, guard: Guard) -> None:
        self.progress = progress
        self._guard = guard

    def show(self, table: Table) -> None:
        """Replace the table; it is seen when the bars are drawn next."""
        progress = self.progress
        drawn = _Drawn(table, self._guard)
        bars = type(progress).get_renderables
        # the instance hides the method of its class, which takes over again when this is withdrawn
        vars(progress)["get_renderables"] = lambda: (drawn, *bars(progress))

    def withdraw(self) -> None:
        """Take the table off the other display."""
        vars(self.progress).pop("get_renderables", None)


class _Drawn:
    """A table laid out once for each width: bars are redrawn up to a hundred times a second."""

    def __init__(self, table: Table, guard: Guard) -> None:
        self._table, self._guard = Group(Text(), table), guard
        self._width = -1
        self._lines: list[Segment] = []

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width != self._width:
            self._width = options.max_width
            with self._guard.protect("laying out the table"):
                lines = console.render_lines(self._table, options, pad=False)
                # one piece a line, without styles: the bars pay for each piece at each redrawing
                self._lines = [Segment("".join(piece.text for piece in line).rstrip() + "\n") for line in lines]
        yield from self._lines
