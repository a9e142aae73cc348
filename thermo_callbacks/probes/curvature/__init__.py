"""Curvature of a live model's loss, at the parameters of a step."""

from thermo_callbacks.probes.curvature.layer_rows import CurvatureSample
from thermo_callbacks.probes.curvature.probe import CurvatureProbe, Method
from thermo_callbacks.probes.curvature.sample_probe import SampleCurvatureProbe
from thermo_callbacks.probes.curvature.vectors import probe_generator

__all__ = ["CurvatureProbe", "CurvatureSample", "Method", "SampleCurvatureProbe", "probe_generator"]
