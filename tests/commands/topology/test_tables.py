"""Tables of topologies: each number is that of the functions, and what has no value says so."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import pytest
from rich.console import Console
from topology_values import SINGLE_VALUES

from thermo_callbacks.commands.topology.tables import (
    MISSING,
    cell,
    layers_table,
    quantities_table,
    ranking_csv,
    ranking_table,
)
from thermo_callbacks.functional.topology import Shell, analyse, survey

SHELL = Shell(4, 2, 3, 300)


@pytest.fixture(scope="module")
def found():
    return survey(SHELL)


def columns(table):
    return {str(column.header).replace("-\n", ""): list(column.cells) for column in table.columns}


def test_quantities_and_how_many_others_they_exceed(found):
    one = analyse(found.widths[5].tolist())
    shown = columns(quantities_table(one, found))
    assert shown["value"][0] == str(one.connections)
    assert shown["value"][2:5] == [f"{one.disorder:.4f}", f"{one.temperature:.3g}", f"{one.efficiency:.4f}"]
    for row, name in ((2, "disorder"), (4, "efficiency"), (6, "stability")):
        values = getattr(found.quantities, name)
        known = values[~np.isnan(values)]
        assert float(shown["exceeds"][row].rstrip(" %")) == pytest.approx(
            100.0 * (known < getattr(one, name)).mean(), abs=0.5
        )
    assert shown["exceeds"][0] == ""


def test_few_others_say_nothing():
    few = survey(Shell(4, 2, 2, 40))
    assert "exceeds" not in columns(quantities_table(analyse((4, 4, 4, 2)), few))
    assert "exceeds" not in columns(quantities_table(analyse((4, 4, 4, 2))))


@pytest.mark.parametrize("widths", [(784, 30, 10), (784, 10), (4, 1, 1, 2)])
def test_what_has_no_value(widths):
    one = analyse(widths)
    values = columns(quantities_table(one))["value"]
    numbers = (one.disorder, one.temperature, one.efficiency, one.free_energy, one.stability, one.lowest_move)
    assert [value == MISSING for value in values[2:]] == [math.isnan(number) for number in numbers]
    assert MISSING in values


def test_layers():
    one = analyse((784, 128, 64, 10))
    shown = columns(layers_table(one))
    assert shown["hidden layer"] == ["1", "2"]
    assert shown["neurons"] == ["128", "64"]
    assert shown["connections"] == ["848", "138"]
    assert shown["nats"] == [f"{math.log(193 / 129):.3g}", f"{math.log(193 / 65):.3g}"]
    assert shown["price: connections per nat"] == [
        f"{848 / math.log(193 / 129):,.0f}",
        f"{138 / math.log(193 / 65):.3g}",
    ]
    assert columns(layers_table(analyse((784, 30, 10))))["price: connections per nat"] == [MISSING]


@pytest.mark.parametrize("top", [1, 3])
@pytest.mark.parametrize("by", ["disorder", "efficiency", "stability"])
def test_highest_and_three_lowest(found, by, top):
    shown = columns(ranking_table(found, by, top))
    count = len(found.widths)
    ranks = [*range(1, top + 1), *range(count - 2, count + 1)]
    assert shown["rank"] == [*map(str, ranks[:top]), "...", *map(str, ranks[top:])]
    rows = found.ranked(by)
    names = [name for name in shown["topology"] if name]
    assert names == [str(analyse(found.widths[rows[rank - 1]].tolist())) for rank in ranks]
    assert "connections" not in shown


@pytest.mark.parametrize(("top", "gap"), [(100, False), (1000, False)])
def test_short_rankings_are_whole(top, gap):
    few = survey(Shell(4, 2, 2, 40))
    shown = columns(ranking_table(few, "disorder", top))
    assert shown["rank"] == [str(rank) for rank in range(1, len(few.widths) + 1)]
    assert ("..." in shown["rank"]) is gap


@pytest.mark.parametrize("left", [1, 2, 3])
def test_a_table_without_a_gap_has_no_dots_and_each_rank_once(found, left):
    shown = columns(ranking_table(found, "disorder", len(found.widths) - left))
    assert shown["rank"] == [str(rank) for rank in range(1, len(found.widths) + 1)]


def test_connections_where_they_differ():
    several = survey(Shell(4, 2, 3, 120, 0.02))
    shown = columns(ranking_table(several, "disorder", 5))
    rows = several.ranked("disorder")
    assert shown["connections"][:5] == [str(several.connections[row]) for row in rows[:5]]


@pytest.mark.parametrize("tolerance", [0.0, 0.01])
def test_ranking_fits_80_columns(tolerance):
    """Names of up to 24 characters in one line, and no number cut."""
    found = survey(Shell(784, 10, 4, 10**6, tolerance), samples=10_000)
    table = ranking_table(found, "efficiency", 20)
    console = Console(width=80, file=io.StringIO())
    console.print(table)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for cells in list(columns(table).values())[2:]:
        assert all(f" {each}" in text for each in cells)
    assert all(f" {name} " in text for name in columns(table)["topology"] if len(name) <= 24)


def test_csv_holds_every_digit(found):
    rows = list(csv.DictReader(io.StringIO(ranking_csv(found, "stability"))))
    assert [row["rank"] for row in rows] == [str(rank) for rank in range(1, len(found.widths) + 1)]
    for row in rows:
        one = analyse([int(width) for width in row["topology"].split("-")])
        assert (int(row["connections"]), int(row["neurons"])) == (one.connections, one.neurons)
        for name in SINGLE_VALUES:
            value = float(row[name]) if row[name] else math.nan
            assert value == pytest.approx(getattr(one, name), rel=1e-14, abs=1e-12, nan_ok=True)
        shown = [float(row[f"temperature_{layer}"]) for layer in (1, 2, 3)]
        assert shown == pytest.approx(one.temperatures, rel=1e-14)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("disorder", 0.99996, "1.0000"),
        ("stability", -0.0123456, "-0.0123"),
        ("stability", 999.4, "999"),
        ("stability", 999.6, "1,000"),
        ("free_energy", -258607.09, "-258,607"),
        ("connections", 27, "27"),
        ("temperature", math.nan, MISSING),
    ],
)
def test_cells(name, value, text):
    assert cell(name, value) == text
