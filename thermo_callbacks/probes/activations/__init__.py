"""Activations of a live model: which are called, and what power they pass on."""

from thermo_callbacks.probes.activations.probe import ActivationProbe, is_compiled
from thermo_callbacks.probes.activations.records import ActivationRecord

__all__ = ["ActivationProbe", "ActivationRecord", "is_compiled"]
