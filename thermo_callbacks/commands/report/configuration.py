"""What the monitors of a run wrote of their set-up, as facts of the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Configuration = Mapping[str, Any]


def configured_facts(configurations: Sequence[Configuration]) -> dict[str, str]:
    """Facts of a run that its values don't tell.

    Args:
        configurations: What each monitor wrote. A file may hold anything: what has another form than monitors write is
            left out.

    Returns:
        Name of each fact and its value; where monitors differ, the values of all.
    """
    facts = {}
    for name, describe in _FACTS.items():
        values = dict.fromkeys(filter(None, (_described(describe, each) for each in configurations)))
        if values:
            facts[name] = "; ".join(values)
    return facts


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
