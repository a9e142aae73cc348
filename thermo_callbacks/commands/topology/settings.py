"""What the command is asked for, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ORDERS = ("disorder", "efficiency", "stability")
LARGEST_BUDGET = 10**15
LARGEST_WIDTH = 10**9
DEEPEST = 100
BUDGET = {"budget": "--budget", "depth": "--depth", "in": "--in", "out": "--out"}
"""What defines the topologies of one budget, by name, with the options that say it."""


def parse_topology(text: str) -> tuple[int, ...]:
    """Read a topology as it is written on the command line.

    Args:
        text: Widths from the input to the output with hyphens between them.

    Returns:
        The widths.

    Raises:
        ValueError: If it is no such text, a width is 0 or beyond 1e9, or there are more than a hundred hidden layers.

    Example:
        >>> parse_topology("784-512-512-10")
        (784, 512, 512, 10)
    """
    if not re.fullmatch(r"[0-9]+(-[0-9]+)+", text):
        numbers = re.findall(r"[0-9]+", text)
        meant = "-".join(numbers) if len(numbers) > 1 else "784-512-512-10"
        raise ValueError(f"a topology is widths with hyphens between them such as {meant}, not {text!r}")
    widths = tuple(map(int, text.split("-")))
    if not 1 <= min(widths) <= max(widths) <= LARGEST_WIDTH:
        raise ValueError(f"widths must be from 1 to {LARGEST_WIDTH:,}, not {text!r}; leave an empty layer out")
    if len(widths) - 2 > DEEPEST:
        raise ValueError(f"a topology may have up to {DEEPEST} hidden layers, got {len(widths) - 2}")
    return widths


@dataclass(frozen=True)
class Ranking:
    """Topologies of one budget, to be ranked.

    Attributes:
        budget: Connections.
        depth: Hidden layers.
        n_in: Width of the input.
        n_out: Width of the output.
    """

    budget: int
    depth: int
    n_in: int
    n_out: int


def asked_for(chosen: Mapping[str, Any]) -> tuple[int, ...] | Ranking:
    """Find out which of its two things the command is to do.

    Args:
        chosen: The arguments.

    Returns:
        Widths of the topology to analyse, or the budget to rank.

    Raises:
        ValueError: If it isn't clear, or the topology can't be read.
    """
    topology = chosen.get("topology")
    given = [option for name, option in BUDGET.items() if chosen.get(name) is not None]
    if topology is not None:
        if given:
            raise ValueError(f"give either a topology or a budget: {topology} can't stand beside {', '.join(given)}")
        return parse_topology(topology)
    missing = [option for option in BUDGET.values() if option not in given]
    if not given:
        raise ValueError(
            "give a topology such as 784-512-512-10, or a budget: --budget 100000 --depth 3 --in 784 --out 10"
        )
    if missing:
        raise ValueError(f"a budget takes {', '.join(BUDGET.values())}: {', '.join(missing)} missing")
    return Ranking(budget=chosen["budget"], depth=chosen["depth"], n_in=chosen["in"], n_out=chosen["out"])
