"""The physics: pure functions of tensors, no state, no model, no framework but torch."""

from thermo_callbacks.functional import linear
from thermo_callbacks.functional._momentum import MomentumResponse, momentum_response
from thermo_callbacks.functional._statistics import (
    Estimate,
    coordinate_sampling_variance,
    helmert_contrasts,
    mean_estimate,
)
from thermo_callbacks.functional.activity import dead_fraction, saturated_fraction
from thermo_callbacks.functional.energy import first_law_residual, heat
from thermo_callbacks.functional.entropy import predictive_entropy, vasicek_entropy
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
from thermo_callbacks.functional.transition import transition_temperature
from thermo_callbacks.functional.work import (
    GaussianEfficiency,
    carnot_bound,
    engine_type,
    gaussian_efficiency,
    implied_init_gain,
    learning_efficiency,
    work_efficiency,
)

__all__ = [
    "Estimate",
    "GaussianEfficiency",
    "MomentumResponse",
    "carnot_bound",
    "coordinate_sampling_variance",
    "dead_fraction",
    "einstein_temperature",
    "einstein_temperature_contributions",
    "engine_type",
    "equilibrium_ratio",
    "first_law_residual",
    "gaussian_efficiency",
    "gradient_moments",
    "gradient_noise_scale",
    "heat",
    "helmert_contrasts",
    "implied_init_gain",
    "kinetic_sampling_variance",
    "kinetic_temperature",
    "kinetic_temperature_contributions",
    "learning_efficiency",
    "linear",
    "mean_estimate",
    "momentum_response",
    "predictive_entropy",
    "saturated_fraction",
    "signal_share",
    "transition_temperature",
    "vasicek_entropy",
    "virial_temperature",
    "virial_temperature_contributions",
    "work_efficiency",
]
