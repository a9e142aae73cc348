"""The quantities that healthy runs and faults are compared by, and how far apart they are."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

Values = Mapping[str, float]
LEAST_SPREAD = 0.01
"""Spread below which a score, or a logarithm, is not told from chance: three seeds may agree by accident."""
_LEAST = 1e-12
"""What a logarithm is taken of in place of zero."""


class Column(NamedTuple):
    """A quantity of a run: a tag, or a family of tags and what is made of its layers."""

    title: str
    tag: str
    of_layers: Callable[[list[float]], float] | None = None
    logarithm: bool = False
    unit: bool = False  # so that it differs from one healthy run to the other

    def value(self, values: Values) -> float:
        """The quantity from the values of a run; NaN where there are none."""
        if self.of_layers is None:
            return values.get(self.tag, math.nan)
        found = [v for tag, v in values.items() if tag.startswith(f"{self.tag}/") and math.isfinite(v)]
        return self.of_layers(found) if found else math.nan

    def scaled(self, value: float) -> float:
        """On the scale that differences are taken on."""
        if not self.logarithm:
            return value
        return math.log(max(value, _LEAST)) if value >= 0 else math.nan


def _range(values: list[float]) -> float:
    """Largest over smallest; NaN where one is not positive."""
    return max(values) / min(values) if min(values) > 0 else math.nan


COLUMNS = (
    Column("T", "thermo/temperature", logarithm=True, unit=True),
    Column("noise", "thermo/noise_scale", logarithm=True, unit=True),
    Column("signal", "thermo/signal_share"),
    Column("step", "thermo/step_efficiency"),
    Column("next", "thermo/step_transfer"),
    Column("drift", "thermo/drift_share"),
    Column("Lapl.", "thermo/laplacian", logarithm=True, unit=True),
    Column("heat max", "thermo_heat_share", max),
    Column("heat min", "thermo_heat_share", min),
    Column("dead max", "thermo_dead_fraction", max),
    Column("sat. max", "thermo_saturated_fraction", max),
    Column("work eff.", "thermo/work_efficiency"),
    Column("learn. min", "thermo_learning_signal", min, logarithm=True),
    Column("learn. max", "thermo_learning_signal", max, logarithm=True),
    Column("clip", "thermo/clip_factor"),
    Column("untrained", "thermo/untrained_share"),
    Column("update", "thermo/update_ratio", logarithm=True),
    Column("update range", "thermo_update_ratio", _range, logarithm=True),
    Column("gradient", "thermo/gradient_norm", logarithm=True, unit=True),
    Column("growth", "thermo/weight_growth"),
    Column("decay", "thermo/decay_share"),
    Column("U", "thermo/internal_energy", logarithm=True, unit=True),
    Column("skipped", "thermo/skipped_steps", unit=True),
)


def mean(values: Sequence[float]) -> float:
    return statistics.fmean(values)


def spread(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else 0.0


def known(column: Column, runs: Iterable[Values]) -> list[float]:
    """What a quantity is in runs, where it is anything, on the scale of differences."""
    return [value for run in runs if math.isfinite(value := column.scaled(column.value(run)))]


def effect(column: Column, fault: Iterable[Values], twin: Iterable[Values]) -> float | str:
    """How far a quantity of a fault is from its twin's, in spreads of the seeds; "gone", "new" where one has none."""
    ours, theirs = known(column, fault), known(column, twin)
    if not ours or not theirs:
        return "gone" if theirs else "new" if ours else ""
    chance = math.sqrt((spread(ours) ** 2 + spread(theirs) ** 2) / 2)
    return (mean(ours) - mean(theirs)) / max(LEAST_SPREAD, chance)


def unlike(column: Column, fault: Sequence[Values], healthy: Iterable[Values]) -> bool:
    """Whether a quantity is above, or below, that of every healthy run, with each seed of a fault."""
    ours, theirs = known(column, fault), known(column, healthy)
    if column.unit or len(ours) < len(fault) or not theirs:
        return False
    return min(ours) > max(theirs) or max(ours) < min(theirs)
