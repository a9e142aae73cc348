"""What several rules read in the same way."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from thermo_callbacks.findings.history import Course, History

ENERGY = "thermo/internal_energy"
EFFICIENCY = "thermo/step_efficiency"
TRANSFER = "thermo/step_transfer"
UPDATE = "thermo/update_ratio"
STEP_READS = (EFFICIENCY, f"{EFFICIENCY}_stderr", TRANSFER, f"{TRANSFER}_stderr")
GROWN = 100.0
"""A loss that is so many times its start has diverged: no healthy run of the fault suite reaches twice its start."""


def fallen(run: History) -> float:
    """Part of the loss of the first window that is gone, by the mean of the last windows; NaN before there are two."""
    loss = run[ENERGY]
    if len(loss) < 2 or not math.isfinite(loss.first) or not loss.first:
        return math.nan
    # three windows at most: the loss of one is noisy where batches are small
    now = float(np.mean(loss.values[-min(3, len(loss) - 1) :]))
    return (loss.first - now) / abs(loss.first)


def has_diverged(run: History) -> bool:
    """Whether the loss is no number, or has grown beyond all bounds."""
    loss = run[ENERGY]
    if not len(loss):
        return False
    grown = loss.last > GROWN * max(abs(loss.first), 1e-30) or not math.isfinite(loss.last)
    return bool(grown or run.lost(ENERGY) is not None or run.lost("thermo/weight_norm") is not None)


WILD = 0.1
"""Update ratio of the first window at which ten steps make other weights of all. Healthy runs stay below 0.07."""


def moves_wildly(run: History) -> bool:
    """Whether the first steps moved the weights so far that what is there then is not what was initialised."""
    return run[UPDATE].first >= WILD


def chance_below(run: History, tag: str, limit: float, start: float = 0.5) -> float:
    """Chance that a quantity lies below a limit by its errors alone, at the value for which that is least.

    Errors are taken as normal. The least of several values is one of several looks, which ``diagnose`` counts.

    Args:
        run: What was recorded; the standard error stands under the tag with ``_stderr``.
        tag: Tag of the quantity.
        limit: The limit.
        start: Part of the values after which they count.

    Returns:
        The chance; 1 where no value has an error.

    Example:
        >>> run = History()
        >>> run.add({"thermo/step_efficiency": 0.3, "thermo/step_efficiency_stderr": 0.1}, 9)
        >>> round(chance_below(run, "thermo/step_efficiency", 0.5), 4)  # two errors below it
        0.0228
    """
    return float(norm.cdf(min(_distances(run, tag, limit, start), default=math.inf)))


def chance_above(run: History, tag: str, limit: float, start: float = 0.5) -> float:
    """Chance that a quantity lies above a limit by its errors alone: see :func:`chance_below`."""
    return float(norm.sf(max(_distances(run, tag, limit, start), default=-math.inf)))


def _distances(run: History, tag: str, limit: float, start: float) -> list[float]:
    """How many errors each value lies above a limit."""
    values, errors = run[tag].part(start), run[f"{tag}_stderr"]
    known = dict(zip(errors.steps.tolist(), errors.values.tolist(), strict=True))
    pairs = zip(values.steps.tolist(), values.values.tolist(), strict=True)
    return [(value - limit) / known[step] for step, value in pairs if known.get(step, 0.0) > 0.0]


class Steps(NamedTuple):
    """How the steps of the second half of the extra passes did.

    Attributes:
        efficiency: Median step efficiency.
        transfer: Median step transfer.
        passes: How many extra passes there are in all.
    """

    efficiency: float
    transfer: float
    passes: int


def late_steps(run: History) -> Steps:
    """How steps do now: medians over the second half of the extra passes."""
    efficiency, transfer = run[EFFICIENCY].part(0.5), run[TRANSFER].part(0.5)
    return Steps(efficiency.median, transfer.median, len(run[EFFICIENCY]))


def has_settled(run: History, *, passes: int = 4, over: float = 0.5) -> bool:
    """Whether enough of the run is over to judge what it has made of itself."""
    return run.over >= over and len(run[EFFICIENCY]) >= passes


def told_rate(run: History) -> str:
    """The present learning rate as a sentence behind others; empty where it is not known."""
    rate = run["thermo/learning_rate"].last
    return "" if math.isnan(rate) else f" The learning rate is {rate:.3g}."


class Jump(NamedTuple):
    """A jump of the loss.

    Attributes:
        place: Place of the first value after it.
        scatters: Its height in units of the mean change from one window to the next.
    """

    place: int
    scatters: float


def jump_of(loss: Course) -> Jump | None:
    """Find where the loss has jumped up and stayed there, far beyond its scatter.

    Returns:
        The first jump that is a third or more of all that had been gained before, and four times the mean change
        between other windows or more; None if there is none.
    """
    values = loss.values
    if not np.all(np.isfinite(values)):
        return None
    changes = np.abs(np.diff(values))
    for place in range(3, len(values) - 2):
        before, after = values[place - 3 : place], values[place : place + 3]
        gained, jump = values[0] - before.mean(), after.mean() - before.mean()
        scatter = float((changes.sum() - changes[place - 1]) / (len(changes) - 1))
        if gained > 0.3 * abs(values[0]) and jump > gained / 3.0 and jump > 4.0 * scatter:
            return Jump(place, float(jump / scatter))
    return None
