"""What people look at: the TensorBoard page of a run, its figures, tables and sentences."""

from thermo_callbacks.display.figures.engines import Engine, engine_chart, engines_of
from thermo_callbacks.display.figures.heat_maps import laplacian_heat_map, temperature_heat_map
from thermo_callbacks.display.figures.layer_history import LayerHistory, TemperatureHistory
from thermo_callbacks.display.figures.path_history import PathHistory
from thermo_callbacks.display.figures.temperature_entropy import temperature_entropy_diagram
from thermo_callbacks.display.tensorboard.layout import custom_scalar_layout
from thermo_callbacks.display.tensorboard.legend import legend
from thermo_callbacks.display.tensorboard.page import (
    write_engine_chart,
    write_equilibrium_reference,
    write_heat_map,
    write_laplacian_heat_map,
    write_page,
    write_spectrum,
    write_temperature_entropy_diagram,
)
from thermo_callbacks.display.tensorboard.writers import PrefixedWriter, SummaryWriterLike, tensorboard_writers

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
