"""Configurations that the monitors of a run wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thermo_callbacks.commands.report.naming import natural
from thermo_callbacks.commands.report.small_files import read_small_file
from thermo_callbacks.display.figures.engines import Kind
from thermo_callbacks.display.text.configuration import CONFIGURATION_FILE, is_configuration, read_configuration

_LONG = 4  # entries of a list or table that are shown one by one
_LONGEST = 12  # entries of a table of settings that are shown one by one
_DEEPEST = 8  # lists and tables within one another that are shown
_LARGEST_NUMBER = 1 << 53


class Configurations:
    """Configurations of a run's monitors, in the order of the monitors; none in logs of versions that wrote nothing."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        tags = sorted(filter(is_configuration, texts), key=natural)
        read = {tag: read_configuration(texts[tag]) for tag in tags}
        self.all = [configuration for configuration in read.values() if configuration]
        self.unread = [tag for tag in tags if not read[tag]]

    def number(self, name: str) -> int | None:
        """Positive whole number of the first monitor that has one, ``"window"`` or ``"batch_size"`` for example."""
        values = (configuration.get(name) for configuration in self.all)
        return next((value for value in values if isinstance(value, int) and 0 < value < _LARGEST_NUMBER), None)

    @property
    def settings(self) -> dict[str, Any]:
        """All that they hold; where several monitors have a value, that of the first."""
        settings: dict[str, Any] = {}
        for configuration in reversed(self.all):
            settings |= {name: value for name, value in configuration.items() if value is not None}
        return settings

    @property
    def untrained(self) -> dict[str, str]:
        """Layers that are not trained, and why, by all monitors."""
        found = [reasons for each in self.all if isinstance(reasons := each.get("untrained_layers"), dict)]
        return {str(layer): str(reason) for reasons in found for layer, reason in reasons.items()}

    @property
    def engine_types(self) -> dict[str, Kind]:
        """Engine type of each activation whose function has one."""
        found = [types for each in self.all if isinstance(types := each.get("engine_types"), dict)]
        return {name: kind for types in found for name, kind in types.items() if kind in ("passive", "driven")}

    @property
    def facts(self) -> dict[str, str]:
        """Name and value of all that they hold; where monitors differ, the values of all."""
        facts = {}
        for name in dict.fromkeys(name for each in self.all for name in each):
            values = dict.fromkeys(filter(None, (_shown(each.get(name)) for each in self.all)))
            facts[_words(name).capitalize()] = "; ".join(values)
        return facts


def configuration_files(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Read the configurations beside a table, under the tags that they have in event files, and what can't be read."""
    texts, notices = {}, []
    for path in sorted(folder.glob(f"{CONFIGURATION_FILE}*.json")):
        text, notice = read_small_file(path)
        if text is None:
            notices.append(notice)
        else:
            texts[path.stem.replace("_", "/", 1)] = text.decode("utf-8", "replace")
    return texts, notices


def _shown(value: Any, depth: int = 0) -> str:
    """Words for a value; of long lists how many there are, and of long tables how many of a kind."""
    if depth > _DEEPEST:
        return "..."
    if isinstance(value, dict):
        if value and all(isinstance(each, list) for each in value.values()):  # groups
            return ", ".join(f"{name} ({len(each):,})" for name, each in value.items())
        kinds = all(each is None or isinstance(each, str) for each in value.values())  # and no settings
        if len(value) > (_LONG if kinds else _LONGEST):
            value = Counter(_shown(each, depth + 1) or "unknown" for each in value.values())
        shown = {name: _shown(each, depth + 1) for name, each in value.items()}
        return ", ".join(f"{_words(name)} {text}".rstrip() for name, text in shown.items() if kinds or text)
    if isinstance(value, list):
        between = ", " if all(isinstance(each, str) for each in value) else " and "
        return f"{len(value):,}" if len(value) > _LONG else between.join(_shown(each, depth + 1) for each in value)
    if isinstance(value, float):
        return f"{value:g}"
    # a switch is a whole number too
    return "" if value is None else f"{value:,}" if type(value) is int else str(value)


def _words(name: str) -> str:
    return name.replace("_", " ")
