"""The subcommand ``thermo-callbacks topology``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from thermo_callbacks.commands.options import INTERRUPTED, Parser
from thermo_callbacks.commands.printing import new_console, print_interpretation
from thermo_callbacks.commands.topology.settings import ORDERS, Ranking, TopologySettings, asked_for

if TYPE_CHECKING:
    from thermo_callbacks.functional.topology import Survey

PEERS_TOLERANCE = 0.01
"""Topologies with connections within 1 % are what one topology is compared with."""
_PEERS = 2_000
_PEER_CANDIDATES = 1 << 22  # a second or two
_CANDIDATES = 1 << 25  # ten seconds or so


def topology(parser: Parser, settings: TopologySettings) -> int:
    """Analyse a topology or rank those of a budget, and print what came out."""
    console = new_console()
    try:
        asked = asked_for(settings)
        if isinstance(asked, Ranking):
            _rank(console, asked, settings)
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
        with contextlib.suppress(ValueError):  # from 2**60 connections on none are drawn
            peers = survey(shell, samples=_PEERS, most_candidates=_PEER_CANDIDATES)
    console.print(quantities_table(found, peers))
    if found.hidden:
        console.print(layers_table(found))
    print_interpretation(console, read_topology(found, peers))


def _rank(console: Console, asked: Ranking, settings: TopologySettings) -> None:
    from thermo_callbacks.commands.topology.interpretation import announce_ranking, read_ranking
    from thermo_callbacks.commands.topology.tables import ranking_csv, ranking_table
    from thermo_callbacks.functional.topology import Shell, survey

    shell = Shell(asked.n_in, asked.n_out, asked.depth, asked.budget, settings.tolerance)
    if asked.depth == 1 and settings.by != ORDERS[0]:
        raise ValueError(f"--by {settings.by} has no value for one hidden layer; give --depth 2 or more")
    if settings.csv is not None:
        _check_replaceable(settings.csv)
    found = survey(shell, samples=settings.samples, seed=settings.seed, most_candidates=_CANDIDATES)
    if not len(found.widths):
        raise ValueError(_nothing_found(found))
    if settings.csv is not None:
        _write(settings.csv, ranking_csv(found, settings.by))
    console.print(announce_ranking(found, settings.seed))
    console.print(ranking_table(found, settings.by, settings.top))
    print_interpretation(console, read_ranking(found, settings.by))
    if settings.csv is not None:
        console.print(f"All {len(found.widths):,} are in {settings.csv}.", soft_wrap=True)


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
    cure = f"the nearest that can be are {' and '.join(nearest)}; or " if nearest else ""
    return (
        f"--budget {shell.connections} can't be met: no network with {network} has that many connections; {cure}give "
        "--tolerance 0.01"
    )


def _write(file: Path, text: str) -> None:
    with _writable(file):
        _check_replaceable(file)  # again: the ranking took a while
        file.write_text(text, encoding="utf-8")


def _check_replaceable(file: Path) -> None:
    from thermo_callbacks.commands.topology.tables import is_ranking_csv

    with _writable(file):
        if file.exists() and not file.is_file():  # to read a pipe would wait for ever
            raise ValueError(f"--csv must be a file, got {str(file)!r}, which is none: give another name")
        if file.exists() and not is_ranking_csv(file.read_text(encoding="utf-8", errors="replace")):
            raise ValueError(
                f"--csv {str(file)!r} exists and is no ranking of this program, or was changed since: give another name"
            )


@contextlib.contextmanager
def _writable(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        raise ValueError(
            f"--csv {str(file)!r} can't be written ({fault.strerror}): give a file in a folder that is there"
        ) from fault
