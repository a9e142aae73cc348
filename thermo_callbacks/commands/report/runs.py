"""Runs, merged from their log files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from thermo_callbacks.catalog import Scalars
from thermo_callbacks.commands.report.configuration import Configurations, configuration_files
from thermo_callbacks.commands.report.csv_file import CSV_FILE, read_csv
from thermo_callbacks.commands.report.events import event_files, read_event_file
from thermo_callbacks.commands.report.hyperparameters import HYPERPARAMETERS_FILE, read_hyperparameters
from thermo_callbacks.commands.report.log import Log
from thermo_callbacks.commands.report.naming import natural
from thermo_callbacks.commands.report.series import Series
from thermo_callbacks.display.figures.layer_history import merge_names

_OURS = re.compile(
    r"(?P<prefix>(?:.+?-)?)thermo(?:_[a-z_]+)?/.+", re.DOTALL
)  # Lightning joins prefix and tag by a dash
_WINDOW = ("thermo/temperature", "thermo/internal_energy")  # each window of a monitor has one of them
_COUNTERS = ("epoch", "hp_metric", "step")  # what Lightning logs beside what training does
_FEWEST_RECORDS, _MOST_VALUES = 100, 500_000  # of a long run


@dataclass
class Run(Log):
    """One run, as its logs tell of it: tags without a logger's prefix, in the order in which they came.

    Attributes:
        name: Name that tells it from the other runs of the page.
        hyperparameters: What the logger noted of the settings, as text.
    """

    name: str
    folder: Path
    hyperparameters: dict[str, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)

    @property
    def measured(self) -> bool:
        """Whether it has values of a monitor."""
        return any(is_ours(tag) for tag in self.scalars)

    @property
    def tags(self) -> set[str]:
        """All tags, those of histograms included."""
        return {*self.scalars, *self.histograms}

    def members(self, family: str) -> list[str]:
        """Layers, or activations, of a family of tags, in the order in which they came."""
        start = f"{family}/"
        return [tag.removeprefix(start) for tag in self.scalars if tag.startswith(start)]

    @property
    def _own(self) -> dict[str, Series]:
        return {tag: series for tag, series in self.scalars.items() if is_ours(tag) and len(series)}

    @property
    def record_steps(self) -> list[int]:
        """The step of each of the records."""
        own = self._own
        windows = [series.steps for tag, series in own.items() if tag in _WINDOW]
        starts = np.unique(
            np.concatenate(windows or [series.steps for series in own.values()] or [np.zeros(0, dtype=np.int64)])
        )
        most = max(_FEWEST_RECORDS, _MOST_VALUES // max(1, len(own)))  # words need the course of a run, and its end
        if len(starts) > most:
            starts = starts[np.unique(np.linspace(0, len(starts) - 1, most).round().astype(int))]
        return [int(start) for start in starts]

    def records(self) -> list[Scalars]:
        """What was known after each window, tag to its latest value; of a long run after some of them.

        What an extra pass gave after a window is in that window's record. A run without windows has a record for each
        extra pass.

        Returns:
            One record a window, in order.
        """
        own = self._own
        starts = np.array(self.record_steps, dtype=np.int64)
        # up to the step before the next window: what an extra pass gave in between is its window's
        ends = np.append(starts[1:], np.iinfo(np.int64).max)
        records: list[Scalars] = [{} for _ in starts]
        for tag, series in own.items():
            places = np.searchsorted(series.steps, ends, side="left") - 1
            for record, place, value in zip(records, places, series.values[places], strict=True):
                if place >= 0:
                    record[tag] = float(value)
        return records

    @property
    def windows(self) -> int:
        """Number of windows; of extra passes in a run without windows."""
        own = {tag: series for tag, series in self.scalars.items() if is_ours(tag)}
        steps = [series.steps for tag, series in own.items() if tag in _WINDOW] or [each.steps for each in own.values()]
        return len(np.unique(np.concatenate(steps)))

    @property
    def configurations(self) -> Configurations:
        """What its monitors wrote of their set-up."""
        return Configurations(self.texts)

    def merge(self, log: Log, prefix: str) -> None:
        """Take over what a logger with a prefix wrote."""
        self.images |= _behind(prefix, log.images)
        self.histograms |= _behind(prefix, log.histograms)
        self.texts |= _behind(prefix, log.texts)
        for tag, series in _behind(prefix, log.scalars).items():
            self.scalars.setdefault(tag, Series()).merge(series)


def _behind(prefix: str, values: dict[str, Any]) -> dict[str, Any]:
    """Values whose tags begin with a prefix, without it."""
    return {tag.removeprefix(prefix): value for tag, value in values.items() if tag.startswith(prefix)}


def is_ours(tag: str) -> bool:
    """Whether a tag without a logger's prefix is one of this package's monitors.

    Returns:
        True for ``thermo/...`` and ``thermo_.../...``.

    Example:
        >>> is_ours("thermo_heat/net.0"), is_ours("val_loss")
        (True, False)
    """
    match = _OURS.fullmatch(tag)
    return match is not None and not match["prefix"]


def words_of(tag: str) -> str:
    """Name of a quantity as a page shows it; what training itself logs keeps its own."""
    return tag.removeprefix("thermo/").replace("_", " ") if is_ours(tag) else tag


def tags_of_training(runs: Iterable[Run]) -> list[str]:
    """What training itself logs, each once, in the order in which it came."""
    tags = dict.fromkeys(tag for run in runs for tag in run.scalars)
    return [tag for tag in tags if not is_ours(tag) and tag not in _COUNTERS]


def read_runs(folder: Path, name: str) -> list[Run]:
    """Read the files of a folder itself: one run, or one for each prefix where loggers with several wrote there.

    Event files and ``metrics.csv`` are merged by step; where both have a value, that of the file written last counts.

    Returns:
        The runs; several are named by their prefix as well.
    """
    events, table, files = Log(), Log(), []
    for path in event_files(folder):
        read_event_file(path, events)
        files.append(path.name)
    if (folder / CSV_FILE).is_file():
        read_csv(folder / CSV_FILE, table)
        files.append(CSV_FILE)
    hyperparameters, flaws = read_hyperparameters(folder / HYPERPARAMETERS_FILE)
    configurations, unread = configuration_files(folder)
    groups = _by_prefix([events, table])
    runs = []
    for prefix, members in groups.items():
        label = prefix.rstrip("-/_. ")
        run = Run(f"{name} ({label})" if len(groups) > 1 and label else name, folder, hyperparameters, files)
        run.notices = [*events.notices, *table.notices, *flaws, *unread]
        for log, own in members:
            run.merge(log, own)
        run.texts = configurations | run.texts
        run.notices += [f"{tag} holds no configuration, and is left out." for tag in run.configurations.unread]
        runs.append(run)
    return runs


def _by_prefix(logs: list[Log]) -> dict[str, list[tuple[Log, str]]]:
    """Prefix of a run to the logs that have it; logs with one prefix each are those of one run."""
    prefixes = [_prefixes(log) for log in logs]
    if all(len(found) <= 1 for found in prefixes):
        own = [next(iter(found), "") for found in prefixes]
        return {next(filter(None, own), ""): list(zip(logs, own, strict=True))}
    together = list(dict.fromkeys(prefix for found in prefixes for prefix in found))
    return {
        prefix: [(log, prefix) for log, found in zip(logs, prefixes, strict=True) if prefix in found]
        for prefix in together
    }


def _prefixes(log: Log) -> list[str]:
    """What loggers put before the tags of the monitors, each once."""
    matches = filter(None, map(_OURS.fullmatch, (*log.scalars, *log.images, *log.histograms, *log.texts)))
    return list(dict.fromkeys(match["prefix"] for match in matches))


def members_of(runs: Iterable[Run], family: str) -> list[str]:
    """Layers or activations of several runs in one order, that of depth.

    Event files keep the order in which values came, which is that of depth. A table sorts its columns by name, so runs
    that have nothing else come last and with their numbers in order.

    Args:
        runs: The runs.
        family: What stands before the slash in their tags.

    Returns:
        All members, each once.
    """
    names: list[str] = []
    for run in sorted(runs, key=lambda run: run.files == [CSV_FILE]):
        own = run.members(family)
        names = merge_names(names, sorted(own, key=natural) if run.files == [CSV_FILE] else own)
    return names
