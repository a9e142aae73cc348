"""Curvature of the loss: products with its Hessian, and the trace of it."""

from thermo_callbacks.functional.curvature.eigenpairs import Eigenpairs, leading_eigenpairs
from thermo_callbacks.functional.curvature.finite_differences import accumulated_product, finite_difference_product
from thermo_callbacks.functional.curvature.hutchinson import TraceEstimate, single_probe
from thermo_callbacks.functional.curvature.hvp import hessian_vector_product
from thermo_callbacks.functional.curvature.rademacher import rademacher
from thermo_callbacks.functional.curvature.trace import hessian_trace, rugh_temperature

__all__ = [
    "Eigenpairs",
    "TraceEstimate",
    "accumulated_product",
    "finite_difference_product",
    "hessian_trace",
    "hessian_vector_product",
    "leading_eigenpairs",
    "rademacher",
    "rugh_temperature",
    "single_probe",
]
