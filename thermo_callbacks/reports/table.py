"""The values of a run as a table in the terminal: one row a layer, and one for the whole model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

MISSING = "-"
_GLOBAL, _TEMPERATURE = "thermo/", "thermo_temperature/"
_LEAST_FIXED, _GREATEST_FIXED = 1e-3, 1e5  # magnitudes that are easy to read without an exponent
_MOST_DECIMALS = 4


class _Column(NamedTuple):
    header: str
    tag: str
    family: str
    digits: int  # significant digits of the smallest value
    reason: str  # why a value may be missing


_COLUMNS = (
    _Column("temper-\nature\n\\[loss]", "temperature", "thermo_temperature", 3, "too few steps had a finite gradient"),
    _Column(
        "standard\nerror\n\\[loss]",
        "temperature_stderr",
        "thermo_temperature_stderr",
        2,
        "too few independent steps to judge the scatter",
    ),
    _Column("heat since\nthe start\n\\[loss]", "heat", "thermo_heat", 3, "no finite gradient"),
    _Column(
        "equili-\nbrium\nratio", "equilibrium_ratio", "thermo_equilibrium_ratio", 2, "nothing moved, or not finitely"
    ),
    _Column(
        "noise\nscale\n\\[samples]",
        "noise_scale",
        "thermo_noise_scale",
        2,
        "the slope did not stand out of the noise in this window",
    ),
    _Column("signal\nshare", "signal_share", "thermo_signal_share", 2, "no parameter had a finite gradient"),
)


def layer_names(record: Mapping[str, float]) -> list[str]:
    """Layers with a temperature, in order of depth.

    Args:
        record: Tag to value, as from a monitor's ``latest()``.

    Returns:
        Their names.
    """
    return [tag.removeprefix(_TEMPERATURE) for tag in record if tag.startswith(_TEMPERATURE)]


def layer_table(record: Mapping[str, float]) -> Table:
    """Table of the layers of a run: temperature and its standard error, heat, equilibrium ratio, noise, signal.

    The heat is cumulative, all other values are those of the last window. Columns that the record knows nothing of are
    left out. All numbers of a column are written in one way: with fixed decimals where all of them are easy to read
    so, else with exponents. Values that do not exist read ``-``, and the caption says why.

    Args:
        record: Tag to value, as from a monitor's ``latest()``.

    Returns:
        A table for :meth:`rich.console.Console.print`.

    Raises:
        ValueError: If the record holds no layer's temperature.

    Example:
        >>> from rich.console import Console
        >>> record = {"thermo/temperature": 2e-5, "thermo_temperature/body": 1e-5, "thermo_temperature/head": 4e-5}
        >>> Console(width=60).print(layer_table(record).rows[1].style or layer_table(record).row_count)
        3
    """
    layers = layer_names(record)
    if not layers:
        raise ValueError("record must hold the temperature of at least one layer: measure at least one window")
    columns = [
        column
        for column in _COLUMNS
        if f"{_GLOBAL}{column.tag}" in record or any(f"{column.family}/{layer}" in record for layer in layers)
    ]
    table = Table(box=SIMPLE_HEAD, pad_edge=False, caption_justify="left", show_footer=False)
    table.add_column("layer", overflow="fold", vertical="bottom")
    cells = [["whole model", *_interval_names(record)]]
    body, missing = [list(layers)], []
    for column in columns:
        table.add_column(column.header, justify="right", no_wrap=True)
        by_layer = [record.get(f"{column.family}/{layer}", math.nan) for layer in layers]
        whole = [record.get(f"{_GLOBAL}{column.tag}", math.nan)]
        ends = _interval(record) if column.tag == "temperature" else []
        texts = format_column([*by_layer, *whole, *ends], column.digits)
        body.append(texts[: len(layers)])
        cells.append(texts[len(layers) :])
        if MISSING in texts:
            missing.append(column)
    for row in zip(*body, strict=True):
        table.add_row(*map(Text, row))
    table.add_section()
    for index in range(len(cells[0])):
        table.add_row(*(Text(texts[index] if index < len(texts) else "") for texts in cells), style="bold")
    return table


