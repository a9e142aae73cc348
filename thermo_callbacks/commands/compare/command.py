"""The subcommand ``thermo-callbacks compare``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rich.console import Console

from thermo_callbacks.commands.compare.settings import CompareSettings
from thermo_callbacks.commands.folders import prepare_folder
from thermo_callbacks.commands.options import INTERRUPTED, Parser
from thermo_callbacks.commands.printing import new_console, print_interpretation

if TYPE_CHECKING:
    from thermo_callbacks.comparison.result import ComparisonResult


def compare(parser: Parser, settings: CompareSettings) -> int:
    """Train and compare, and print what came out; the exit status is 1 if no run finished."""
    console = new_console()
    try:
        _announce(console, settings)
        result = _train(settings)
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
        "step.\n"
    )


def _train(settings: CompareSettings) -> ComparisonResult:
    # seconds of imports, which the person has something to read in
    import joblib

    from thermo_callbacks.callbacks import ThermoMonitor
    from thermo_callbacks.commands.compare.classifier import ClassifierFactory
    from thermo_callbacks.commands.compare.data import CLASSES, SHAPES, ExampleData, check_installed
    from thermo_callbacks.commands.compare.models import NetworkSettings
    from thermo_callbacks.comparison.activations import candidates
    from thermo_callbacks.comparison.compare import compare_activations
    from thermo_callbacks.comparison.ownership import forget_runs
    from thermo_callbacks.comparison.records import run_name

    check_installed(settings.data)
    chosen = candidates(settings.activations)  # a name that is wrong makes no folder, and deletes nothing
    prepare_folder(settings.folder, "--directory")
    if settings.resume == "never":
        planned = [run_name(each.name, seed) for each in chosen for seed in range(settings.seeds)]
        forget_runs(settings.folder, planned)
    depth, width = settings.size
    network = NetworkSettings(
        model=settings.model, shape=SHAPES[settings.data], classes=CLASSES, depth=depth, width=width
    )
    monitor = ThermoMonitor(
        window=settings.window, steps_between_windows=0, curvature_every_n_steps=settings.extra_pass_every
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
    for table in result.tables():
        console.print()
        console.print(table)
    for note in result.notes():
        console.print(note)
    print_interpretation(console, result.reading())
    console.print(f"Tables, figure and all runs are in {shlex.quote(str(result.directory))}:", soft_wrap=True)
    console.print("  figure.png, report.md, summary.csv (means), runs.csv (one row a run), runs/ (TensorBoard)")
    console.print("To look at the runs side by side, under the tabs Time Series and HParams:")
    console.print(f"  tensorboard --logdir {shlex.quote(str(result.directory / 'runs'))}", soft_wrap=True)
