"""Curvature of a live model's loss, at the parameters of a step."""

from thermo_callbacks.probes.curvature.layer_rows import CurvatureSample
from thermo_callbacks.probes.curvature.probe import CurvatureProbe, Method, probe_generator

__all__ = ["CurvatureProbe", "CurvatureSample", "Method", "probe_generator"]
