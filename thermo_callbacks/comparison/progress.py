"""Progress of a comparison in the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from thermo_callbacks.comparison.records import RunRecord
from thermo_callbacks.comparison.storage import StoredRun


def watch(results: Iterable[StoredRun], *, planned: int, finished: int) -> Iterator[StoredRun]:
    """Show a bar and a line for each run that ends."""
    console = Console(highlight=False, emoji=False)
    if finished:
        console.print(f"{finished} of {planned} runs were made before and are read.")
    if finished == planned:
        return
    columns = (
        TextColumn("runs"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("runs", total=planned - finished)
        for stored in results:
            bar.console.print(Text(describe_run(stored.record)))
            bar.advance(task)
            yield stored


def describe_run(record: RunRecord) -> str:
    """Describe a run that ended in one line.

    Returns:
        The line.

    Example:
        >>> describe_run(RunRecord(activation="ReLU", seed=1, values={"val_loss_final": 0.25, "seconds": 12.0}))
        'ReLU, seed 1: validation loss 0.2500, 12 s'
    """
    start = f"{record.activation}, seed {record.seed}: "
    if record.status != "finished":
        return f"{start}{record.status}, {record.message}"
    parts = [f"validation loss {record.values.get('val_loss_final', math.nan):.4f}"]
    if math.isfinite(accuracy := record.values.get("accuracy", math.nan)):
        parts.append(f"accuracy {100 * accuracy:.1f} %")
    return start + ", ".join([*parts, f"{record.values.get('seconds', math.nan):.0f} s"])
