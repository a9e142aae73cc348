"""From the statistics of a window to the numbers under their tags."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import torch

from thermo_callbacks.callbacks.windows.energy_balance import EnergyBalance
from thermo_callbacks.callbacks.windows.missing import MissingValues, OpenedWindow
from thermo_callbacks.catalog import TAGS, Scalars, quantity_of
from thermo_callbacks.functional.free_energy import free_energy
from thermo_callbacks.functional.window import SUMS
from thermo_callbacks.functional.window.estimates import LayerEstimates
from thermo_callbacks.probes.guard import Guard
from thermo_callbacks.probes.parameters.clipping import Clipping


def window_record(
    tags: Collection[str], windows: Sequence[OpenedWindow], fresh: Collection[str], guard: Guard
) -> Scalars:
    """Values of windows with the tags and families that are wanted; of the layers, those whose window is fresh."""
    missing = MissingValues(windows)
    record: Scalars = {}
    for name, sums in SUMS.items():
        if f"thermo/{name}" not in tags or (found := sums(missing.joined)) is None:
            continue
        values = _values(name, found.estimate(), missing.names, fresh, tags)
        missing.look_at(values)
        record |= values
    missing.tell(guard)
    return record


def _values(
    name: str, estimates: LayerEstimates, layers: Sequence[str], fresh: Collection[str], tags: Collection[str]
) -> Scalars:
    """One quantity's values: of the run, then of the layers; with errors where there are tags for them."""
    whole = estimates.whole
    parts = {"": whole.value, "_stderr": whole.stderr}
    if f"thermo/{name}_lower" in TAGS:
        parts |= dict(zip(("_lower", "_upper"), whole.interval(0.95), strict=True))
    values = {f"thermo/{name}{end}": float(part) for end, part in parts.items() if f"thermo/{name}{end}" in TAGS}
    for end, column in (("", estimates.layers.value), ("_stderr", estimates.layers.stderr)):
        if (family := f"thermo_{name}{end}") in tags:
            by_layer = zip(layers, column.tolist(), strict=True)
            values |= {f"{family}/{layer}": value for layer, value in by_layer if layer in fresh}
    return values


def clipping_record(windows: Sequence[Clipping], guard: Guard) -> Scalars:
    """What clipping leaves of the gradient and the share of steps it touches; empty where there is none."""
    if not any(window.shown for window in windows):
        return {}
    steps = 0 if any(window.overwritten for window in windows) else sum(window.steps for window in windows)
    if not steps:
        row = quantity_of("thermo/clip_factor")
        guard.warn_once(f"no value (NaN) in a window for {' and '.join(row.tags)}: {row.missing}.", topic=row.name)
        return dict.fromkeys(row.tags, math.nan)
    return {
        "thermo/clip_factor": math.fsum(window.factors for window in windows) / steps,
        "thermo/clipped_share": sum(window.clipped for window in windows) / steps,
    }


def energy_record(balances: Sequence[EnergyBalance], fresh: set[str]) -> dict[str, float]:
    """Heat of the run and of the layers that are fresh, and the first law where one known loss is lowered by all."""
    heat: dict[str, float] = {}
    for balance in balances:
        for name, value in balance.heat.items():  # a layer's parameters may lie on two devices
            heat[name] = heat.get(name, 0.0) + value
    record = {"thermo/heat": math.fsum(heat.values())}
    # windows of several optimizers share the noise of a step
    record["thermo/heat_stderr"] = math.fsum(balance.stderr for balance in balances)
    record |= {f"thermo_heat/{name}": value for name, value in heat.items() if name in fresh}
    if len(balances) == 1 and not math.isnan(balances[0].energy):
        record |= {"thermo/internal_energy": balances[0].energy, "thermo/first_law_residual": balances[0].residual}
    return record


def free_energy_record(record: Scalars, balances: Sequence[EnergyBalance]) -> Scalars:
    """Free energy of a window with these values, where there is one loss that all optimizers lower; else empty."""
    if len(balances) != 1 or math.isnan(balances[0].energy):
        return {}
    energy, temperature, entropy = (
        torch.tensor(value, dtype=torch.float64)
        for value in (balances[0].energy, record["thermo/temperature"], record["thermo/entropy"])
    )
    return {
        "thermo/internal_energy": balances[0].energy,
        "thermo/bound_energy": float(temperature * entropy),
        "thermo/free_energy": float(free_energy(energy, temperature, entropy)),
    }
