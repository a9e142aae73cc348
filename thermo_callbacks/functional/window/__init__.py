"""A window of optimizer steps: its running sums, and the estimates that are made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from thermo_callbacks.functional.window.drift import (
    drift_p_value,
    drift_p_value_sums,
    drift_share,
    drift_sums,
)
from thermo_callbacks.functional.window.einstein import (
    einstein_excess,
    einstein_excess_sums,
    einstein_temperature,
    einstein_temperature_contributions,
    einstein_temperature_sums,
)
from thermo_callbacks.functional.window.linear_motion import Motion
from thermo_callbacks.functional.window.noise import (
    gradient_moments,
    gradient_noise_scale,
    signal_share,
)
from thermo_callbacks.functional.window.parameter_entropy import parameter_entropy, parameter_entropy_sums
from thermo_callbacks.functional.window.resolved import ResolvedBalance, resolved_balance
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
from thermo_callbacks.functional.window.vitals import (
    decay_share,
    decay_share_sums,
    gradient_norm,
    gradient_norm_sums,
    update_ratio,
    update_ratio_sums,
    weight_growth,
    weight_growth_sums,
    weight_norm,
    weight_norm_sums,
)

__all__ = [
    "Motion",
    "ResolvedBalance",
    "decay_share",
    "drift_p_value",
    "drift_share",
    "einstein_excess",
    "einstein_temperature",
    "einstein_temperature_contributions",
    "equilibrium_ratio",
    "gradient_moments",
    "gradient_noise_scale",
    "gradient_norm",
    "kinetic_sampling_variance",
    "kinetic_temperature",
    "kinetic_temperature_contributions",
    "parameter_entropy",
    "resolved_balance",
    "signal_share",
    "update_ratio",
    "virial_temperature",
    "virial_temperature_contributions",
    "weight_growth",
    "weight_norm",
]

SUMS: Mapping[str, Callable[[WindowStatistics], Any]] = {
    "temperature": kinetic_temperature_sums,
    "virial_temperature": virial_temperature_sums,
    "einstein_temperature": einstein_temperature_sums,
    "einstein_excess": einstein_excess_sums,
    "drift_share": drift_sums,
    "drift_p_value": drift_p_value_sums,
    "equilibrium_ratio": equilibrium_ratio_sums,
    "entropy": parameter_entropy_sums,
    "update_ratio": update_ratio_sums,
    "gradient_norm": gradient_norm_sums,
    "weight_norm": weight_norm_sums,
    "weight_growth": weight_growth_sums,
    "decay_share": decay_share_sums,
}
"""Sums whose ``estimate()`` is a quantity of a window, by the name that it is logged under; None: it does not apply."""
