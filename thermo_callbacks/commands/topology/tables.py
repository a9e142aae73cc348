"""Topologies as tables in the terminal and as comma-separated values."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from thermo_callbacks.commands.topology.settings import parse_topology
from thermo_callbacks.display.text.numbers import percent
from thermo_callbacks.functional.topology import ORDERS, Order, Survey, Topology

MISSING = "-"
_LOWEST_SHOWN = 3
_FEWEST_PEERS = 100
_PEERS = (
    "Exceeds: share of the topologies with the same ends and depth, and connections within {tolerance}, that have a "
    "lower value{drawn}."
)
_MEANINGS = {
    "connections": ("energy E", "connections; weights without biases"),
    "multiplicity": ("entropy ln W", "nats; ways to deal the neurons out to the layers"),
    "disorder": ("disorder", "entropy, as a share of that of the most even spread"),
    "temperature": ("temperature T", "connections per nat; mean of the layers' prices below"),
    "efficiency": ("efficiency", "1 - lowest/highest price; 0 where all layers have one"),
    "free_energy": ("free energy F", "connections; E - T ln W"),
    "stability": ("stability", "connections; least bend of F, negative: gives way"),
    "lowest_move": ("lowest move", "connections; F by the best move, negative: not stable"),
}
_RANKED = ("multiplicity", "disorder", "temperature", "efficiency", "free_energy", "stability", "lowest_move")
_LONGEST_NAME = {False: 35, True: 24}  # what 80 columns leave, without and with a column of connections


def quantities_table(topology: Topology, peers: Survey | None = None) -> Table:
    """Table of a topology: each quantity with its unit and meaning, and how many others it exceeds.

    Fewer than a hundred others are left out.

    Returns:
        A table for :meth:`rich.console.Console.print`.

    Example:
        >>> from thermo_callbacks.functional.topology import analyse
        >>> [cell for cell in quantities_table(analyse((4, 3, 3, 2))).columns[1].cells][:3]
        ['27', '3', '1.0000']
    """
    compared = peers if peers is not None and len(peers.widths) >= _FEWEST_PEERS else None
    table = _table(f"{topology} as a thermodynamic state", "quantity", "value", *["exceeds"] * (compared is not None))
    table.add_column("unit and meaning")
    for name, (title, meaning) in _MEANINGS.items():
        value = getattr(topology, name)
        cells = [_exceeds(compared, name, value)] if compared is not None else []
        table.add_row(title, cell(name, value), *cells, meaning)
    if compared is not None:
        drawn = "" if compared.drawn is None else f", estimated from {compared.drawn:,} drawn at random"
        caption = _PEERS.format(tolerance=percent(compared.shell.tolerance), drawn=drawn)
        table.caption, table.caption_justify, table.caption_style = Text(caption), "left", ""
    return table


def layers_table(topology: Topology) -> Table:
    """Table of the hidden layers: width, and what one more neuron brings and costs."""
    headers = ("hidden layer", "neurons", "connections", "nats", "price: connections per nat")
    table = _table("What one more neuron brings to each hidden layer", *headers)
    for addition, width, temperature in zip(topology.additions, topology.hidden, topology.temperatures, strict=True):
        counts = (str(addition.layer), f"{width:,}", f"{addition.connections:,}")
        table.add_row(*counts, f"{addition.entropy:.3g}", cell("temperature", temperature))
    return table


def ranking_table(survey: Survey, by: Order, top: int) -> Table:
    """Table of ranked topologies: the highest, and below them the three lowest."""
    order = survey.ranked(by)
    highest = range(min(top, len(order)))
    lowest = range(max(len(highest), len(order) - _LOWEST_SHOWN), len(order))
    names = {place: name_of(survey.widths[order[place]]) for place in (*highest, *lowest)}
    table = _table(f"Highest {by}", "rank")
    several = survey.shell.least < survey.shell.most  # one number for all needs no column
    longest = min(max(map(len, names.values())), _LONGEST_NAME[several])
    table.add_column("topology", min_width=longest, max_width=longest, overflow="fold")
    for header in (
        *(("connec-\ntions",) if several else ()),
        "neurons",
        "disor-\nder",
        "effi-\nciency",
        "stabil-\nity",
    ):
        table.add_column(header, justify="right")
    for place, name in names.items():
        if lowest and place == lowest[0] > len(highest):
            table.add_row("...")
        row = order[place]
        counts = [*([survey.connections[row]] if several else []), survey.widths[row][1:-1].sum()]
        values = [cell(each, float(getattr(survey.quantities, each)[row])) for each in ORDERS]
        table.add_row(f"{place + 1:,}", name, *(f"{count:,}" for count in counts), *values)
    return table


def ranking_csv(survey: Survey, by: Order) -> str:
    """All topologies of a survey as comma-separated values, one row each.

    Returns:
        Rows with a header, highest first; what has no value is empty.

    Example:
        >>> from thermo_callbacks.functional.topology import Shell, survey
        >>> print(ranking_csv(survey(Shell(4, 2, 2, 27)), "disorder")[:52])
        rank,topology,connections,neurons,multiplicity,disor
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_header(survey.shell.depth))
    connections = survey.connections
    for rank, row in enumerate(survey.ranked(by), start=1):
        widths = survey.widths[row]
        values = [float(getattr(survey.quantities, name)[row]) for name in _RANKED]
        values += survey.quantities.temperatures[row].tolist()
        numbers = ["" if math.isnan(value) else repr(value) for value in values]
        writer.writerow([rank, name_of(widths), int(connections[row]), int(widths[1:-1].sum()), *numbers])
    return text.getvalue()


