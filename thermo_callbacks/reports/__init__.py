"""What people look at: the TensorBoard page of a run."""

from thermo_callbacks.reports.diagram import temperature_entropy_diagram
from thermo_callbacks.reports.engines import Engine, engine_chart, engines_of
from thermo_callbacks.reports.figures import laplacian_heat_map, temperature_heat_map
from thermo_callbacks.reports.history import LayerHistory, TemperatureHistory
from thermo_callbacks.reports.layout import custom_scalar_layout
from thermo_callbacks.reports.legend import legend
from thermo_callbacks.reports.path import PathHistory
from thermo_callbacks.reports.tensorboard import (
    write_engine_chart,
    write_equilibrium_reference,
    write_heat_map,
    write_laplacian_heat_map,
    write_page,
    write_spectrum,
    write_temperature_entropy_diagram,
)
from thermo_callbacks.reports.writers import PrefixedWriter, SummaryWriterLike, tensorboard_writers

__all__ = [
    "Engine",
    "LayerHistory",
    "PathHistory",
    "PrefixedWriter",
    "SummaryWriterLike",
    "TemperatureHistory",
    "custom_scalar_layout",
    "engine_chart",
    "engines_of",
    "laplacian_heat_map",
    "legend",
    "temperature_entropy_diagram",
    "temperature_heat_map",
    "tensorboard_writers",
    "write_engine_chart",
    "write_equilibrium_reference",
    "write_heat_map",
    "write_laplacian_heat_map",
    "write_page",
    "write_spectrum",
    "write_temperature_entropy_diagram",
]
