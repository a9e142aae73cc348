"""Reader of CSVLogger's ``metrics.csv`` that leaves out broken lines."""

from __future__ import annotations

import csv
from pathlib import Path

from thermo_callbacks.commands.report.events import Log

CSV_FILE = "metrics.csv"


def read_csv(path: Path, log: Log) -> None:
    """Read a table of metrics: one column a tag, one line a call of the logger.

    An empty cell was not logged, and ``nan`` was logged as no value. A last line without its end is being written, or
    was cut off: its last number may lack digits, so it is left out and noted, as are lines that hold no numbers.
    """
    try:
        text, time = path.read_bytes().decode("utf-8", "replace"), path.stat().st_mtime
    except OSError as fault:
        log.notices.append(f"{path.name} can't be read ({fault.strerror}).")
        return
    whole, _, rest = text.rpartition("\n")
    if not whole:
        log.notices.append(f"{path.name} is {'empty' if not text.strip() else 'cut off in its first line'}.")
        return
    if rest:
        log.notices.append(f"{path.name} ends in the middle of a line, which is left out.")
    header, *rows = [_cells(line) for line in whole.splitlines() if line.strip()] or [[]]
    if "step" not in header:
        log.notices.append(f"{path.name} has no column named step, and is left out.")
        return
    broken = sum(len(row) != len(header) or not _take(dict(zip(header, row, strict=True)), time, log) for row in rows)
    if broken:
        log.notices.append(
            f"{path.name} has {broken:,} of {len(rows):,} lines that hold no numbers; they are left out."
        )


def _cells(line: str) -> list[str]:
    """Split one line: a quotation mark without its partner must not swallow the lines that follow."""
    try:
        # a NUL byte, as a file system leaves it behind after a crash, is none of a number's
        return next(csv.reader([line.replace("\0", "?")]))
    except csv.Error:  # a cell as long as none that a logger writes
        return []


def _take(cells: dict[str, str], time: float, log: Log) -> bool:
    """Take over one line, all of it or nothing."""
    try:
        step = int(float(cells.pop("step", "")))
        values = {tag: float(cell) for tag, cell in cells.items() if cell}
    except (ValueError, OverflowError):
        return False
    for tag, value in values.items():
        log.add_scalar(tag, step, value, time)
    return True
