"""The state of a run in a few lines, for a terminal beside its progress bar."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from thermo_callbacks.catalog import QUANTITIES, members
from thermo_callbacks.display.tables.layer_tables import MISSING
from thermo_callbacks.display.text.numbers import number

_LINES = sorted(
    ((line, quantity) for quantity in QUANTITIES for line in quantity.lines), key=lambda pair: pair[0].place
)


def run_table(record: Mapping[str, float], *, layers: int = 3, head: str = "quantity") -> Table:
    """Key numbers of a run, each with its standard error, and the hottest layers.

    What the record knows nothing of is left out. A value that does not exist reads ``-``.

    Args:
        record: Tag to value, as from a monitor's ``latest()``.
        layers: How many of the hottest layers are shown; the first of them leads.
        head: Head of the first column.

    Returns:
        A table for :meth:`rich.console.Console.print`.

    Raises:
        ValueError: If ``layers`` is below 0.

    Example:
        >>> record = {"thermo/temperature": 0.00125, "thermo/temperature_stderr": 0.0001}
        >>> table = run_table(record | {"thermo_temperature/head": 2.0})
        >>> [[cell.plain for cell in column.cells] for column in table.columns]
        [['temperature', '  head'], ['0.00125', '2'], ['± 0.0001', ''], ['loss', 'loss']]
    """
    if layers < 0:
        raise ValueError(f"layers must be a whole number of at least 0, got {layers}")
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column(Text(head), no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("error", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    for line, quantity in _LINES:
        tag, unit = line.tag or quantity.tag, line.unit or quantity.short_unit
        if tag in record:
            label = line.label or quantity.short_label
            _add(table, label, record[tag], record.get(f"{tag}_stderr"), unit, line.words)
        if tag == "thermo/temperature":
            for layer, temperature in _hottest(record, layers):
                _add(table, f"  {layer}", temperature, record.get(f"thermo_temperature_stderr/{layer}"), unit)
    return table


def _hottest(record: Mapping[str, float], count: int) -> list[tuple[str, float]]:
    temperatures = members(record, "thermo_temperature").items()
    known = [(layer, temperature) for layer, temperature in temperatures if not math.isnan(temperature)]
    return sorted(known, key=lambda pair: -pair[1])[:count]


def _add(
    table: Table, name: str, value: float, error: float | None, unit: str, words: Mapping[float, str] | None = None
) -> None:
    if words:
        cells = (words.get(value, MISSING), "", unit)
    else:
        shown = error is not None and not math.isnan(error)
        cells = (MISSING if math.isnan(value) else number(value), f"± {error:.2g}" if shown else "", unit)
    # names are code, not markup: a bracket in one must not be read as a style
    table.add_row(*map(Text, (name, *cells)))
