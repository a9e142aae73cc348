"""The physics: pure functions of tensors, no state, no model, no framework but torch."""

from thermo_callbacks.functional._momentum import MomentumResponse, momentum_response
from thermo_callbacks.functional._statistics import (
    Estimate,
    coordinate_sampling_variance,
    helmert_contrasts,
    mean_estimate,
)
from thermo_callbacks.functional.energy import first_law_residual, heat
from thermo_callbacks.functional.noise import gradient_moments, gradient_noise_scale, signal_share
from thermo_callbacks.functional.temperature import (
    einstein_temperature,
    einstein_temperature_contributions,
    equilibrium_ratio,
    kinetic_sampling_variance,
    kinetic_temperature,
    kinetic_temperature_contributions,
    virial_temperature,
    virial_temperature_contributions,
)

__all__ = [
    "Estimate",
    "MomentumResponse",
    "coordinate_sampling_variance",
    "einstein_temperature",
    "einstein_temperature_contributions",
    "equilibrium_ratio",
    "first_law_residual",
    "gradient_moments",
    "gradient_noise_scale",
    "heat",
    "helmert_contrasts",
    "kinetic_sampling_variance",
    "kinetic_temperature",
    "kinetic_temperature_contributions",
    "mean_estimate",
    "momentum_response",
    "signal_share",
    "virial_temperature",
    "virial_temperature_contributions",
]
