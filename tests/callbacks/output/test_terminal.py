"""Displays of a table in a terminal: alone, and above the bars of somebody else."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from thermo_callbacks.callbacks.output.terminal import GuestDisplay, OwnDisplay
from thermo_callbacks.probes.guard import Guard


def terminal(width: int = 60) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, force_interactive=True, width=width, color_system=None)


def text(console: Console) -> str:
    return console.file.getvalue()  # type: ignore[attr-defined]


def table(word: str) -> Table:
    filled = Table(word)
    filled.add_row(f"{word} row")
    return filled


def test_own_display_redraws_in_place_and_gives_the_terminal_back() -> None:
    console = terminal()
    display = OwnDisplay(console)
    for word in ("first", "second"):
        display.show(table(word))
    assert "\x1b[1A" in text(console).partition("second row")[0].partition("first row")[2]  # up again
    assert "\x1b[?25l" in text(console)  # cursor hidden
    display.close()
    assert text(console).endswith("\x1b[?25h")
    display.close()


def test_guest_stands_above_the_bars_and_leaves_them_alone() -> None:
    console = terminal()
    progress = Progress(console=console, auto_refresh=False)
    progress.add_task("the bar", total=3)
    guest = GuestDisplay(progress, Guard("test"))
    with progress:
        for word in ("first", "second"):
            guest.show(table(word))
            progress.refresh()
            drawn = text(console).rpartition(f"{word} row")[2]
            assert "the bar" in drawn
        guest.withdraw()
        guest.withdraw()
        drawn = len(text(console))
        progress.refresh()
        assert "row" not in text(console)[drawn:]
        assert "the bar" in text(console)[drawn:]
    assert "get_renderables" not in vars(progress)


def test_last_picture_of_the_bars_holds_the_table() -> None:
    console = terminal()
    progress = Progress(console=console, auto_refresh=False)
    progress.add_task("the bar", total=3)
    progress.start()
    GuestDisplay(progress, Guard("test")).show(table("last"))
    progress.stop()
    assert "last row" in text(console).rpartition("\x1b[?25h")[0]


class Counted:
    """Counts how often it is laid out."""

    def __init__(self) -> None:
        self.times = 0

    def __rich_console__(self, console, options):  # type: ignore[no-untyped-def]
        self.times += 1
        yield f"laid out at width {options.max_width}"


def test_table_is_laid_out_once_for_each_width() -> None:
    console = terminal()
    counted = Counted()
    progress = Progress(console=console, auto_refresh=False)
    GuestDisplay(progress, Guard("test")).show(counted)  # type: ignore[arg-type]
    with progress:
        for _ in range(5):
            progress.refresh()
        assert counted.times == 1
        console.width = 40
        for _ in range(5):
            progress.refresh()
    assert counted.times == 2
    assert "width 40" in text(console)


class Faulty:
    def __rich_console__(self, console, options):  # type: ignore[no-untyped-def]
        raise RuntimeError("a bug")
        yield


def test_a_fault_while_drawing_leaves_the_bars_standing() -> None:
    console, guard = terminal(), Guard("LiveTable")
    progress = Progress(console=console, auto_refresh=False)
    progress.add_task("the bar", total=3)
    GuestDisplay(progress, guard).show(Faulty())  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="^LiveTable is switched off .* while laying out the table: a bug"):
        progress.start()
    progress.refresh()  # in silence: a warning would be an error
    progress.stop()
    assert "the bar" in text(console)
    assert guard.disabled
