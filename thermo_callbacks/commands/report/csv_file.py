"""Reader of CSVLogger's ``metrics.csv`` that leaves out broken lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from thermo_callbacks.commands.report.log import LARGEST_STEP, MOST_TAGS, Log

CSV_FILE = "metrics.csv"
_LONGEST_NUMBER = 400  # signs: the largest number has 309 digits
_FAR = 2 * LARGEST_STEP  # stands for all steps beyond the largest that has a place


def read_csv(path: Path, log: Log) -> None:
    """Read a table of metrics: one column a tag, one line a call of the logger.

    An empty cell was not logged, and ``nan`` was logged as no value. A last line without its end is being written, or
    was cut off: its last number may lack digits, so it is left out and noted, as are lines that hold no numbers.
    """
    try:
        time = path.stat().st_mtime
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            _read_lines(_Lines(stream), path.name, time, log)
    except OSError as fault:
        log.notices.append(f"{path.name} can't be read ({fault.strerror}).")
    log.close(path.name)


class _Lines:
    """Whole lines of a table, those without any sign left out."""

    def __init__(self, stream: io.TextIOBase) -> None:
        self._stream = stream
        self.cut_off = self.any_sign = False

    def __iter__(self) -> Iterator[str]:
        for line in self._stream:
            self.any_sign |= bool(line.strip())
            if not line.endswith(("\n", "\r")):
                self.cut_off = True
            elif line.strip():
                yield line


def _read_lines(lines: _Lines, name: str, time: float, log: Log) -> None:
    rows = map(_cells, lines)
    header = next(rows, None)
    if header is None:
        log.notices.append(f"{name} is {'cut off in its first line' if lines.any_sign else 'empty'}.")
        return
    if "step" not in header:
        log.notices.append(f"{name} has no column named step, and is left out.")
        return
    taken = [len(row) == len(header) and _take(header, row, time, log) for row in rows]
    broken = taken.count(False)
    if lines.cut_off:
        log.notices.append(f"{name} ends in the middle of a line, which is left out.")
    if broken:
        log.notices.append(f"{name} has {broken:,} of {len(taken):,} lines that hold no numbers; they are left out.")


def _cells(line: str) -> list[str]:
    """Split one line: a quotation mark without its partner must not swallow the lines that follow."""
    if '"' not in line:
        return line.rstrip("\r\n").split(",")
    try:
        # a NUL byte, as a file system leaves it behind after a crash, is none of a number's
        return next(csv.reader([line.replace("\0", "?")]))
    except csv.Error:  # a cell as long as none that a logger writes
        return []


def _take(header: list[str], row: list[str], time: float, log: Log) -> bool:
    """Take over one line, all of it or nothing."""
    try:
        if max(map(len, row)) > _LONGEST_NUMBER:
            return False
        step = float(row[header.index("step")])
        values = [(tag, float(cell)) for tag, cell in zip(header, row, strict=True) if cell and tag != "step"]
        place = int(max(-_FAR, min(step, _FAR))) if step == step else int(step)
    except (ValueError, OverflowError):
        return False
    for tag, value in values[:MOST_TAGS]:
        log.add_scalar(tag, place, value, time)
    return True
