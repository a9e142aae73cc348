"""The physics as torchmetrics: states that add up over windows, ranks and resumed runs."""

from thermo_callbacks.metrics.energy import LayerHeat
from thermo_callbacks.metrics.noise import GradientNoiseScale, SignalShare
from thermo_callbacks.metrics.temperature import (
    EinsteinTemperature,
    EquilibriumRatio,
    KineticTemperature,
    VirialTemperature,
)

__all__ = [
    "EinsteinTemperature",
    "EquilibriumRatio",
    "GradientNoiseScale",
    "KineticTemperature",
    "LayerHeat",
    "SignalShare",
    "VirialTemperature",
]
