"""The bulk of a network: its neurons as a canonical ensemble."""

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

__all__ = [
    "Spectrum",
    "bulk_complexity",
    "bulk_entropy",
    "bulk_first_law_residual",
    "bulk_free_energy",
    "bulk_log_partition",
    "bulk_loss",
    "bulk_spectrum",
    "equipartition_temperature",
    "mean_bulk_loss",
    "stochastic_log_determinant",
]
