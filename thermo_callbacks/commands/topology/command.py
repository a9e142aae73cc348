"""The subcommand ``thermo-callbacks topology``."""

from __future__ import annotations

import argparse
import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from thermo_callbacks.commands.options import INTERRUPTED, Parser, WholeNumber
from thermo_callbacks.commands.topology.settings import (
    DEEPEST,
    LARGEST_BUDGET,
    LARGEST_WIDTH,
    ORDERS,
    Ranking,
    asked_for,
)

if TYPE_CHECKING:
    from thermo_callbacks.functional.topology import Survey

PEERS_TOLERANCE = 0.01
"""Topologies with connections within 1 % are what one topology is compared with."""
_PEERS = 2_000
_PEER_CANDIDATES = 1 << 22  # a second or two
_CANDIDATES = 1 << 25  # ten seconds or so


class Share:
    """Reads an option's share, from 0 to below 1."""

    def __str__(self) -> str:
        return "share"

    def __call__(self, text: str) -> float:
        """Read and check a share.

        Args:
            text: What was given.

        Returns:
            The share.

        Raises:
            argparse.ArgumentTypeError: If it is none.
        """
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0.0 <= value < 1.0:
            raise argparse.ArgumentTypeError(f"give a share from 0 to below 1 such as 0.01 for 1 %, not {text!r}")
        return value


def build_topology_parser() -> Parser:
    """The parser of the subcommand.

    Returns:
        The parser.
    """
    parser = Parser(
        description="Reads the shape of a fully connected network, before any training, as a thermodynamic state: "
        "energy, disorder, temperatures, efficiency, stability. Or ranks all shapes of one budget of connections."
    )
    option = parser.add_argument
    option("topology", nargs="?", type=str, metavar="WIDTHS", help="Widths from input to output: 784-512-512-10.")
    asked: dict[str, Any] = {"default": argparse.SUPPRESS, "metavar": "N"}
    option("--budget", type=WholeNumber(1, LARGEST_BUDGET), help="Connections: weights without biases.", **asked)
    option("--depth", type=WholeNumber(1, DEEPEST), help="Hidden layers.", **asked)
    option("--in", type=WholeNumber(1, LARGEST_WIDTH), help="Inputs.", **asked)
    option("--out", type=WholeNumber(1, LARGEST_WIDTH), help="Outputs.", **asked)
    option("--tolerance", type=Share(), default=0.0, metavar="X", help="Connections may be off by this share: 0.01.")
    option("--by", choices=list(ORDERS), default=ORDERS[0], help="What to rank by, highest first.")
    option("--top", type=WholeNumber(1, 1000), default=10, metavar="N", help="Topologies shown.")
    option(
        "--samples",
        type=WholeNumber(100, 10**6),
        default=10_000,
        metavar="N",
        help="Topologies drawn at random where all are too many.",
    )
    option("--seed", type=WholeNumber(0, 2**32 - 1), default=0, metavar="N", help="Seed of the draws.")
    option("--csv", default=argparse.SUPPRESS, metavar="FILE", help="File for all topologies listed or drawn.")
    return parser


def topology(parser: Parser, chosen: Any) -> int:
    """Run the subcommand.

    Args:
        parser: Says what is wrong with the arguments, and exits.
        chosen: The arguments.

    Returns:
        The exit status: 0, or 130 after Ctrl-C.
    """
    console = Console(highlight=False, emoji=False)
    try:
        asked = asked_for(chosen)
        if isinstance(asked, Ranking):
            _rank(console, asked, chosen)
        else:
            _analyse(console, asked)
    except ValueError as fault:
        parser.error(str(fault))
    except KeyboardInterrupt:
        console.print("\nStopped by Ctrl-C.")
        return INTERRUPTED
    return 0


def _analyse(console: Console, widths: tuple[int, ...]) -> None:
    from thermo_callbacks.commands.topology.interpretation import read_topology
    from thermo_callbacks.commands.topology.tables import layers_table, quantities_table
    from thermo_callbacks.functional.topology import Shell, analyse, survey  # seconds of imports, none for an error

    found = analyse(widths)
    peers = None
    if len(found.hidden) > 1:
        shell = Shell(widths[0], widths[-1], len(found.hidden), found.connections, PEERS_TOLERANCE)
        peers = survey(shell, samples=_PEERS, most_candidates=_PEER_CANDIDATES)
    console.print(quantities_table(found, peers))
    if found.hidden:
        console.print(layers_table(found))
    _say(console, read_topology(found, peers))


def _rank(console: Console, asked: Ranking, chosen: Any) -> None:
    from thermo_callbacks.commands.topology.interpretation import announce_ranking, read_ranking
    from thermo_callbacks.commands.topology.tables import ranking_csv, ranking_table
    from thermo_callbacks.functional.topology import Shell, survey

    shell = Shell(asked.n_in, asked.n_out, asked.depth, asked.budget, chosen.tolerance)
    if asked.depth == 1 and chosen.by != ORDERS[0]:
        raise ValueError(f"--by {chosen.by} has no value for one hidden layer; give --depth 2 or more")
    found = survey(shell, samples=chosen.samples, seed=chosen.seed, most_candidates=_CANDIDATES)
    if not len(found.widths):
        raise ValueError(_nothing_found(found))
    file = chosen.get("csv")
    if file is not None:
        _write(Path(file), ranking_csv(found, chosen.by))
    console.print(announce_ranking(found, chosen.seed), markup=False)
    console.print(ranking_table(found, chosen.by, chosen.top))
    _say(console, read_ranking(found, chosen.by))
    if file is not None:
        console.print(f"All {len(found.widths):,} are in {file}.", markup=False, soft_wrap=True)


def _nothing_found(found: Survey) -> str:
    from thermo_callbacks.functional.topology import nearest_connections

    shell = found.shell
    network = f"{shell.n_in} inputs, {shell.n_out} outputs and --depth {shell.depth}"
    if found.drawn is not None:
        return (
            f"no network with {network} came up in a search at random: they are rare in many layers; give up to 8 "
            "hidden layers, or up to 10 and --tolerance 0.01"
        )
    if shell.most < shell.smallest:
        return f"--budget {shell.connections} is too small: a network with {network} has at least {shell.smallest}"
    nearest = [str(energy) for energy in nearest_connections(shell) if energy is not None]
    return (
        f"--budget {shell.connections} can't be met: no network with {network} has that many connections; the "
        f"nearest that can be are {' and '.join(nearest)}; or give --tolerance 0.01"
    )


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as fault:
        raise ValueError(
            f"--csv {str(file)!r} can't be written ({fault.strerror}): give a file in a folder that is there"
        ) from fault


def _say(console: Console, paragraphs: list[str]) -> None:
    console.print("\nWhat this says:\n")
    show = partial(console.print, markup=False)
    for paragraph in paragraphs:
        show(Padding(Text(paragraph), (0, 0, 1, 2)))
