"""The subcommand ``thermo-callbacks compare``."""

from __future__ import annotations

import argparse
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from thermo_callbacks.commands.compare.settings import INPUTS, SIZES, CompareSettings
from thermo_callbacks.commands.folders import prepare_folder
from thermo_callbacks.commands.options import INTERRUPTED, Parser, PositiveNumber, WholeNumber

if TYPE_CHECKING:
    from thermo_callbacks.comparison.result import ComparisonResult


def build_compare_parser() -> Parser:
    """The parser of the subcommand.

    Returns:
        The parser.
    """
    default = CompareSettings()
    sizes = "; ".join(f"{name}: {depth} and {width}" for name, (depth, width) in SIZES.items())
    parser = Parser(
        description="Trains the same small network with each of several activations, under the same seeds, and "
        "compares them as heat engines: tables, a figure, and charts for TensorBoard. A comparison that was stopped "
        "goes on where it was when it is called again."
    )
    option = parser.add_argument
    option(
        "--activations",
        nargs="+",
        type=str,
        default=list(default.activations),
        metavar="NAME",
        help="Activations of torch.nn, by name.",
    )
    option("--data", choices=list(INPUTS), default=default.data, help="Data, none of which is downloaded.")
    option("--model", choices=list(SIZES), default=default.model, help="Network.")
    option("--seeds", type=WholeNumber(1), default=default.seeds, metavar="N", help="Runs of each activation.")
    option("--max-epochs", type=WholeNumber(1), default=default.max_epochs, metavar="N", help="Passes over the data.")
    size: dict[str, Any] = {"type": WholeNumber(1), "default": argparse.SUPPRESS, "metavar": "N"}
    option("--depth", help=f"Hidden layers, convolutions or blocks. Depth and width of {sizes}.", **size)
    option("--width", help="Neurons, channels or features of each.", **size)
    option("--lr", type=PositiveNumber(), default=default.lr, metavar="X", help="Learning rate of Adam.")
    option("--batch-size", type=WholeNumber(1), default=default.batch_size, metavar="N", help="Inputs in a step.")
    option("--jobs", help="Runs at a time; one a core unless given.", **size)
    option(
        "--directory",
        default=argparse.SUPPRESS,
        metavar="DIR",
        help="Folder of all files; thermo_comparison/DATA-MODEL unless given.",
    )
    option(
        "--resume",
        choices=["auto", "never"],
        default="auto",
        help="auto: go on with the finished runs that the folder holds; never: delete them first.",
    )
    return parser


def compare(parser: Parser, chosen: Any) -> int:
    """Run the subcommand.

    Args:
        parser: Says what is wrong with the arguments, and exits.
        chosen: The arguments.

    Returns:
        The exit status: 0, 1 if no run finished, 130 after Ctrl-C.
    """
    options = {name: chosen.get(name) for name in ("depth", "width", "jobs")}
    options |= {name: chosen[name] for name in ("data", "model", "seeds", "max_epochs", "lr", "batch_size")}
    directory = chosen.get("directory")
    console = Console(highlight=False, emoji=False)
    try:
        settings = CompareSettings(
            activations=tuple(chosen.activations), directory=None if directory is None else Path(directory), **options
        )
        _announce(console, settings)
        result = _train(settings, fresh=chosen.resume == "never")
    except ValueError as fault:
        parser.error(str(fault))
    except KeyboardInterrupt:
        console.print("\nStopped by Ctrl-C. The same command goes on with the runs that are finished.")
        return INTERRUPTED
    _print_result(console, result)
    return 0 if any(record.status == "finished" for record in result.records) else 1


def _announce(console: Console, settings: CompareSettings) -> None:
    depth, width = settings.size
    activations, seeds = len(settings.activations), settings.seeds
    console.print(
        f"Training {settings.model} (depth {depth}, width {width}) on {settings.data} with each of "
        f"{activations} activation{'s' * (activations > 1)} and {seeds} seed{'s' * (seeds > 1)}: "
        f"{settings.steps:,} steps of Adam at a learning rate of {settings.lr:g}, {settings.batch_size} inputs a "
        "step.\n",
        markup=False,
    )


def _train(settings: CompareSettings, *, fresh: bool) -> ComparisonResult:
    # seconds of imports, which the person has something to read in
    import joblib

    from thermo_callbacks.callbacks import ThermoMonitor
    from thermo_callbacks.commands.compare.classifier import ClassifierFactory
    from thermo_callbacks.commands.compare.data import CLASSES, SHAPES, ExampleData, check_installed
    from thermo_callbacks.commands.compare.models import NetworkSettings
    from thermo_callbacks.comparison.activations import candidates
    from thermo_callbacks.comparison.compare import compare_activations
    from thermo_callbacks.comparison.storage import forget_runs

    check_installed(settings.data)
    candidates(settings.activations)  # a name that is wrong makes no folder, and deletes nothing
    prepare_folder(settings.folder, "--directory")
    if fresh:
        forget_runs(settings.folder)
    depth, width = settings.size
    network = NetworkSettings(
        model=settings.model, shape=SHAPES[settings.data], classes=CLASSES, depth=depth, width=width
    )
    monitor = ThermoMonitor(
        window=settings.window, steps_between_windows=0, curvature_every_n_steps=settings.look_every
    )
    return compare_activations(
        ClassifierFactory(network=network, learning_rate=settings.lr),
        settings.activations,
        ExampleData(settings.data, settings.batch_size),
        seeds=settings.seeds,
        trainer_kwargs={"max_epochs": settings.max_epochs, "accelerator": "cpu", "callbacks": [monitor]},
        directory=settings.folder,
        jobs=settings.jobs or min(joblib.cpu_count(), len(settings.activations) * settings.seeds),
    )


def _print_result(console: Console, result: ComparisonResult) -> None:
    say = partial(console.print, markup=False)
    for table in result.tables():
        say()
        console.print(table)
    for note in result.notes():
        say(note)
    say("\nWhat this says:\n")
    for paragraph in result.reading():
        console.print(Padding(Text(paragraph), (0, 0, 1, 2)))
    say(f"Tables, figure and all runs are in {shlex.quote(str(result.directory))}:", soft_wrap=True)
    say("  figure.png, report.md, summary.csv (means), runs.csv (one row a run), runs/ (TensorBoard)")
    say("To look at the runs side by side, under the tabs Time Series and HParams:")
    say(f"  tensorboard --logdir {shlex.quote(str(result.directory / 'runs'))}", soft_wrap=True)
