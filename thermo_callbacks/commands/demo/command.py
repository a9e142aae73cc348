"""The subcommand ``thermo-callbacks demo``."""

from __future__ import annotations

import contextlib
import shlex
from typing import TYPE_CHECKING

from rich.console import Console

from thermo_callbacks.commands.demo.settings import DemoSettings
from thermo_callbacks.commands.digits import TRAINING_IMAGES, VALIDATION_IMAGES, digits_file
from thermo_callbacks.commands.folders import prepare_folder
from thermo_callbacks.commands.options import INTERRUPTED, PROGRAM, Parser
from thermo_callbacks.commands.printing import new_console, print_interpretation

if TYPE_CHECKING:
    from thermo_callbacks.commands.demo.training import DemoResult


def demo(parser: Parser, settings: DemoSettings) -> int:
    """Train, and print what was measured."""
    try:
        digits_file()
        prepare_folder(settings.logdir, "--logdir")
    except ValueError as fault:
        parser.error(str(fault))
    console = new_console()
    console.print(
        f"Training a small network on {TRAINING_IMAGES:,} handwritten digits: {settings.steps:,} steps of "
        f"{settings.optimizer} at a learning rate of {settings.learning_rate:g}, {settings.batch_size} images a step."
    )
    try:
        # seconds of imports, which the person has something to read in
        from thermo_callbacks.commands.demo.training import planned_windows, train

        windows = planned_windows(settings)
        console.print(
            f"The thermometer looks on, and measures {windows.count} times, over {windows.length} steps each.\n"
        )
        result = train(settings)
        _print_result(console, result, settings)
    except KeyboardInterrupt:  # before or after the training; Ctrl-C in it is seen to there
        return INTERRUPTED
    return INTERRUPTED if result.interrupted else 0


def _print_result(console: Console, result: DemoResult, settings: DemoSettings) -> None:
    from thermo_callbacks.display.tables.layer_tables import layer_table
    from thermo_callbacks.display.text.interpretation import read_run

    console.print()
    if result.interrupted:
        console.print(f"Stopped by Ctrl-C after {result.steps:,} of {settings.steps:,} steps.")
    if result.accuracy is not None:
        share = f"{100 * result.accuracy:.1f} %"
        console.print(
            f"Of {VALIDATION_IMAGES:,} digits that it was not trained on, the network names {share} correctly."
        )
    if result.records:
        last = {tag: value for record in result.records for tag, value in record.items()}
        for subject in ("layers", "curvature", "activations"):
            with contextlib.suppress(ValueError):  # a run too short for an extra pass has no rows for some
                console.print(layer_table(last, subject))
        paragraphs = read_run(result.records, steps=result.ends, batch_size=settings.batch_size, window=result.window)
        print_interpretation(console, paragraphs)
    else:
        console.print(f"\nNothing was measured yet: the first measurement takes {result.window} steps.\n")
    folder = shlex.quote(str(result.folder.resolve()))
    console.print("The course of all values is in TensorBoard, under the tab Custom Scalars. To open it:")
    console.print(f"  tensorboard --logdir {folder}", soft_wrap=True)
    console.print("Then go to http://localhost:6006/#custom_scalars in the browser.")
    console.print("Or put it on one page, with all figures and what they say:")
    console.print(f"  {PROGRAM} report {folder} --out report.html", soft_wrap=True)
