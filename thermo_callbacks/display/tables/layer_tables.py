"""The values of a run as tables in the terminal: one row a layer or activation, and one for the whole model."""

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
_LOOKS = "Production: in the last window; all else: mean of past extra passes, the recent ones most."
_ONE_BATCH = "Of one batch. Whole model: mean, weighted by the power that comes in."
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
        return (self.tag or self.family.removeprefix("thermo_")).replace("_", " ")

    def values(self, record: Mapping[str, float], rows: Sequence[str]) -> list[float | None]:
        """Values of the rows and of the whole model; None for what is not in the record."""
        return [*(record.get(f"{self.family}/{row}") for row in rows), record.get(f"thermo/{self.tag}")]


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
_CURVATURE_COLUMNS = (
    _Column("Laplacian\n[loss]", "laplacian", "thermo_laplacian", 2, "it could not be measured"),
    _Column("standard\nerror", "laplacian_stderr", "thermo_laplacian_stderr", 2, "it takes two extra passes"),
    _Column(
        "destruction\n[nats/step]",
        "entropy_destruction",
        "thermo_entropy_destruction",
        2,
        "the optimizer does not tell how far it moves a weight per unit of gradient",
    ),
    _Column(
        "production\n[nats/step]",
        "entropy_production",
        "thermo_entropy_production",
        2,
        "the optimizer does not tell how far it moves a weight per unit of gradient, or the weights did not move",
    ),
)
_ACTIVATION_COLUMNS = (
    _Column("work\nefficiency", "work_efficiency", "thermo_work_efficiency", 3, "no power came in", "z.3f"),
    _Column("learning\nefficiency", "", "thermo_learning_efficiency", 3, "no gradient came back", "z.3f"),
    _Column("dead\nunits", "", "thermo_dead_fraction", 2, "the batch was not finite", ".1%"),
    _Column("saturated\nvalues", "", "thermo_saturated_fraction", 2, "no gradient came back", ".1%"),
)


def layer_names(record: Mapping[str, float]) -> list[str]:
    """Layers that have a temperature.

    Args:
        record: Tag to value, as from a monitor's ``latest()``.

    Returns:
        Their names, in the order of the record: that of depth.
    """
    return _members(record, _LAYER_FAMILY)


def layer_table(record: Mapping[str, float]) -> Table:
    """Table of a run: temperature with its error, heat, equilibrium ratio, noise scale, signal share.

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
    return _table("layer", layers, _COLUMNS, record, _UNITS)


def curvature_table(record: Mapping[str, float]) -> Table:
    """Table of curvature: Laplacian with its error, entropy destruction and production.

    One row a layer in order of depth, then the whole model. It is written as :func:`layer_table`.

    Args:
        record: Tag to value, as from a monitor's ``latest()``.

    Returns:
        A table for :meth:`rich.console.Console.print`.

    Raises:
        ValueError: If the record holds no layer's Laplacian.

    Example:
        >>> table = curvature_table({"thermo_laplacian/body": 30.0, "thermo/laplacian": 30.0})
        >>> [list(column.cells)[0].plain for column in table.columns]
        ['body', '30']
    """
    layers = _members(record, "thermo_laplacian")
    if not layers:
        raise ValueError("record holds no Laplacian of a layer: wait for the first extra pass")
    return _table("layer", layers, _CURVATURE_COLUMNS, record, _LOOKS)


def activation_table(record: Mapping[str, float]) -> Table:
    """Table of the activations: work and learning efficiency, dead units, saturated values.

    One row an activation in order of depth, then the whole model. It is written as :func:`layer_table`.

    Args:
        record: Tag to value, as from a monitor's ``latest()``.

    Returns:
        A table for :meth:`rich.console.Console.print`.

    Raises:
        ValueError: If the record holds no activation's work efficiency.

    Example:
        >>> table = activation_table({"thermo_work_efficiency/relu": 0.5, "thermo_dead_fraction/relu": 0.125})
        >>> [list(column.cells)[0].plain for column in table.columns]
        ['relu', '0.500', '12.5%']
    """
    activations = _members(record, "thermo_work_efficiency")
    if not activations:
        raise ValueError("record holds no work efficiency of an activation: wait for the first extra pass")
    return _table("activation", activations, _ACTIVATION_COLUMNS, record, _ONE_BATCH)


def _members(record: Mapping[str, float], family: str) -> list[str]:
    start = f"{family}/"
    return [tag.removeprefix(start) for tag in record if tag.startswith(start)]


def _table(
    kind: str, rows: Sequence[str], columns: Sequence[_Column], record: Mapping[str, float], caption: str
) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 0, 0, 1), caption_justify="left", caption_style="")
    table.add_column(kind, overflow="fold", vertical="bottom")
    names = [*rows, WHOLE_MODEL]
    notes = [caption]
    cells: list[list[str]] = []
    for column in columns:
        values = column.values(record, rows)
        if all(value is None for value in values):
            continue
        interval = _interval(record) if column is _TEMPERATURE else []
        if interval:
            names += [" 95 % from", "        to"]
        table.add_column(Text(column.header), justify="right", no_wrap=True)
        cells.append(format_column([*values, *interval], digits=column.digits, style=column.style))
        if any(value is not None and math.isnan(value) for value in values):
            notes.append(f"{MISSING} no {column.name}: {column.reason}")
    for position, row in enumerate(zip_longest(names, *cells, fillvalue="")):
        # names are code, not markup: a bracket in one must not be read as a style
        table.add_row(*map(Text, row), end_section=position == len(rows) - 1)
    table.caption = Text("\n".join(notes))
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
