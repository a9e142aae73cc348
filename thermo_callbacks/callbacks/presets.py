"""What each monitor measures, as the catalogue says it."""

from __future__ import annotations

from dataclasses import dataclass

from thermo_callbacks.callbacks.tag_budget import TagBudget, tag_budget
from thermo_callbacks.catalog import Scalars, families_logged_by, logged_by
from thermo_callbacks.functional.window import SUMS


@dataclass(frozen=True)
class Plan:
    """What one monitor measures: tags of the whole run and families, where there are values, and what that takes."""

    tags: frozenset[str]
    families: frozenset[str]  # with a tag for each layer or activation
    budget: TagBudget
    windows: bool  # steps are read: some quantity is that of a window
    heat: bool  # with the energy balance and the skipped steps
    free_energy: bool
    transition: bool
    curvature: frozenset[str]  # by Hessian-vector products: "laplacian", "destruction", "rugh"
    sharpness: bool  # with the entropy balance in the directions that are found
    activations: bool
    step_balance: bool
    noise: bool
    bulk: bool
    clipping: bool
    untrained: bool
    topology: bool
    findings: bool  # with what is read off batches, loss, modules and optimizers

    @property
    def extra_passes(self) -> bool:
        """Whether anything is measured besides the windows."""
        return bool(self.curvature) or self.sharpness or self.activations or self.step_balance or self.bulk

    def keep(self, record: Scalars) -> Scalars:
        """Values of the whole run, and those of the families that are logged."""
        return {
            tag: value
            for tag, value in record.items()
            if (family := tag.partition("/")[0]) == "thermo" or family in self.families
        }


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
        families=frozenset(families_logged_by(name)),
        budget=tag_budget(name),
        windows=any(f"thermo/{name}" in tags for name in SUMS),
        heat="thermo/heat" in tags,
        free_energy="thermo/free_energy" in tags,
        transition="thermo/transition_temperature" in tags,
        curvature=frozenset(kind for kind, tag in _OF_CURVATURE.items() if tag in tags),
        sharpness="thermo/sharpness" in tags,
        activations="thermo/work_efficiency" in tags,
        step_balance="thermo/step_efficiency" in tags,
        noise="thermo/noise_scale" in tags,
        bulk="thermo/complexity" in tags,
        clipping="thermo/clip_factor" in tags,
        untrained="thermo/untrained_share" in tags,
        topology="thermo/topology_connections" in tags,
        findings="thermo/critical_findings" in tags,
    )


PRESETS = {name: plan_of(name) for name in ("light", "standard", "full")}
