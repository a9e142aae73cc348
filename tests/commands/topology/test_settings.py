"""What the command is asked for: widths as text, or a budget with all that defines it."""

from re import escape

import pytest

from thermo_callbacks.commands.topology.settings import (
    DEEPEST,
    ORDERS,
    Ranking,
    TopologySettings,
    asked_for,
    parse_topology,
)
from thermo_callbacks.functional.topology import ORDERS as FUNCTIONAL_ORDERS


@pytest.mark.parametrize(
    ("text", "widths"), [("784-512-512-10", (784, 512, 512, 10)), ("1-1", (1, 1)), ("007-2-1000000000", (7, 2, 10**9))]
)
def test_widths(text, widths):
    assert parse_topology(text) == widths


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("784x512", "a topology is widths with hyphens between them such as 784-512, not '784x512'"),
        ("784, 512, 10", "hyphens between them such as 784-512-10, not '784, 512, 10'"),
        ("784", "such as 784-512-512-10, not '784'"),
        ("", "such as 784-512-512-10, not ''"),
        ("784--10", "such as 784-10, not '784--10'"),
        ("-784-10", "such as 784-10, not '-784-10'"),
        ("784-5.5-10", "such as 784-5-5-10, not '784-5.5-10'"),
        ("784-٣-10", "such as 784-10, not"),
        ("784-0-10", "widths must be from 1 to 1,000,000,000, not '784-0-10'; leave an empty layer out"),
        ("784-1000000001-10", "widths must be from 1 to 1,000,000,000, not '784-1000000001-10'"),
        ("-".join(["2"] * 103), "a topology may have up to 100 hidden layers, got 101"),
    ],
)
def test_bad_widths(text, message):
    with pytest.raises(ValueError, match=escape(message)):
        parse_topology(text)


def test_the_deepest_topology_is_read():
    assert len(parse_topology("-".join(["3"] * (DEEPEST + 2)))) == DEEPEST + 2
    with pytest.raises(ValueError, match=f"up to {DEEPEST} hidden layers, got {DEEPEST + 1}"):
        parse_topology("-".join(["3"] * (DEEPEST + 3)))


def test_what_is_asked_for():
    budget = {"budget": 5, "depth": 2, "in_": 4, "out": 3}
    assert asked_for(TopologySettings(topology="4-3-2")) == (4, 3, 2)
    assert asked_for(TopologySettings(**budget)) == Ranking(budget=5, depth=2, n_in=4, n_out=3)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({}, "give a topology such as 784-512-512-10, or a budget: --budget 100000 --depth 3 --in 784 --out 10"),
        ({"topology": "4-3-2", "in_": 4}, "give either a topology or a budget: 4-3-2 can't stand beside --in"),
        ({"budget": 5, "out": 2}, "a budget takes --budget, --depth, --in, --out: --depth, --in missing"),
    ],
)
def test_unclear_requests(chosen, message):
    with pytest.raises(ValueError, match=f"^{escape(message)}$"):
        asked_for(TopologySettings(**chosen))


def test_orders_are_those_of_the_functions():
    """The command knows them without importing the functions, which takes seconds."""
    assert ORDERS == FUNCTIONAL_ORDERS
