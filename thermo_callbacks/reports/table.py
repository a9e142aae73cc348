"""The values of a run as a table in the terminal: one row a layer, and one for the whole model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

MISSING = "-"
WHOLE_MODEL = "whole model"
_LAYER_FAMILY = "thermo_temperature"
_UNITS = "[loss]: in units of the training loss. Heat: since the start; all else: in the last window."
_MOST_DECIMALS = 4
_EASY = (1e-2, 1e5)  # the largest value of a column lies here, or exponents are easier to read


class _Column(NamedTuple):
    header: str
    tag: str
    family: str
    digits: int  # significant digits of the smallest value
    reason: str  # why a value may not exist
    style: str = ""  # one for all runs, where the range of the values is known

    @property
    def name(self) -> str:
        return self.tag.replace("_", " ")

    def values(self, record: Mapping[str, float], layers: Sequence[str]) -> list[float | None]:
        """Values of the layers and of the whole model; None for what is not in the record."""
        return [*(record.get(f"{self.family}/{layer}") for layer in layers), record.get(f"thermo/{self.tag}")]


_TEMPERATURE = _Column(
    "temperature\n[loss]", "temperature", _LAYER_FAMILY, 3, "too few steps of the window had a finite gradient"
)
_COLUMNS = (
    _TEMPERATURE,
    _Column(
        "standard\nerror\n[loss]",
        "temperature_stderr",
        "thermo_temperature_stderr",
        2,
        "too few steps of the window had a finite gradient",
    ),
    _Column("heat so\nfar\n[loss]", "heat", "thermo_heat", 2, "a step was not finite"),
    _Column(
        "equilib-\nrium\nratio",
        "equilibrium_ratio",
        "thermo_equilibrium_ratio",
        2,
        "the weights did not move in the window",
    ),
    _Column(
        "noise\nscale\n[samples]",
        "noise_scale",
        "thermo_noise_scale",
        2,
        "the slope did not stand out of the noise of the window",
    ),
    _Column("signal\nshare", "signal_share", "thermo_signal_share", 3, "the window had no finite gradient", "z.3f"),
)


def layer_names(record: Mapping[str, float]) -> list[str]:
    """Layers that have a temperature.

    Args:
        record: Tag to value, as from a monitor's ``latest()``.

    Returns:
        Their names, in the order of the record: that of depth.
    """
    start = f"{_LAYER_FAMILY}/"
    return [tag.removeprefix(start) for tag in record if tag.startswith(start)]


def layer_table(record: Mapping[str, float]) -> Table:
    """Table of a run: temperature with its standard error, heat, equilibrium ratio, noise scale and signal share.

    One row a layer in order of depth, then the whole model with the 95 % interval of its temperature. The heat is
    cumulative, all other values are those of the last window. What the record knows nothing of is left out. The numbers
    of a column are all written in one way. A value that does not exist reads ``-``, and the caption says why.

    Args:
        record: Tag to value, as from a monitor's ``latest()``.

    Returns:
        A table for :meth:`rich.console.Console.print`.

    Raises:
        ValueError: If the record holds no layer's temperature.

    Example:
        >>> table = layer_table({"thermo_temperature/body": 1e-6, "thermo_temperature/head": 4e-6, "thermo/heat": -2.5})
        >>> [list(column.cells)[-1].plain for column in table.columns]
        ['whole model', '', '-2.5']
    """
    layers = layer_names(record)
    if not layers:
        raise ValueError("record holds no temperature of a layer: wait for the end of the first window")
    table = Table(box=SIMPLE_HEAD, padding=(0, 0, 0, 1), caption_justify="left", caption_style="")
    table.add_column("layer", overflow="fold", vertical="bottom")
    names = [*layers, WHOLE_MODEL]
    notes = []
    columns: list[list[str]] = []
    for column in _COLUMNS:
        values = column.values(record, layers)
        if all(value is None for value in values):
            continue
        interval = _interval(record) if column is _TEMPERATURE else []
        if interval:
            names += [" 95 % from", "        to"]
        table.add_column(Text(column.header), justify="right", no_wrap=True)
        columns.append(format_column([*values, *interval], digits=column.digits, style=column.style))
        if any(value is not None and math.isnan(value) for value in values):
            notes.append(f"{MISSING} no {column.name}: {column.reason}")
    for position, row in enumerate(zip_longest(names, *columns, fillvalue="")):
        # names are code, not markup: a bracket in one must not be read as a style
        table.add_row(*map(Text, row), end_section=position == len(layers) - 1)
    table.caption = Text("\n".join([_UNITS, *notes]))
    return table


def _interval(record: Mapping[str, float]) -> list[float | None]:
    ends = [record.get(f"thermo/temperature_{end}") for end in ("lower", "upper")]
    return [] if None in ends else ends


def format_column(values: Sequence[float | None], *, digits: int, style: str = "") -> list[str]:
    """Write the numbers of a column in one way, so that they can be compared at a glance.

    Fixed decimals, as many as give the smallest magnitude its ``digits``, where the largest magnitude lies between 0.01
    and 100,000 and the smallest needs at most four decimals to differ from zero; else exponents.

    Args:
        values: Numbers; None stays empty, NaN becomes ``-``.
        digits: Significant digits, at least 1.
        style: Format of all numbers; chosen by the values if empty.

    Returns:
        The texts.

    Example:
        >>> format_column([0.613, -12.0, float("nan"), None], digits=2)
        ['0.61', '-12.00', '-', '']
        >>> format_column([2.04e-06, 3.1e-05], digits=2)
        ['2.0e-06', '3.1e-05']
    """
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
