"""The command line: ``thermo-callbacks demo``, ``compare``, ``report`` and ``topology``."""

from __future__ import annotations

import argparse
import contextlib
import io
import shlex
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from thermo_callbacks import __version__
from thermo_callbacks.commands.compare.command import build_compare_parser, compare
from thermo_callbacks.commands.demo.settings import LEARNING_RATES, DemoSettings
from thermo_callbacks.commands.digits import TRAINING_IMAGES, VALIDATION_IMAGES, digits_file
from thermo_callbacks.commands.folders import prepare_folder
from thermo_callbacks.commands.options import INTERRUPTED, PROGRAM, Parser, PositiveNumber, WholeNumber
from thermo_callbacks.commands.report.command import build_report_parser, report
from thermo_callbacks.commands.topology.command import build_topology_parser, topology

if TYPE_CHECKING:
    from thermo_callbacks.commands.demo.training import DemoResult


def build_parser() -> Parser:
    """The parser of the command line.

    Returns:
        The parser.
    """
    rates = ", ".join(f"{rate:g} for {name}" for name, rate in LEARNING_RATES.items())
    demo = Parser(
        description="Trains a small network on real handwritten digits with the thermometer on, prints what was "
        "measured layer by layer, and writes charts for TensorBoard. Takes well under a minute on two cores."
    )
    default = DemoSettings()
    option = demo.add_argument
    option("--max-epochs", type=WholeNumber(1), default=default.max_epochs, metavar="N", help="Passes over the data.")
    option("--logdir", default=str(default.logdir), metavar="DIR", help="Folder for the TensorBoard files.")
    option(
        "--optimizer",
        choices=list(LEARNING_RATES),
        default=default.optimizer,
        help="Optimizer; momentum is sgd with a momentum of 0.9.",
    )
    option("--lr", type=PositiveNumber(), default=argparse.SUPPRESS, metavar="X", help=f"Learning rate; {rates}.")
    option(
        "--batch-size",
        type=WholeNumber(1, TRAINING_IMAGES),
        default=default.batch_size,
        metavar="N",
        help="Images in a step.",
    )
    option(
        "--seed", type=WholeNumber(0, 2**32 - 1), default=default.seed, metavar="N", help="Seed of all that is random."
    )
    parser = Parser(prog=PROGRAM, description="A thermometer for PyTorch Lightning runs.", version=__version__)
    commands = parser.add_subcommands(required=False, dest="command")
    commands.add_subcommand("demo", demo, help="train on handwritten digits and show the measurements")
    commands.add_subcommand(
        "compare", build_compare_parser(), help="train a network with each of several activations and compare them"
    )
    commands.add_subcommand("report", build_report_parser(), help="put the logs of one or several runs on one page")
    commands.add_subcommand(
        "topology", build_topology_parser(), help="read the shape of a network, or rank the shapes of one budget"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The arguments; None for those of the process.

    Returns:
        The exit status: 0, or 130 after Ctrl-C. Wrong arguments exit with status 2.
    """
    parser = build_parser()
    chosen = parser.parse_args(None if arguments is None else list(arguments))
    if chosen.command is None:
        parser.print_help()
        return 0
    if chosen.command == "compare":
        with forgiving_output():
            return compare(parser, chosen.compare)
    if chosen.command == "report":
        with forgiving_output():
            return report(parser, chosen.report)
    if chosen.command == "topology":
        with forgiving_output():
            return topology(parser, chosen.topology)
    options = {name: chosen.demo[name] for name in ("max_epochs", "optimizer", "batch_size", "seed")}
    try:
        settings = DemoSettings(logdir=Path(chosen.demo.logdir), lr=chosen.demo.get("lr"), **options)
        digits_file()
        prepare_folder(settings.logdir, "--logdir")
    except ValueError as fault:
        parser.error(str(fault))
    try:
        with forgiving_output():
            return run_demo(settings)
    except KeyboardInterrupt:  # before or after the training; Ctrl-C in it is seen to there
        return INTERRUPTED


@contextlib.contextmanager
def forgiving_output() -> Iterator[None]:
    """Print a question mark for what the output's encoding lacks: Lightning's progress bar has signs beyond ASCII.

    Yields:
        Nothing.
    """
    output = sys.stdout
    if not isinstance(output, io.TextIOWrapper):
        yield
        return
    errors = output.errors
    output.reconfigure(errors="replace")
    try:
        yield
    finally:
        output.reconfigure(errors=errors)


def run_demo(settings: DemoSettings) -> int:
    """Train, and print what was measured.

    Args:
        settings: Settings of the run.

    Returns:
        The exit status.
    """
    console = Console(highlight=False, emoji=False)
    console.print(
        f"Training a small network on {TRAINING_IMAGES:,} handwritten digits: {settings.steps:,} steps of "
        f"{settings.optimizer} at a learning rate of {settings.learning_rate:g}, {settings.batch_size} images a step.\n"
        f"The thermometer looks on, and measures {settings.steps // settings.window} times, over {settings.window} "
        "steps each.\n"
    )
    from thermo_callbacks.commands.demo.training import (
        train,  # seconds of imports, which the person has something to read in
    )

    result = train(settings)
    _print_result(console, result, settings)
    return INTERRUPTED if result.interrupted else 0


def _print_result(console: Console, result: DemoResult, settings: DemoSettings) -> None:
    from thermo_callbacks.display.tables.layer_tables import activation_table, curvature_table, layer_table
    from thermo_callbacks.display.text.interpretation import read_run

    say = partial(console.print, markup=False)
    say()
    if result.interrupted:
        say(f"Stopped by Ctrl-C after {result.steps:,} of {settings.steps:,} steps.")
    if result.accuracy is not None:
        share = f"{100 * result.accuracy:.1f} %"
        say(f"Of {VALIDATION_IMAGES:,} digits that it was not trained on, the network names {share} correctly.")
    if result.records:
        last = {tag: value for record in result.records for tag, value in record.items()}
        for table in (layer_table, curvature_table, activation_table):
            with contextlib.suppress(ValueError):  # a run too short for an extra pass has no rows for some
                console.print(table(last))
        say("\nWhat this says:\n")
        for paragraph in read_run(result.records, window=settings.window, batch_size=settings.batch_size):
            console.print(Padding(Text(paragraph), (0, 0, 1, 2)))
    else:
        say(f"\nNothing was measured yet: the first measurement takes {settings.window} steps.\n")
    say("The course of all values is in TensorBoard, under the tab Custom Scalars. To open it:")
    say(f"  tensorboard --logdir {shlex.quote(str(result.folder.resolve()))}", soft_wrap=True)
    say("Then go to http://localhost:6006/#custom_scalars in the browser.")
    say("Or put it on one page, with all figures and what they say:")
    say(f"  {PROGRAM} report {shlex.quote(str(result.folder.resolve()))} --out report.html", soft_wrap=True)
