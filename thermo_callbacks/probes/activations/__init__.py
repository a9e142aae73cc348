"""Activations of a live model: which are called, and what power they pass on."""

from thermo_callbacks.probes.activations.compiled import compiles_functions, is_compiled
from thermo_callbacks.probes.activations.probe import ActivationProbe
from thermo_callbacks.probes.activations.records import ActivationRecord

__all__ = ["ActivationProbe", "ActivationRecord", "compiles_functions", "is_compiled"]
