"""Configurations that the monitors of a run wrote."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from thermo_callbacks.commands.report.naming import natural
from thermo_callbacks.display.figures.engines import Kind
from thermo_callbacks.display.text.configuration import CONFIGURATION_FILE, is_configuration, read_configuration

Configuration = Mapping[str, Any]


class Configurations:
    """Configurations of a run's monitors, in the order of the monitors; none in logs of versions that wrote nothing.

    A file may hold anything: what has another form than monitors write is left out.

    Args:
        texts: Texts of the run, by their tags.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        tags = sorted(filter(is_configuration, texts), key=natural)
        self.all = [configuration for tag in tags if (configuration := read_configuration(texts[tag]))]

    def number(self, name: str) -> int | None:
        """Find a positive whole number, ``"window"`` or ``"batch_size"`` for example.

        Args:
            name: Its name.

        Returns:
            That of the first monitor that has one.
        """
        values = (configuration.get(name) for configuration in self.all)
        return next((value for value in values if isinstance(value, int) and value > 0), None)

    @property
    def engine_types(self) -> dict[str, Kind]:
        """Engine type of each activation whose function has one."""
        found = [types for each in self.all if isinstance(types := each.get("engine_types"), dict)]
        return {name: kind for types in found for name, kind in types.items() if kind in ("passive", "driven")}

    @property
    def facts(self) -> dict[str, str]:
        """Name of each fact and its value; where monitors differ, the values of all."""
        facts = {}
        for name, describe in _FACTS.items():
            values = dict.fromkeys(filter(None, (_described(describe, each) for each in self.all)))
            if values:
                facts[name] = "; ".join(values)
        return facts


def configuration_files(folder: Path) -> dict[str, str]:
    """Read the configurations beside a table.

    Args:
        folder: Folder of the table.

    Returns:
        Texts, under the tags that they have in event files.
    """
    texts = {}
    for path in folder.glob(f"{CONFIGURATION_FILE}*.json"):
        with contextlib.suppress(OSError):
            texts[path.stem.replace("_", "/", 1)] = path.read_text("utf-8", "replace")
    return texts


def _described(describe: Callable[[Configuration], str], configuration: Configuration) -> str:
    try:
        return describe(configuration)
    except (KeyError, TypeError, ValueError, AttributeError):
        return ""


def _monitor(configuration: Configuration) -> str:
    preset = configuration.get("preset")
    return f"{configuration['monitor']}" + (f", {preset}" if preset else "")


def _extra_passes(configuration: Configuration) -> str:
    first, every = configuration["extra_passes"]["first"], configuration["extra_passes"]["every"]
    return f"every {every:,} steps" if first == every else f"first after {first:,} steps, then up to {every:,} apart"


def _sample(configuration: Configuration) -> str:
    sample = configuration["sample"]
    return "all weights" if sample is None else f"up to {sample:,} weights of a layer"


def _batch(configuration: Configuration) -> str:
    parts = (("batches accumulated", configuration["micro_batches"]), ("processes", configuration["processes"]))
    return ", ".join(
        [f"{configuration['batch_size']:,} samples", *(f"{count:,} {what}" for what, count in parts if count > 1)]
    )


def _optimizer(configuration: Configuration) -> str:
    return "; ".join(
        f"{each['class']}, learning rate {_number(each['learning_rate'])}"
        + (f", momentum {_number(each['momentum'])}" if each["momentum"] else "")
        for each in configuration["optimizers"]
    )


def _number(value: float | list[float]) -> str:
    return " and ".join(f"{each:g}" for each in (value if isinstance(value, list) else [value]))


def _engine_types(configuration: Configuration) -> str:
    counts = Counter(kind or "unknown" for kind in configuration["engine_types"].values())
    return ", ".join(f"{count:,} {kind}" for kind, count in counts.items())


_FACTS: dict[str, Callable[[Configuration], str]] = {
    "Monitor": _monitor,
    "Extra passes": _extra_passes,
    "Layers": lambda configuration: f"{len(configuration['watched_layers']) or ''}",
    "Sample": _sample,
    "Batch": _batch,
    "Optimizer": _optimizer,
    "Activations": _engine_types,
    "Seed": lambda configuration: f"{configuration['seed']:d}",
    "Version": lambda configuration: f"thermo-callbacks {configuration['version']}",
}
