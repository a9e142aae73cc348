"""Healthy runs, and runs with a planted fault, each with a healthy twin that differs in nothing else.

Rules that say what is wrong with a run are tuned on the runs that are not ``held``, and judged on those that are.
"""

from faults.case import Case, Run
from faults.healthy import HEALTHY
from faults.planted import PLANTED
from faults.record import Record, fit, measure
from thermo_callbacks.findings import CAUSES

CASES = HEALTHY | PLANTED

__all__ = ["CASES", "CAUSES", "HEALTHY", "PLANTED", "Case", "Record", "Run", "fit", "measure"]
