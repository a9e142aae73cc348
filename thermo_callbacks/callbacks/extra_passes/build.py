"""Collectors of a fit, as a plan asks for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from thermo_callbacks.callbacks.extra_passes.activations import ActivationCollector
from thermo_callbacks.callbacks.extra_passes.bulk import BulkCollector
from thermo_callbacks.callbacks.extra_passes.curvature import CurvatureCollector, Layers
from thermo_callbacks.callbacks.extra_passes.measured_step import MeasuredStep
from thermo_callbacks.callbacks.extra_passes.schedule import Collector, ExtraPassSettings
from thermo_callbacks.callbacks.extra_passes.sharpness import SharpnessCollector
from thermo_callbacks.callbacks.extra_passes.step_balance import ShiftSink, StepBalanceCollector
from thermo_callbacks.callbacks.presets import Plan
from thermo_callbacks.probes.parameters.optimizers import MobilityOf
from thermo_callbacks.probes.parameters.projections import WatchedDirections


def build_collectors(
    plan: Plan,
    settings: ExtraPassSettings,
    trainer: Any,
    pl_module: Any,
    *,
    layers: Callable[[], Layers],
    mobility: MobilityOf,
    sharded: bool,
    measured: MeasuredStep,
    add_shift: ShiftSink,
    offer: Callable[[Sequence[nn.Parameter], WatchedDirections], None],
) -> list[Collector]:
    """Collectors of a fit, in the order in which they measure; ``layers`` gives the layers that are trained now."""
    collectors: list[Collector] = []
    measured.replays = settings.replays
    if plan.activations:
        collectors.append(ActivationCollector(trainer, pl_module, settings))
    if plan.curvature:
        sources: dict[str, Any] = {"layers": layers, "mobility": mobility, "measured": measured}
        collectors.append(CurvatureCollector(trainer, pl_module, settings, wanted=plan.curvature, **sources))
    if plan.step_balance:
        balance = StepBalanceCollector(
            trainer, pl_module, settings, layers=layers, measured=measured, add_shift=add_shift
        )
        collectors.append(balance)
    if plan.sharpness:
        sharpness = SharpnessCollector(
            trainer, pl_module, settings, layers=layers, measured=measured, mobility=mobility, offer=offer
        )
        if sharded:
            sharpness.guard.disable("it needs whole parameters in one process, and these are sharded")
        collectors.append(sharpness)
    if plan.bulk:
        bulk = BulkCollector(trainer, pl_module, settings, measured)
        if sharded:
            bulk.guard.disable("it needs whole parameters in one process, and these are sharded")
        collectors.append(bulk)
    return collectors
