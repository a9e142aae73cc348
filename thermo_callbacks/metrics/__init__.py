"""The physics as torchmetrics: states that add up over windows, ranks and resumed runs."""

from thermo_callbacks.metrics.bulk import BulkComplexity
from thermo_callbacks.metrics.configurational import RughTemperature
from thermo_callbacks.metrics.curvature import FreeEnergyLaplacian
from thermo_callbacks.metrics.drift import DriftShare
from thermo_callbacks.metrics.energy import LayerHeat
from thermo_callbacks.metrics.entropy import EntropyDestruction, ParameterEntropy
from thermo_callbacks.metrics.noise import GradientNoiseScale, SignalShare
from thermo_callbacks.metrics.temperature import (
    EinsteinTemperature,
    EquilibriumRatio,
    KineticTemperature,
    VirialTemperature,
)
from thermo_callbacks.metrics.transition import TransitionTemperature
from thermo_callbacks.metrics.work import LearningEfficiency, WorkEfficiency

__all__ = [
    "BulkComplexity",
    "DriftShare",
    "EinsteinTemperature",
    "EntropyDestruction",
    "EquilibriumRatio",
    "FreeEnergyLaplacian",
    "GradientNoiseScale",
    "KineticTemperature",
    "LayerHeat",
    "LearningEfficiency",
    "ParameterEntropy",
    "RughTemperature",
    "SignalShare",
    "TransitionTemperature",
    "VirialTemperature",
    "WorkEfficiency",
]
