"""What a comparison of activations measured: one record a run, and their means with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, zip_longest
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from thermo_callbacks.catalog import compared

LEVEL = 0.95
"""Level of all intervals."""


class Measure(NamedTuple):
    """A number that each run ends with.

    Attributes:
        key: Name in the files.
        tag: Tag that a monitor logs it under; empty for what the training itself gives.
    """

    key: str
    name: str
    unit: str = ""
    tag: str = ""


MEASURES = (
    Measure("val_loss_best", "best validation loss"),
    Measure("val_loss_final", "final validation loss"),
    Measure("accuracy", "accuracy"),
    Measure("seconds", "time", "s"),
    *(
        Measure(quantity.tag.removeprefix("thermo/"), quantity.short_label, quantity.short_unit, quantity.tag)
        for quantity in compared()
    ),
)

Status = Literal["finished", "diverged", "failed"]


class PathPoint(NamedTuple):
    """State of a run at a logging point.

    Attributes:
        entropy: Entropy of the trainable variables, in nats.
        temperature: Kinetic temperature, in units of the loss.
    """

    step: int
    entropy: float
    temperature: float


def run_name(activation: str, seed: int) -> str:
    """Name of a run, as of its folder."""
    return f"{activation}-{seed}"


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What one run came to.

    Attributes:
        seed: Seed of the initial weights and of the order of the data.
        engine: ``"passive"`` or ``"driven"``; empty where it can't be decided.
        message: Why it did not finish; empty if it did.
        values: Key of a :class:`Measure` to its value; what was not measured is left out or NaN.
        work_efficiency: Activation module and its work efficiency, in order of depth.
        learning_efficiency: Activation module and its learning efficiency, in order of depth.
        path: Course of entropy and temperature.
    """

    activation: str
    seed: int
    engine: str = ""
    status: Status = "finished"
    message: str = ""
    values: Mapping[str, float] = field(default_factory=dict)
    work_efficiency: Sequence[tuple[str, float]] = ()
    learning_efficiency: Sequence[tuple[str, float]] = ()
    path: Sequence[PathPoint] = ()

    @property
    def name(self) -> str:
        """Name of the run, as of its folder."""
        return run_name(self.activation, self.seed)


class SeedEstimate(NamedTuple):
    """A mean over runs.

    Attributes:
        mean: The mean; NaN if there are no values.
        half_width: Half the width of its 95 % interval; NaN for less than two values.
    """

    mean: float
    half_width: float
    n: int

    @property
    def lower(self) -> float:
        """Lower end of the interval."""
        return self.mean - self.half_width

    @property
    def upper(self) -> float:
        """Upper end of the interval."""
        return self.mean + self.half_width


def estimate(values: Sequence[float], comparisons: int = 1) -> SeedEstimate:
    r"""Mean with Student's interval.

    .. math:: \bar x \pm t_{1-\alpha/2m,\,n-1}\, \frac{s}{\sqrt n}, \qquad \alpha = 0.05

    for n independent values of one normal distribution, of which s is the sample standard deviation.

    Args:
        values: The values; those that are not finite are left out.
        comparisons: Number m of intervals that are to hold together at 95 % (Bonferroni's correction).

    Returns:
        The estimate.

    Example:
        >>> tuple(round(number, 4) for number in estimate([1.0, 2.0, 3.0]))
        (2.0, 2.4841, 3)
    """
    finite = np.array([value for value in values if math.isfinite(value)], dtype=np.float64)
    if finite.size < 2:
        return SeedEstimate(float(finite[0]) if finite.size else math.nan, math.nan, finite.size)
    quantile = stats.t.ppf(1.0 - (1.0 - LEVEL) / (2 * comparisons), finite.size - 1)
    return SeedEstimate(
        float(finite.mean()), float(quantile * finite.std(ddof=1) / math.sqrt(finite.size)), finite.size
    )


@dataclass(frozen=True, kw_only=True)
class ActivationSummary:
    """What the runs of one activation came to.

    Attributes:
        engine: Type of engine, empty where it can't be decided.
        runs: All its runs, in order of the seeds.
        values: Key of each :class:`Measure` to its mean over the runs that finished.
        work_efficiency: Mean at each depth, the first activation of the network first.
    """

    activation: str
    engine: str
    runs: Sequence[RunRecord]
    values: Mapping[str, SeedEstimate]
    work_efficiency: Sequence[SeedEstimate]
    learning_efficiency: Sequence[SeedEstimate]

    @property
    def finished(self) -> list[RunRecord]:
        """The runs that finished."""
        return [run for run in self.runs if run.status == "finished"]

    @property
    def outcome(self) -> str:
        """How many runs finished, and what became of the others."""
        counts = {status: sum(run.status == status for run in self.runs) for status in ("diverged", "failed")}
        others = [f"{count} {status}" for status, count in counts.items() if count]
        return ", ".join([str(len(self.finished)), *others])


def summarise(records: Sequence[RunRecord]) -> list[ActivationSummary]:
    """Means over the seeds of each activation.

    Runs that failed or diverged are counted and take no part in the means.

    Returns:
        One summary an activation, in the order of the records.

    Example:
        >>> runs = [RunRecord(activation="ReLU", seed=seed, values={"accuracy": 0.5 + seed}) for seed in range(3)]
        >>> (summary,) = summarise(runs)
        >>> summary.outcome, summary.values["accuracy"].mean
        ('3', 1.5)
    """
    return [_summary(name, list(runs)) for name, runs in groupby(records, lambda record: record.activation)]


def _summary(name: str, runs: list[RunRecord]) -> ActivationSummary:
    finished = [run for run in runs if run.status == "finished"]
    return ActivationSummary(
        activation=name,
        engine=next((run.engine for run in runs if run.engine), ""),
        runs=runs,
        values={
            measure.key: estimate([run.values.get(measure.key, math.nan) for run in finished]) for measure in MEASURES
        },
        work_efficiency=_by_depth([run.work_efficiency for run in finished]),
        learning_efficiency=_by_depth([run.learning_efficiency for run in finished]),
    )


def _by_depth(columns: Sequence[Sequence[tuple[str, float]]]) -> list[SeedEstimate]:
    values = [[value for _, value in column] for column in columns]
    return [estimate(row) for row in zip_longest(*values, fillvalue=math.nan)]
