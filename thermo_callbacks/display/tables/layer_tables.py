"""The values of a run as tables in the terminal: one row a layer or activation, and one for the whole model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from thermo_callbacks.catalog import QUANTITIES, LayerColumn, Quantity, members

MISSING = "-"
WHOLE_MODEL = "whole model"
_LAYER_FAMILY = "thermo_temperature"
_SUBJECTS = {  # name of a row, family whose members are the rows, what there is none of without them, caption
    "layers": (
        "layer",
        _LAYER_FAMILY,
        "temperature of a layer: wait for the end of the first window",
        "[loss]: in units of the training loss. Heat: since the start; all else: in the last window.",
    ),
    "curvature": (
        "layer",
        "thermo_laplacian",
        "trace of the Hessian of a layer: wait for the first extra pass",
        "At the last extra pass.",
    ),
    "activations": (
        "activation",
        "thermo_work_efficiency",
        "power ratio of an activation: wait for the first extra pass",
        "Of one batch. Whole model: mean, weighted by the power that comes in.",
    ),
}
_MOST_DECIMALS = 4
_EASY = (1e-2, 1e5)  # the largest value of a column lies here, or exponents are easier to read


def layer_table(record: Mapping[str, float], subject: str = "layers") -> Table:
    """Table of a run: one row a layer or activation in order of depth, then the whole model.

    ``"layers"``: temperature with its error and 95 % interval, cumulative heat, drift share, noise scale, signal share,
    in the last window; ``"curvature"``: trace of the Hessian with its error, entropy destruction;
    ``"activations"``: work and learning efficiency, dead units, saturated values. What the record knows nothing of is
    left out. The numbers of a column are all written in one way. A value that does not exist reads ``-``, and the
    caption says why.

    Args:
        record: Tag to value, as from a monitor's ``latest()``.
        subject: ``"layers"``, ``"curvature"`` or ``"activations"``.

    Returns:
        A table for :meth:`rich.console.Console.print`.

    Raises:
        ValueError: If the record holds no row.

    Example:
        >>> table = layer_table({"thermo_temperature/body": 1e-6, "thermo_temperature/head": 4e-6, "thermo/heat": -2.5})
        >>> [list(column.cells)[-1].plain for column in table.columns]
        ['whole model', '', '-2.5']
    """
    kind, family, missing, caption = _SUBJECTS[subject]
    rows = list(members(record, family))
    if not rows:
        raise ValueError(f"record holds no {missing}")
    table = Table(box=SIMPLE_HEAD, padding=(0, 0, 0, 1), caption_justify="left", caption_style="")
    table.add_column(kind, overflow="fold", vertical="bottom")
    names = [*rows, WHOLE_MODEL]
    notes = [caption]
    cells: list[list[str]] = []
    for column, quantity in _columns(subject):
        values = _values(quantity, record, rows)
        if all(value is None for value in values):
            continue
        interval = _interval(record) if quantity.family == _LAYER_FAMILY else []
        if interval:
            names += [" 95 % from", "        to"]
        table.add_column(Text(column.header), justify="right", no_wrap=True)
        cells.append(format_column([*values, *interval], digits=column.digits, style=column.style))
        if any(value is not None and math.isnan(value) for value in values):
            notes.append(f"{MISSING} no {quantity.short_label}: {quantity.missing}")
    for position, row in enumerate(zip_longest(names, *cells, fillvalue="")):
        # names are code, not markup: a bracket in one must not be read as a style
        table.add_row(*map(Text, row), end_section=position == len(rows) - 1)
    table.caption = Text("\n".join(notes))
    return table


def _columns(subject: str) -> list[tuple[LayerColumn, Quantity]]:
    """Columns of a table in order, each with its quantity."""
    found = [(each.column, each) for each in QUANTITIES if each.column is not None and each.column.table == subject]
    return sorted(found, key=lambda pair: pair[0].place)


def _values(quantity: Quantity, record: Mapping[str, float], rows: Sequence[str]) -> list[float | None]:
    """Values of the rows and of the whole model; None for what is not in the record."""
    return [*(record.get(f"{quantity.family}/{row}") for row in rows), record.get(quantity.tag)]


def _interval(record: Mapping[str, float]) -> list[float | None]:
    ends = [record.get(f"thermo/temperature_{end}") for end in ("lower", "upper")]
    return [] if None in ends else ends


def format_column(values: Sequence[float | None], *, digits: int, style: str = "") -> list[str]:
    """Write the numbers of a column in one way, to be compared at a glance; None stays empty, NaN becomes ``-``."""
    # fixed decimals, as many as give the smallest magnitude its digits, where the largest magnitude lies between 0.01
    # and 100,000 and the smallest needs at most four decimals to differ from zero; else exponents
    style = style or _style(values, digits)
    texts = []
    for value in values:
        if value is None or math.isnan(value):
            texts.append("" if value is None else MISSING)
        else:  # thousands have no more than three digits that mean something
            texts.append(format(float(f"{value:.3g}") if abs(value) >= 1e3 else value, style))
    return texts


def _style(values: Sequence[float | None], digits: int) -> str:
    magnitudes = [abs(value) for value in values if value is not None and math.isfinite(value) and value != 0.0]
    if not magnitudes:
        return "zg"
    smallest, largest = min(magnitudes), max(magnitudes)
    if not _EASY[0] <= largest < _EASY[1] or smallest < 10.0**-_MOST_DECIMALS:
        return f"z.{digits - 1}e"
    decimals = digits - 1 - math.floor(math.log10(smallest))
    return f"z.{min(max(decimals, 0), _MOST_DECIMALS)}f"
