"""Callbacks: when to look, and where the values go."""

from thermo_callbacks.callbacks.monitor import (
    BulkMonitor,
    EntropyMonitor,
    FreeEnergyMonitor,
    TemperatureMonitor,
    ThermoMonitor,
    WorkEfficiencyMonitor,
)

__all__ = [
    "BulkMonitor",
    "EntropyMonitor",
    "FreeEnergyMonitor",
    "TemperatureMonitor",
    "ThermoMonitor",
    "WorkEfficiencyMonitor",
]
