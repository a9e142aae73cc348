"""The physics: pure functions of tensors, no state, no model, no framework but torch."""

from thermo_callbacks.functional import linear, topology, window
from thermo_callbacks.functional.activations.activity import dead_fraction, dead_unit_fraction, saturated_fraction
from thermo_callbacks.functional.activations.efficiency import (
    GaussianEfficiency,
    engine_type,
    gaussian_efficiency,
    implied_init_gain,
    learning_efficiency,
    work_efficiency,
)
from thermo_callbacks.functional.activations.signal import learning_signal
from thermo_callbacks.functional.activations.temperatures import carnot_bound, temperature_drop
from thermo_callbacks.functional.bulk.complexity import bulk_complexity
from thermo_callbacks.functional.bulk.spectrum import Spectrum, bulk_spectrum, stochastic_log_determinant
from thermo_callbacks.functional.bulk.thermodynamics import (
    bulk_entropy,
    bulk_first_law_residual,
    bulk_free_energy,
    bulk_log_partition,
    bulk_loss,
    equipartition_temperature,
    mean_bulk_loss,
)
from thermo_callbacks.functional.critical_batch import CriticalBatch, fit_critical_batch, run_noise_scale
from thermo_callbacks.functional.curvature import (
    Eigenpairs,
    TraceEstimate,
    accumulated_product,
    finite_difference_product,
    hessian_trace,
    hessian_vector_product,
    leading_eigenpairs,
    rademacher,
    rugh_temperature,
)
from thermo_callbacks.functional.energy import first_law_residual, heat
from thermo_callbacks.functional.entropy import predictive_entropy, vasicek_entropy
from thermo_callbacks.functional.entropy_destruction import entropy_destruction
from thermo_callbacks.functional.free_energy import free_energy, free_energy_estimate
from thermo_callbacks.functional.gradient_noise import (
    NoiseScale,
    noise_scale_interval,
    pair_signal_share,
    shuffling_bias,
)
from thermo_callbacks.functional.momentum import MomentumResponse, momentum_response
from thermo_callbacks.functional.second_law import SecondLaw, second_law
from thermo_callbacks.functional.stability import stability_threshold
from thermo_callbacks.functional.stationarity import Stationarity, stationarity_test
from thermo_callbacks.functional.statistics import (
    Estimate,
    coordinate_sampling_variance,
    helmert_contrasts,
    mean_estimate,
)
from thermo_callbacks.functional.step_balance import step_efficiency
from thermo_callbacks.functional.transition import transition_temperature
from thermo_callbacks.functional.window import *  # noqa: F403  it says itself what is public

__all__ = [
    "CriticalBatch",
    "Eigenpairs",
    "Estimate",
    "GaussianEfficiency",
    "MomentumResponse",
    "NoiseScale",
    "SecondLaw",
    "Spectrum",
    "Stationarity",
    "TraceEstimate",
    "accumulated_product",
    "bulk_complexity",
    "bulk_entropy",
    "bulk_first_law_residual",
    "bulk_free_energy",
    "bulk_log_partition",
    "bulk_loss",
    "bulk_spectrum",
    "carnot_bound",
    "coordinate_sampling_variance",
    "dead_fraction",
    "dead_unit_fraction",
    "engine_type",
    "entropy_destruction",
    "equipartition_temperature",
    "finite_difference_product",
    "first_law_residual",
    "fit_critical_batch",
    "free_energy",
    "free_energy_estimate",
    "gaussian_efficiency",
    "heat",
    "helmert_contrasts",
    "hessian_trace",
    "hessian_vector_product",
    "implied_init_gain",
    "leading_eigenpairs",
    "learning_efficiency",
    "learning_signal",
    "linear",
    "mean_bulk_loss",
    "mean_estimate",
    "momentum_response",
    "noise_scale_interval",
    "pair_signal_share",
    "predictive_entropy",
    "rademacher",
    "rugh_temperature",
    "run_noise_scale",
    "saturated_fraction",
    "second_law",
    "shuffling_bias",
    "stability_threshold",
    "stationarity_test",
    "step_efficiency",
    "stochastic_log_determinant",
    "temperature_drop",
    "topology",
    "transition_temperature",
    "vasicek_entropy",
    "work_efficiency",
]
__all__ += window.__all__
