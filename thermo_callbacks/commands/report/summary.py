"""Facts and interpretation of each run."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from thermo_callbacks.commands.report.colours import run_colour
from thermo_callbacks.commands.report.csv_file import CSV_FILE
from thermo_callbacks.commands.report.runs import Run
from thermo_callbacks.display.text.interpretation import read_run


class Summary(NamedTuple):
    """What the numbers of a run say, subject and sentences, and what could not be read."""

    name: str
    colour: str
    interpretations: list[tuple[str, str]]
    notices: list[str]


def summary_of(run: Run, place: int) -> Summary:
    """Interpret the numbers of a run."""
    sizes = run.configurations
    paragraphs = read_run(
        run.records(), steps=run.record_steps, batch_size=sizes.number("batch_size"), window=sizes.number("window")
    )
    return Summary(run.name, run_colour(place), [_split(paragraph) for paragraph in paragraphs], run.notices)


def facts_of(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """Set-up, times and files of the runs: name of each fact that one has, and its value in each or an empty text."""
    columns = [_facts(run) for run in runs]
    names = list(dict.fromkeys(name for column in columns for name in column))
    return [(name, [column.get(name, "") for column in columns]) for name in names]


def _facts(run: Run) -> dict[str, str]:
    steps = [int(series.steps[end]) for series in run.scalars.values() if len(series) for end in (0, -1)]
    window = run.configurations.number("window")
    facts = {
        "Steps": f"{min(steps):,} to {max(steps):,}",
        "Measurements": f"{run.windows:,}" + ("" if window is None else f", of {window:,} steps each"),
        **run.configurations.facts,
        "Layers": f"{len(run.members('thermo_temperature')) or ''}",
        "Logged": _times(run),
        "Folder": _folder(run.folder),
        "Files": ", ".join(run.files),
        **{f"Setting {name}": value for name, value in run.hyperparameters.items()},
    }
    return {name: value for name, value in facts.items() if value}


def _folder(folder: Path) -> str:
    """A path as short as a person at the place of the call would write it."""
    here = Path.cwd()
    return str(folder.relative_to(here) if folder.is_relative_to(here) else folder)


def _split(paragraph: str) -> tuple[str, str]:
    """Split a paragraph into its subject, up to the first comma or colon, and the rest."""
    match = re.match(r"[\w ]{1,30}[:,]", paragraph)
    return (match[0], paragraph[match.end() :]) if match else ("", paragraph)


def _times(run: Run) -> str:
    """Times of the first and the last value; empty for a table, which has none, and where nobody knows."""
    if run.files == [CSV_FILE]:
        return ""
    times = np.concatenate([series.times for series in run.scalars.values()])
    times = times[~np.isnan(times)]
    if not len(times):
        return ""
    first, last = (
        datetime.datetime.fromtimestamp(time).astimezone() for time in (float(times.min()), float(times.max()))
    )
    end = f"{last:%H:%M:%S}" if first.date() == last.date() else f"{last:%Y-%m-%d %H:%M:%S}"
    return f"{first:%Y-%m-%d %H:%M:%S} to {end}"
