"""The bulk of a live network: states and stiffness of its neurons."""

from thermo_callbacks.probes.bulk.eval_mode import ParameterValues
from thermo_callbacks.probes.bulk.probe import BulkProbe
from thermo_callbacks.probes.bulk.result import BulkReading, BulkThermodynamics

__all__ = ["BulkProbe", "BulkReading", "BulkThermodynamics", "ParameterValues"]
