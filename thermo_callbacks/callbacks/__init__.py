"""Callbacks: when to look, and where the values go."""

from thermo_callbacks.callbacks.monitor import TemperatureMonitor, ThermoMonitor

__all__ = ["TemperatureMonitor", "ThermoMonitor"]
