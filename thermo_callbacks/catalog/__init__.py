"""All quantities that a run may log, in the order of the legend."""

from thermo_callbacks.catalog import bulk, curvature, engines, entropy, motion, topology
from thermo_callbacks.catalog.quantity import Quantity
from thermo_callbacks.catalog.scalars import Scalars

QUANTITIES = (
    *motion.QUANTITIES,
    *entropy.QUANTITIES,
    *curvature.QUANTITIES,
    *engines.QUANTITIES,
    *bulk.QUANTITIES,
    *topology.QUANTITIES,
)

__all__ = ["QUANTITIES", "Quantity", "Scalars", "bulk", "engines"]
