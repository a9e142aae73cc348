"""The command line: ``thermo-callbacks demo``, ``compare``, ``report``, ``check`` and ``topology``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from thermo_callbacks import __version__
from thermo_callbacks.commands.check.command import CheckSettings, check
from thermo_callbacks.commands.compare.command import compare
from thermo_callbacks.commands.compare.settings import CompareSettings
from thermo_callbacks.commands.demo.command import demo
from thermo_callbacks.commands.demo.settings import DemoSettings
from thermo_callbacks.commands.options import PROGRAM, Parser, read_settings, settings_parser
from thermo_callbacks.commands.printing import forgiving_output
from thermo_callbacks.commands.report.command import ReportSettings, report
from thermo_callbacks.commands.topology.command import topology
from thermo_callbacks.commands.topology.settings import TopologySettings


class Command(NamedTuple):
    """A subcommand."""

    # description stands in the subcommand's own help, summary in the list of all

    run: Callable[[Parser, Any], int]
    settings: type[Any]
    summary: str
    description: str


COMMANDS = {
    "demo": Command(
        demo,
        DemoSettings,
        "train on handwritten digits and show the measurements",
        "Trains a small network on real handwritten digits with the thermometer on, prints what was measured layer by "
        "layer, and writes charts for TensorBoard. Takes well under a minute on two cores.",
    ),
    "compare": Command(
        compare,
        CompareSettings,
        "train a network with each of several activations and compare them",
        "Trains the same small network with each of several activations, under the same seeds, and compares them as "
        "heat engines: tables, a figure, and charts for TensorBoard. A comparison that was stopped goes on where it "
        "was when it is called again.",
    ),
    "report": Command(
        report,
        ReportSettings,
        "put the logs of one or several runs on one page",
        "Puts the logs of one or several runs on one page: what they say, their key numbers and differences, charts, "
        "figures, and a legend. The page is a single file that needs no network. Event files of TensorBoardLogger and "
        "metrics.csv of CSVLogger are read, also of runs that were cut off or still train.",
    ),
    "check": Command(
        check,
        CheckSettings,
        "find what is wrong with one or several runs, by their logs",
        "Finds what is wrong with one or several runs, where, since when and what to do, in the logs that report "
        "reads. The exit status is 1 where a finding is critical, so that a job can stop there, and 0 where none is.",
    ),
    "topology": Command(
        topology,
        TopologySettings,
        "read the shape of a network, or rank the shapes of one budget",
        "Reads the shape of a fully connected network, before any training, as a thermodynamic state: energy, "
        "disorder, temperatures, efficiency, stability. Or ranks all shapes of one budget of connections.",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 0, that of a check, 130 after Ctrl-C, 143 after SIGTERM, or 2."""
    # 2 for wrong arguments; 1 where a check finds something critical
    parser = Parser(
        prog=PROGRAM, description="A thermometer for PyTorch Lightning runs.", version=__version__, allow_abbrev=False
    )
    commands = parser.add_subcommands(required=False, dest="command")
    for name, command in COMMANDS.items():
        commands.add_subcommand(name, settings_parser(command.settings, command.description), help=command.summary)
    chosen = parser.parse_args(None if arguments is None else list(arguments))
    if chosen.command is None:
        parser.print_help()
        return 0
    command = COMMANDS[chosen.command]
    try:
        settings = read_settings(command.settings, chosen[chosen.command])
    except ValueError as fault:
        parser.error(str(fault))
    with forgiving_output():
        return command.run(parser, settings)


if __name__ == "__main__":
    sys.exit(main())
