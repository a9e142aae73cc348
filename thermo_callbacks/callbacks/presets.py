"""What each monitor measures, as the catalogue says it."""

from __future__ import annotations

from dataclasses import dataclass

from thermo_callbacks.catalog import logged_by
from thermo_callbacks.functional.window import SUMS


@dataclass(frozen=True)
class Plan:
    """Quantities of one monitor.

    Attributes:
        tags: Tags of the whole run that it logs, where the model has a value for them.
        windows: Whether steps are read: some quantity is that of a window.
        heat: Whether heat, energy balance and skipped steps are recorded.
        free_energy: Whether internal and free energy are.
        transition: Whether the transition temperature since the start of training is.
        curvature: What is measured with Hessian-vector products: ``"laplacian"``, ``"destruction"``, ``"rugh"``.
        activations: Whether the activations are looked at.
        bulk: Whether the neuron states are.
        topology: Whether the network's topology is logged when training starts.
    """

    tags: frozenset[str]
    windows: bool
    heat: bool
    free_energy: bool
    transition: bool
    curvature: frozenset[str]
    activations: bool
    bulk: bool
    topology: bool

    @property
    def extra_passes(self) -> bool:
        """Whether anything is measured besides the windows."""
        return bool(self.curvature) or self.activations or self.bulk


_OF_CURVATURE = {
    "laplacian": "thermo/laplacian",
    "destruction": "thermo/entropy_destruction",
    "rugh": "thermo/rugh_temperature",
}


def plan_of(name: str) -> Plan:
    """What the catalogue's rows say that a preset of ThermoMonitor, or a narrow monitor by its class, measures."""
    tags = logged_by(name)
    return Plan(
        tags=frozenset(tags),
        windows=any(f"thermo/{name}" in tags for name in SUMS),
        heat="thermo/heat" in tags,
        free_energy="thermo/free_energy" in tags,
        transition="thermo/transition_temperature" in tags,
        curvature=frozenset(kind for kind, tag in _OF_CURVATURE.items() if tag in tags),
        activations="thermo/work_efficiency" in tags,
        bulk="thermo/complexity" in tags,
        topology="thermo/topology_connections" in tags,
    )


PRESETS = {name: plan_of(name) for name in ("light", "standard", "full")}
