"""Collectors of a fit, as a plan asks for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from thermo_callbacks.callbacks.arguments import Loss
from thermo_callbacks.callbacks.extra_passes.activations import ActivationCollector
from thermo_callbacks.callbacks.extra_passes.bulk import BulkCollector
from thermo_callbacks.callbacks.extra_passes.curvature import CurvatureCollector, Layers
from thermo_callbacks.callbacks.extra_passes.schedule import Collector
from thermo_callbacks.callbacks.presets import Plan
from thermo_callbacks.probes.bulk import BulkProbe


@dataclass(frozen=True)
class ExtraPassSettings:
    """Settings of a monitor's extra passes.

    Attributes:
        name: What to call the monitor in a warning.
        seed: Seed of all that is random.
        loss_fn: Loss of a module and a batch, in place of the training step.
        within_layers: Whether each layer has probes of its own.
        activations: Activations that are measured besides those of ``torch.nn``.
        engines: Takes the type of engine of each activation.
        bulk_probe: Measures the bulk.
    """

    name: str
    seed: int
    loss_fn: Loss | None
    within_layers: bool
    activations: tuple[Any, ...]
    engines: dict[str, Any]
    bulk_probe: BulkProbe


def build_collectors(
    plan: Plan,
    settings: ExtraPassSettings,
    trainer: Any,
    pl_module: Any,
    *,
    layers: Callable[[], Layers],
    sharded: bool,
) -> list[Collector]:
    """Collectors of a fit.

    Args:
        plan: What is measured.
        settings: How.
        trainer: The Trainer.
        pl_module: The module in training.
        layers: Gives the layers that are trained now.
        sharded: Whether parameters are sharded over processes.

    Returns:
        The collectors, in the order in which they measure.
    """
    common: dict[str, Any] = {"name": settings.name, "loss_fn": settings.loss_fn}
    collectors: list[Collector] = []
    if plan.activations:
        collectors.append(
            ActivationCollector(
                trainer, pl_module, engines=settings.engines, activations=settings.activations, **common
            )
        )
    common["seed"] = settings.seed
    if plan.curvature:
        collectors.append(
            CurvatureCollector(
                trainer,
                pl_module,
                layers=layers,
                wanted=plan.curvature,
                within_layers=settings.within_layers,
                **common,
            )
        )
    if plan.bulk:
        bulk = BulkCollector(trainer, pl_module, probe=settings.bulk_probe, **common)
        if sharded:
            bulk.guard.disable("it needs whole parameters in one process, and these are sharded")
        collectors.append(bulk)
    return collectors
