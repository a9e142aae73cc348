"""Discovery of runs below the folders that a person names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from thermo_callbacks.commands.report.csv_file import CSV_FILE
from thermo_callbacks.commands.report.events import event_files
from thermo_callbacks.commands.report.naming import natural
from thermo_callbacks.commands.report.runs import Run, read_runs


def find_runs(folders: Sequence[Path]) -> list[Run]:
    """Find and read all runs in some folders and below them.

    Returns:
        The runs with values of a monitor, at least one, in the order of their folders. Other folders with logs, as some
        loggers leave them beside a run, are left out; what could not be read in them is noted with the first run.

    Raises:
        ValueError: If a folder does not exist, is a file, or holds no run; or no run has values of a monitor.
    """
    places: list[Path] = []
    for folder in folders:
        found = _below(folder)
        if not found:
            raise ValueError(_nothing(folder))
        places += [place for place in found if place not in places]
    runs = [run for place, name in zip(places, _names(places), strict=True) for run in read_runs(place, name)]
    measured = [run for run in runs if run.measured]
    if not measured:
        raise ValueError(_unmeasured(folders, runs))
    others = [run for run in runs if not run.measured]
    measured[0].notices += [f"In {run.name}: {notice}" for run in others for notice in run.notices]
    return measured


def _below(folder: Path) -> list[Path]:
    """Folders with logs, the named one or below it, in the order that people count in."""
    try:
        there = folder.exists()
    except OSError as fault:
        raise ValueError(
            f"LOGDIR {str(folder)[:200]!r} can't be read ({fault.strerror}): give the folder of a run"
        ) from fault
    if not there:
        raise ValueError(
            f"LOGDIR must be the folder of a run, or one with runs below it, got {str(folder)!r}, which does not "
            "exist: give the folder that the logger writes to, for example lightning_logs"
        )
    if not folder.is_dir():
        raise ValueError(f"LOGDIR must be a folder, got {str(folder)!r}, which is a file: give {str(folder.parent)!r}")
    places = [Path(place) for place, _, _ in os.walk(folder.resolve())]
    return sorted(filter(_has_logs, places), key=lambda place: natural(str(place)))


def _has_logs(place: Path) -> bool:
    return (place / CSV_FILE).is_file() or any(event_files(place))


def _nothing(folder: Path) -> str:
    if any(folder.rglob("run-*.wandb")):
        return (
            f"LOGDIR {str(folder)!r} holds runs of Weights & Biases alone, whose files can't be read here: log with "
            "CSVLogger beside it, Trainer(logger=[WandbLogger(...), CSVLogger(...)])"
        )
    return (
        f"LOGDIR {str(folder)!r} holds no run: there is neither an event file (events.out.tfevents...) nor {CSV_FILE} "
        "in it or below it: give the folder that TensorBoardLogger or CSVLogger writes to, for example lightning_logs"
    )


def _unmeasured(folders: Sequence[Path], runs: Sequence[Run]) -> str:
    named = ", ".join(repr(str(folder)) for folder in folders)
    notices = " ".join(notice for run in runs for notice in run.notices)
    if notices:
        return f"LOGDIR {named} holds no values that can be read: {notices} Give another run's folder"
    return (
        f"LOGDIR {named} holds logs without any value of a monitor (thermo/...): train with "
        "Trainer(callbacks=[ThermoMonitor()]), and let one window of steps go by"
    )


def _names(places: Sequence[Path]) -> list[str]:
    """Shortest names that tell the folders apart: what differs in their paths."""
    if len(places) == 1:
        return ["/".join(places[0].parts[-2:]).lstrip("/")]
    shared = Path(os.path.commonpath(places))
    if shared in places:  # a run with others below it
        shared = shared.parent
    return [place.relative_to(shared).as_posix() for place in places]
