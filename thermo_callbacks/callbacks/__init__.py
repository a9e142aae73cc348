"""Callbacks: when to look, and where the values go."""

from thermo_callbacks.callbacks.monitor import (
    BulkMonitor,
    EntropyMonitor,
    FreeEnergyMonitor,
    TemperatureMonitor,
    ThermoMonitor,
    WorkEfficiencyMonitor,
)
from thermo_callbacks.callbacks.transition import TransitionTemperatureMonitor

__all__ = [
    "BulkMonitor",
    "EntropyMonitor",
    "FreeEnergyMonitor",
    "TemperatureMonitor",
    "ThermoMonitor",
    "TransitionTemperatureMonitor",
    "WorkEfficiencyMonitor",
]
