"""Training read as a physical system: callbacks, metrics and functions for PyTorch Lightning."""

from thermo_callbacks.callbacks import TemperatureMonitor, ThermoMonitor

__all__ = ["TemperatureMonitor", "ThermoMonitor"]
__version__ = "0.1.0"
