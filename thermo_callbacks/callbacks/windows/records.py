"""From the statistics of a window to the numbers under their tags."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

import torch

from thermo_callbacks.callbacks.windows.energy_balance import EnergyBalance
from thermo_callbacks.catalog import TAGS, Scalars, quantity_of
from thermo_callbacks.functional.free_energy import free_energy
from thermo_callbacks.functional.window import SUMS
from thermo_callbacks.functional.window.estimates import LayerEstimates
from thermo_callbacks.functional.window.statistics import WindowStatistics

WarnOnce = Callable[[str, str], None]


def window_record(
    tags: Collection[str],
    windows: Sequence[tuple[Sequence[str], WindowStatistics]],
    fresh: set[str],
    warn_once: WarnOnce,
) -> Scalars:
    """Values of windows with the tags that are wanted; of the layers, those whose window is fresh."""
    names = [name for layers, _ in windows for name in layers]
    joined = WindowStatistics.join([window for _, window in windows])
    idle = {name for name, watched in zip(names, joined.watched.tolist(), strict=True) if not watched}
    for name in sorted(idle):
        warn_once(f"idle {name}", f"layer {name!r} received no gradient in a whole window: its values are NaN.")
    record: Scalars = {}
    for name, sums in SUMS.items():
        if (tag := f"thermo/{name}") not in tags:
            continue
        values = _values(name, sums(joined).estimate(), names, fresh)
        missing = [each for each, value in values.items() if math.isnan(value) and each.partition("/")[2] not in idle]
        if missing:
            row = quantity_of(tag)
            text = f"no value (NaN) in a window for {', '.join(missing[:3])}: {row.missing}."
            warn_once(row.name, text)
        record |= values
    return record


def _values(name: str, estimates: LayerEstimates, layers: Sequence[str], fresh: set[str]) -> Scalars:
    """One quantity's values: of the run, then of the layers; with errors where there are tags for them."""
    whole = estimates.whole
    parts = {"": whole.value, "_stderr": whole.stderr}
    if f"thermo/{name}_lower" in TAGS:
        parts |= dict(zip(("_lower", "_upper"), whole.interval(0.95), strict=True))
    values = {f"thermo/{name}{end}": float(part) for end, part in parts.items() if f"thermo/{name}{end}" in TAGS}
    for end, column in (("", estimates.layers.value), ("_stderr", estimates.layers.stderr)):
        if (family := f"thermo_{name}{end}") in TAGS:
            by_layer = zip(layers, column.tolist(), strict=True)
            values |= {f"{family}/{layer}": value for layer, value in by_layer if layer in fresh}
    return values


def energy_record(balances: Sequence[EnergyBalance], fresh: set[str]) -> dict[str, float]:
    """Heat of the run and of the layers that are fresh, and the first law where one known loss is lowered by all."""
    heat: dict[str, float] = {}
    for balance in balances:
        for name, value in balance.heat.items():  # a layer's parameters may lie on two devices
            heat[name] = heat.get(name, 0.0) + value
    record = {"thermo/heat": math.fsum(heat.values())}
    # windows of several optimizers share the noise of a step
    record["thermo/heat_stderr"] = math.fsum(math.sqrt(balance.variance) for balance in balances)
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
