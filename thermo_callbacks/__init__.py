"""Training read as a physical system: callbacks, metrics and functions for PyTorch Lightning."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thermo_callbacks.callbacks import (
        BulkMonitor,
        EntropyMonitor,
        EquilibriumScheduler,
        EquilibriumStopping,
        FreeEnergyMonitor,
        LiveTable,
        TemperatureMonitor,
        ThermoMonitor,
        TransitionTemperatureMonitor,
        WorkEfficiencyMonitor,
        suggest_learning_rate,
    )
    from thermo_callbacks.comparison import compare_activations

__all__ = [
    "BulkMonitor",
    "EntropyMonitor",
    "EquilibriumScheduler",
    "EquilibriumStopping",
    "FreeEnergyMonitor",
    "LiveTable",
    "TemperatureMonitor",
    "ThermoMonitor",
    "TransitionTemperatureMonitor",
    "WorkEfficiencyMonitor",
    "compare_activations",
    "suggest_learning_rate",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # imported at first use: the functions need torch alone, and the command line answers before Lightning is there
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}")
    room = "comparison" if name == "compare_activations" else "callbacks"
    return getattr(importlib.import_module(f"thermo_callbacks.{room}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
