"""Settings of ``thermo-callbacks topology``, checked before anything slow is imported."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from thermo_callbacks.commands.options import FILE, SHARE, choice, whole

Order = Literal["disorder", "efficiency", "stability"]
ORDERS: tuple[Order, ...] = get_args(Order)
LARGEST_BUDGET = 10**15
LARGEST_WIDTH = 10**9
DEEPEST = 100
BUDGET = {"budget": "--budget", "depth": "--depth", "in_": "--in", "out": "--out"}
"""Settings that define the topologies of one budget, with their options."""


@dataclass(frozen=True, kw_only=True)
class TopologySettings:
    """Settings of the subcommand, each named like its argument.

    Attributes:
        topology: Widths from input to output: 784-512-512-10.
        budget: Connections: weights without biases.
        depth: Hidden layers.
        in_: Inputs.
        out: Outputs.
        tolerance: Connections may be off by this share: 0.01.
        by: What to rank by, highest first.
        top: Topologies shown.
        samples: Topologies drawn at random where all are too many.
        seed: Seed of the draws.
        csv: File for all topologies listed or drawn.
    """

    topology: str | None = field(
        default=None, metadata={"positional": True, "nargs": "?", "type": str, "metavar": "WIDTHS"}
    )
    budget: int | None = field(default=None, metadata=whole(1, LARGEST_BUDGET))
    depth: int | None = field(default=None, metadata=whole(1, DEEPEST))
    in_: int | None = field(default=None, metadata=whole(1, LARGEST_WIDTH))
    out: int | None = field(default=None, metadata=whole(1, LARGEST_WIDTH))
    tolerance: float = field(default=0.0, metadata=SHARE)
    by: Order = field(default=ORDERS[0], metadata=choice(ORDERS))
    top: int = field(default=10, metadata=whole(1, 1000))
    samples: int = field(default=10_000, metadata=whole(100, 10**6))
    seed: int = field(default=0, metadata=whole(0, 2**32 - 1))
    csv: Path | None = field(default=None, metadata=FILE)


def parse_topology(text: str) -> tuple[int, ...]:
    """Read a topology as it is written on the command line.

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
    """Topologies of one budget, to be ranked."""

    budget: int
    depth: int
    n_in: int
    n_out: int


def asked_for(settings: TopologySettings) -> tuple[int, ...] | Ranking:
    """Decide between the analysis of one topology and the ranking of a budget."""
    topology = settings.topology
    given = [option for name, option in BUDGET.items() if getattr(settings, name) is not None]
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
    return Ranking(*(getattr(settings, name) for name in BUDGET))
