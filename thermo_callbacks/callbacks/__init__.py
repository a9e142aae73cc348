"""Callbacks: when to look, and where the values go."""

from thermo_callbacks.callbacks.live import LiveTable
from thermo_callbacks.callbacks.monitor import ThermoMonitor
from thermo_callbacks.callbacks.narrow import (
    BulkMonitor,
    EntropyMonitor,
    FreeEnergyMonitor,
    TemperatureMonitor,
    WorkEfficiencyMonitor,
)
from thermo_callbacks.callbacks.transition import TransitionTemperatureMonitor

__all__ = [
    "BulkMonitor",
    "EntropyMonitor",
    "FreeEnergyMonitor",
    "LiveTable",
    "TemperatureMonitor",
    "ThermoMonitor",
    "TransitionTemperatureMonitor",
    "WorkEfficiencyMonitor",
]
