"""thermo-callbacks: `ThermoMonitor()` with its defaults, and `monitor.findings()` when the run has ended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from faults import CAUSES
from peers_record import Said, Tool

from thermo_callbacks import ThermoMonitor
from thermo_callbacks.findings import Finding


def as_said(findings: Iterable[Finding]) -> list[Said]:
    """Findings in the monitor's order; their causes are those of the suite."""
    return [Said(each.cause, each.severity, each.layers, each.since_step) for each in findings]


class Watch(ThermoMonitor):
    """The monitor itself."""

    def __init__(self, run: Any) -> None:
        super().__init__()

    def said(self) -> list[Said]:
        """What `findings()` has."""
        return as_said(self.findings())


def causes(words: str) -> set[str]:
    """The cause itself."""
    if words not in CAUSES:
        raise ValueError(f"{words!r} is not among the causes of the suite")
    return {words}


TOOL = Tool("thermo-callbacks", "thermo_callbacks", Watch, causes)
