"""Training read as a physical system: callbacks, metrics and functions for PyTorch Lightning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thermo_callbacks.callbacks import TemperatureMonitor, ThermoMonitor

__all__ = ["TemperatureMonitor", "ThermoMonitor"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # imported at first use: the functions need torch alone, and the command line answers before Lightning is there
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}")
    from thermo_callbacks import callbacks

    return getattr(callbacks, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
