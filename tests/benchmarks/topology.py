"""Time to rank the topologies of one budget of connections, from the function and from the command.

    python tests/benchmarks/topology.py                       # a million connections, 2 to 5 hidden layers
    python tests/benchmarks/topology.py --budget 100000 --depths 2 3 --rounds 1

A shell that is small enough is listed whole, a larger one is drawn from. Times are processor times, the
best of the rounds: other processes on the machine disturb them least. The function's is without imports; the command's
is that of a process of its own from start to end, most of which is importing PyTorch. Listing times the iterator alone,
where it is run to the end.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import subprocess
import sys
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from thermo_callbacks.functional.topology import Shell, Survey, survey


def spent() -> float:
    """Processor seconds of this process and of those it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def best(action: Callable[[], object], rounds: int) -> float:
    """Processor seconds of the fastest round."""
    times = []
    for _ in range(rounds):
        start = spent()
        action()
        times.append(spent() - start)
    return min(times)


def rank(shell: Shell) -> Survey:
    """What the command does with a budget, without printing."""
    found = survey(shell)
    found.ranked("disorder")
    return found


def command(shell: Shell) -> None:
    """The command as a person calls it."""
    options = {"budget": shell.connections, "depth": shell.depth, "in": shell.n_in, "out": shell.n_out}
    parts = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    code = "import sys; from thermo_callbacks.commands.cli import main; sys.exit(main())"
    subprocess.run(
        [sys.executable, "-c", code, "topology", *parts],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def measure(shell: Shell, rounds: int) -> list[str]:
    """A row of the table."""
    found = rank(shell)
    size = f"{found.size:,.0f}" if found.drawn is None else f"{found.size:.3g} ± {found.size_error:.1g}"
    listing = f"{best(lambda: sum(1 for _ in shell), rounds):.3f}" if found.drawn is None else "-"
    looked_at = "all" if found.drawn is None else f"{found.drawn:,} draws"
    ranking = f"{best(lambda: rank(shell), rounds):.3f}"
    return [str(shell.depth), size, looked_at, listing, ranking, f"{best(lambda: command(shell), rounds):.2f}"]


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=int, default=10**6)
    parser.add_argument("--depths", type=int, nargs="+", default=[2, 3, 4, 5])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--inputs", type=int, default=784)
    parser.add_argument("--outputs", type=int, default=10)
    options = parser.parse_args(arguments)
    table = Table("hidden layers", "topologies", "ranked", "listing [s]", "function [s]", "command [s]")
    table.title = f"{options.budget:,} connections, {options.inputs} inputs, {options.outputs} outputs"
    with contextlib.suppress(KeyboardInterrupt):  # what was measured is shown
        for depth in options.depths:
            table.add_row(*measure(Shell(options.inputs, options.outputs, depth, options.budget), options.rounds))
    Console().print(table)


if __name__ == "__main__":
    main()
