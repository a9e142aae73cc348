"""Callbacks: when to measure, and where the values go."""

from thermo_callbacks.callbacks.acting.equilibrium_scheduler import EquilibriumScheduler
from thermo_callbacks.callbacks.acting.equilibrium_stopping import EquilibriumStopping
from thermo_callbacks.callbacks.acting.learning_rate_suggestion import suggest_learning_rate
from thermo_callbacks.callbacks.live_table import LiveTable
from thermo_callbacks.callbacks.narrow_monitors import (
    BulkMonitor,
    EntropyMonitor,
    FreeEnergyMonitor,
    TemperatureMonitor,
    WorkEfficiencyMonitor,
)
from thermo_callbacks.callbacks.thermo_monitor import ThermoMonitor
from thermo_callbacks.callbacks.transition_monitor import TransitionTemperatureMonitor

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
    "suggest_learning_rate",
]