def is_ranking_csv(text: str) -> bool:
    """Whether a text is all that :func:`ranking_csv` wrote, of whatever survey: one can be made again, notes can't.

    Returns:
        Whether every line of it is one of a ranking.

    Example:
        >>> from thermo_callbacks.functional.topology import Shell, survey
        >>> text = ranking_csv(survey(Shell(4, 2, 2, 27)), "disorder")
        >>> is_ranking_csv(text), is_ranking_csv(text + "my favourite"), is_ranking_csv("")
        (True, False, False)
    """
    header, *rows = list(csv.reader(io.StringIO(text))) or [[]]
    return header == _header(len(header) - len(_header(0))) and all(
        len(row) == len(header) and row[0] == str(rank) and _is_ranked(row) for rank, row in enumerate(rows, start=1)
    )


def _is_ranked(row: list[str]) -> bool:
    _, topology, *values = row
    try:
        parse_topology(topology)
        return all(value == "" or repr(float(value)) == value or str(int(value)) == value for value in values)
    except ValueError:
        return False


def _header(depth: int) -> list[str]:
    layers = [f"temperature_{layer}" for layer in range(1, depth + 1)]
    return ["rank", "topology", "connections", "neurons", *_RANKED, *layers]


def cell(name: str, value: float) -> str:
    """Format a quantity's value.

    Returns:
        Its text; ``-`` where it has no value.

    Example:
        >>> cell("disorder", 0.98765), cell("connections", 668672), cell("stability", float("nan"))
        ('0.9877', '668,672', '-')
    """
    if math.isnan(value):
        return MISSING
    if name in {"disorder", "efficiency"}:
        return f"{value:.4f}"
    return f"{value:.3g}" if name != "connections" and abs(value) < 999.5 else f"{value:,.0f}"


def _table(title: str, *headers: str) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1)
    )
    for place, header in enumerate(headers):
        table.add_column(header, justify="right" if place else "left", overflow="fold")
    return table


def name_of(widths: Sequence[int]) -> str:
    """Topology as it is written on the command line."""
    return "-".join(map(str, widths))


def _exceeds(peers: Survey, name: str, value: float) -> str:
    if name not in ORDERS or math.isnan(value):
        return ""
    values = getattr(peers.quantities, name)
    return percent(float(np.mean(values[~np.isnan(values)] < value)))
