"""What is wrong with a run: from recorded values to causes, each with a rule, its evidence, and what to do."""

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.causes import CAUSES
from thermo_callbacks.findings.diagnose import GROWTH, READS, diagnose
from thermo_callbacks.findings.finding import SEVERITIES, Finding, Severity
from thermo_callbacks.findings.history import Course, History

__all__ = [
    "CAUSES",
    "GROWTH",
    "READS",
    "SEVERITIES",
    "Cause",
    "Course",
    "Finding",
    "History",
    "Severity",
    "Sign",
    "diagnose",
]
