"""What people look at: the TensorBoard page of a run."""

from thermo_callbacks.reports.figures import temperature_heat_map
from thermo_callbacks.reports.history import TemperatureHistory
from thermo_callbacks.reports.legend import legend
from thermo_callbacks.reports.tensorboard import (
    custom_scalar_layout,
    write_equilibrium_reference,
    write_heat_map,
    write_page,
)
from thermo_callbacks.reports.writers import PrefixedWriter, SummaryWriterLike, tensorboard_writers

__all__ = [
    "PrefixedWriter",
    "SummaryWriterLike",
    "TemperatureHistory",
    "custom_scalar_layout",
    "legend",
    "temperature_heat_map",
    "tensorboard_writers",
    "write_equilibrium_reference",
    "write_heat_map",
    "write_page",
]
