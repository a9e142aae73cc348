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
from thermo_callbacks.functional.window.statistics import WindowStatistics
from thermo_callbacks.metrics import (
    EinsteinTemperature,
    EntropyProduction,
    EquilibriumRatio,
    GradientNoiseScale,
    KineticTemperature,
    ParameterEntropy,
    SignalShare,
    VirialTemperature,
)
from thermo_callbacks.metrics.base import EstimatedMetric, LayerMetric


@dataclass(frozen=True)
class WindowQuantity:
    """What one metric contributes to the log.

    Attributes:
        metric: The metric's class.
        tag: Name of the global value after ``thermo/``.
        family: Group of the values of single layers; empty for none.
        reason: Why a value may be missing, for the warning.
        with_interval: Whether the interval of the global value is logged, and the errors of the layers.
    """

    metric: type[LayerMetric]
    tag: str
    family: str
    reason: str
    with_interval: bool = False

    def options(self, window: int) -> dict[str, Any]:
        """Arguments of the metric that depend on the steps in a window."""
        return {"minimum_share": 2.0 / window} if self.metric is GradientNoiseScale else {}


TEMPERATURES = (
    WindowQuantity(
        KineticTemperature,
        "temperature",
        "thermo_temperature",
        "too few steps had a finite gradient",
        with_interval=True,
    ),
    WindowQuantity(VirialTemperature, "virial_temperature", "", "too few steps had a finite gradient"),
    WindowQuantity(
        EinsteinTemperature,
        "einstein_temperature",
        "",
        "it needs the displacement per unit of gradient, which this optimizer does not tell (Nesterov's look-ahead, or "
        "a preconditioner that its state does not show)",
    ),
)
EQUILIBRIUM = (
    WindowQuantity(EquilibriumRatio, "equilibrium_ratio", "thermo_equilibrium_ratio", "nothing moved in the window"),
)
NOISE = (
    WindowQuantity(
        GradientNoiseScale,
        "noise_scale",
        "thermo_noise_scale",
        "the mean gradient does not stand out of its noise in the window, as it does not near equilibrium; or the "
        "loader does not tell its batch size",
    ),
    WindowQuantity(SignalShare, "signal_share", "thermo_signal_share", "no parameter had a finite gradient"),
)

ENTROPIES = (
    WindowQuantity(
        ParameterEntropy,
        "entropy",
        "thermo_entropy",
        "no weight of the layer moved in the window",
    ),
    WindowQuantity(
        EntropyProduction,
        "entropy_production",
        "thermo_entropy_production",
        "it needs the displacement per unit of gradient, which this optimizer does not tell, and weights that moved",
    ),
)

FLOOR = "thermo/entropy_production_floor"

WarnOnce = Callable[[str, str], None]
Record = dict[str, float]


class Recorder:
    """Computes quantities from windows, with one metric each that is kept from window to window.

    Args:
        quantities: What to compute.
    """

    def __init__(self, quantities: Sequence[WindowQuantity]) -> None:
        self._quantities = tuple(quantities)
        self._shape: tuple[list[int], int] = ([], 0)  # sizes of the layers, steps of the window
        self._metrics: list[LayerMetric] = []

    def record(
        self, windows: Sequence[tuple[Sequence[str], WindowStatistics]], fresh: set[str], warn_once: WarnOnce
    ) -> dict[str, float]:
        """Values of the quantities under their tags.

        Args:
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
        record: dict[str, float] = {}
        for quantity, metric in zip(self._quantities, self._metrics_for(joined), strict=True):
            metric.reset()
            metric.update_window(joined)
            values = _values(quantity, metric, names, fresh)
            if isinstance(metric, EntropyProduction):
                values[FLOOR] = float(metric.compute_free_diffusion())
            missing = [tag for tag, value in values.items() if math.isnan(value) and tag.partition("/")[2] not in idle]
            if missing:
                warn_once(quantity.tag, f"no value (NaN) in a window for {', '.join(missing[:3])}: {quantity.reason}.")
            record |= values
        return record

    def _metrics_for(self, window: WindowStatistics) -> list[LayerMetric]:
        # a window may be shorter than the others: one that the end of the run cuts, one with steps left out
        sizes, steps = [max(1, int(size)) for size in window.sizes], max(1, window.steps)
        if (sizes, steps) != self._shape:
            # nothing to synchronise: gradients are averaged over ranks already, every rank holds the same numbers
            self._metrics = [
                quantity.metric(sizes=sizes, sync_on_compute=False, **quantity.options(steps))
                for quantity in self._quantities
            ]
            self._shape = (sizes, steps)
        return self._metrics


def _values(quantity: WindowQuantity, metric: LayerMetric, names: Sequence[str], fresh: set[str]) -> dict[str, float]:
    """One metric's values: global, then by layer; with errors where the quantity asks for them."""
    tag = f"thermo/{quantity.tag}"
    values = {tag: float(metric.compute())}
    columns = {quantity.family: metric.compute_layers()} if quantity.family else {}
    if isinstance(metric, EstimatedMetric):
        estimate = metric.estimate()
        values[f"{tag}_stderr"] = float(estimate.stderr)
        if quantity.with_interval:
            lower, upper = estimate.interval(0.95)
            values |= {f"{tag}_lower": float(lower), f"{tag}_upper": float(upper)}
            columns[f"{quantity.family}_stderr"] = metric.estimate_layers().stderr
    for family, column in columns.items():
        by_layer = zip(names, column.tolist(), strict=True)
        values |= {f"{family}/{name}": value for name, value in by_layer if name in fresh}
    return values


def energy_record(balances: Sequence[EnergyBalance], fresh: set[str]) -> dict[str, float]:
    """Heat of the layers and of the run, and the energy balance where there is one loss to balance.

    Args:
        balances: Ledger of each optimizer.
        fresh: Layers whose window is new.

    Returns:
        Tag to value. Without the energies where several optimizers lower losses of their own, or no loss is known.
    """
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
    """Free energy of the window, where there is one loss that all optimizers lower.

    Args:
        record: Temperature and entropy of the window under their tags.
        balances: Ledger of each optimizer.

    Returns:
        Tag to value.
    """
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
