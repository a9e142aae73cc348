"""A window of optimizer steps: its running sums, and the estimates that are made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from thermo_callbacks.functional.window.einstein import (
    einstein_excess,
    einstein_excess_sums,
    einstein_temperature,
    einstein_temperature_contributions,
    einstein_temperature_sums,
)
from thermo_callbacks.functional.window.entropy_production import (
    entropy_destruction,
    entropy_production,
    entropy_production_sums,
    free_diffusion_production,
    free_diffusion_sums,
)
from thermo_callbacks.functional.window.noise import (
    gradient_moments,
    gradient_noise_scale,
    gradient_power_sums,
    resolved_noise_scale_sums,
    signal_share,
)
from thermo_callbacks.functional.window.parameter_entropy import parameter_entropy, parameter_entropy_sums
from thermo_callbacks.functional.window.statistics import WindowStatistics
from thermo_callbacks.functional.window.temperature import (
    equilibrium_ratio,
    equilibrium_ratio_sums,
    kinetic_sampling_variance,
    kinetic_temperature,
    kinetic_temperature_contributions,
    kinetic_temperature_sums,
    virial_temperature,
    virial_temperature_contributions,
    virial_temperature_sums,
)

__all__ = [
    "einstein_excess",
    "einstein_temperature",
    "einstein_temperature_contributions",
    "entropy_destruction",
    "entropy_production",
    "equilibrium_ratio",
    "free_diffusion_production",
    "gradient_moments",
    "gradient_noise_scale",
    "kinetic_sampling_variance",
    "kinetic_temperature",
    "kinetic_temperature_contributions",
    "parameter_entropy",
    "signal_share",
    "virial_temperature",
    "virial_temperature_contributions",
]

SUMS: Mapping[str, Callable[[WindowStatistics], Any]] = {
    "temperature": kinetic_temperature_sums,
    "virial_temperature": virial_temperature_sums,
    "einstein_temperature": einstein_temperature_sums,
    "einstein_excess": einstein_excess_sums,
    "equilibrium_ratio": equilibrium_ratio_sums,
    "noise_scale": resolved_noise_scale_sums,
    "signal_share": gradient_power_sums,
    "entropy": parameter_entropy_sums,
    "entropy_production": entropy_production_sums,
    "entropy_production_floor": free_diffusion_sums,
}
"""Sums whose ``estimate()`` is a quantity of a window, by the name that it is logged under."""
