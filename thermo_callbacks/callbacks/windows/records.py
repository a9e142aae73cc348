"""From the statistics of a window to the numbers under their tags."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from thermo_callbacks.callbacks.windows.energy_balance import EnergyBalance
from thermo_callbacks.catalog import Scalars
from thermo_callbacks.functional.free_energy import free_energy
from thermo_callbacks.functional.window.einstein import einstein_temperature_sums
from thermo_callbacks.functional.window.entropy_production import entropy_production_sums, free_diffusion_sums
from thermo_callbacks.functional.window.estimates import LayerEstimates
from thermo_callbacks.functional.window.noise import NoiseScaleSums, noise_scale_sums, power_sums
from thermo_callbacks.functional.window.parameter_entropy import parameter_entropy_sums
from thermo_callbacks.functional.window.statistics import WindowStatistics
from thermo_callbacks.functional.window.temperature import (
    equilibrium_ratio_sums,
    kinetic_temperature_sums,
    virial_temperature_sums,
)


@dataclass(frozen=True)
class WindowQuantity:
    """What one quantity of a window contributes to the log.

    Attributes:
        tag: Name of the global value after ``thermo/``, and of the family of the layers' after ``thermo_``.
        sums: Sums of a window's statistics that the estimates are made of.
        reason: Why a value may be missing, for the warning; empty where another quantity's warning says it.
        by_layer: Whether the values of the layers are logged.
        with_error: Whether the standard error of the global value is logged.
        with_interval: Whether its interval is, and the errors of the layers.
    """

    tag: str
    sums: Callable[[WindowStatistics], Any]
    reason: str = ""
    by_layer: bool = True
    with_error: bool = True
    with_interval: bool = False


def _resolved_noise_scale(window: WindowStatistics) -> NoiseScaleSums:
    # near equilibrium successive gradients are anticorrelated, which makes the signal share too low by up to 1/W
    return noise_scale_sums(window).resolved(2.0 / max(1, window.steps))


_FEW_STEPS = "too few steps had a finite gradient"
_NO_MOBILITY = "it needs the displacement per unit of gradient, which this optimizer does not tell"
_UNSEEN = f"{_NO_MOBILITY} (Nesterov's look-ahead, or a preconditioner that its state does not show)"
_NO_SIGNAL = (
    "the mean gradient does not stand out of its noise in the window, as it does not near equilibrium; or the loader "
    "does not tell its batch size"
)
TEMPERATURES = (
    WindowQuantity("temperature", kinetic_temperature_sums, _FEW_STEPS, with_interval=True),
    WindowQuantity("virial_temperature", virial_temperature_sums, _FEW_STEPS, by_layer=False),
    WindowQuantity("einstein_temperature", einstein_temperature_sums, _UNSEEN, by_layer=False),
)
EQUILIBRIUM = (WindowQuantity("equilibrium_ratio", equilibrium_ratio_sums, "nothing moved in the window"),)
NOISE = (
    WindowQuantity("noise_scale", _resolved_noise_scale, _NO_SIGNAL, with_error=False),
    WindowQuantity("signal_share", power_sums, "no parameter had a finite gradient", with_error=False),
)
ENTROPIES = (
    WindowQuantity("entropy", parameter_entropy_sums, "no weight of the layer moved in the window"),
    WindowQuantity("entropy_production", entropy_production_sums, f"{_NO_MOBILITY}, and weights that moved"),
    WindowQuantity("entropy_production_floor", free_diffusion_sums, by_layer=False, with_error=False),
)

WarnOnce = Callable[[str, str], None]


def window_record(
    quantities: Sequence[WindowQuantity],
    windows: Sequence[tuple[Sequence[str], WindowStatistics]],
    fresh: set[str],
    warn_once: WarnOnce,
) -> Scalars:
    """Values of windows under their tags.

    Args:
        quantities: What to compute.
        windows: Layer names and last window of each optimizer.
        fresh: Layers whose window is new; only theirs are recorded one by one.
        warn_once: Called with a topic and a sentence about what has no value.

    Returns:
        Tag to value.
    """
    names = [name for layers, _ in windows for name in layers]
    joined = WindowStatistics.join([window for _, window in windows])
    idle = {name for name, watched in zip(names, joined.watched.tolist(), strict=True) if not watched}
    for name in sorted(idle):
        warn_once(f"idle {name}", f"layer {name!r} received no gradient in a whole window: its values are NaN.")
    record: Scalars = {}
    for quantity in quantities:
        values = _values(quantity, quantity.sums(joined).estimate(), names, fresh)
        missing = [tag for tag, value in values.items() if math.isnan(value) and tag.partition("/")[2] not in idle]
        if missing and quantity.reason:
            warn_once(quantity.tag, f"no value (NaN) in a window for {', '.join(missing[:3])}: {quantity.reason}.")
        record |= values
    return record


def _values(quantity: WindowQuantity, estimates: LayerEstimates, names: Sequence[str], fresh: set[str]) -> Scalars:
    """One quantity's values: global, then by layer; with errors where the quantity asks for them."""
    tag, family = f"thermo/{quantity.tag}", f"thermo_{quantity.tag}"
    layers, whole = estimates.layers, estimates.whole
    values = {tag: float(whole.value)}
    columns = {family: layers.value} if quantity.by_layer else {}
    if quantity.with_error:
        values[f"{tag}_stderr"] = float(whole.stderr)
    if quantity.with_interval:
        lower, upper = whole.interval(0.95)
        values |= {f"{tag}_lower": float(lower), f"{tag}_upper": float(upper)}
        columns[f"{family}_stderr"] = layers.stderr
    for family, column in columns.items():
        by_layer = zip(names, column.tolist(), strict=True)
        values |= {f"{family}/{name}": value for name, value in by_layer if name in fresh}
    return values


def energy_record(balances: Sequence[EnergyBalance], fresh: set[str]) -> dict[str, float]:
    """Heat of the run and of the layers that are fresh, and the first law where one known loss is lowered by all."""
    heat: dict[str, float] = {}
    for balance in balances:
        for name, value in balance.heat.items():  # a layer's parameters may lie on two devices
            heat[name] = heat.get(name, 0.0) + value
    record = {"thermo/heat": math.fsum(heat.values())}
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
