"""What several rules read in the same way."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from thermo_callbacks.findings.history import Course, History

ENERGY = "thermo/internal_energy"
EFFICIENCY = "thermo/step_efficiency"
TRANSFER = "thermo/step_transfer"
UPDATE = "thermo/update_ratio"
LOSS_READS = (ENERGY,)
STEP_READS = (EFFICIENCY, TRANSFER)
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
    return bool(grown or run.lost(ENERGY) is not None or _weights_lost(run))


def _weights_lost(run: History) -> bool:
    """Whether the norm of the weights was known once, and is no more."""
    return run.lost("thermo/weight_norm") is not None


WILD = 0.1
"""Update ratio of the first window at which ten steps make other weights of all. Healthy runs stay below 0.07."""


def moves_wildly(run: History) -> bool:
    """Whether the first steps moved the weights so far that what is there then is not what was initialised."""
    return run[UPDATE].first >= WILD


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


def jump_of(loss: Course) -> int | None:
    """Place of the value after which the loss has jumped up and stayed there, far beyond its scatter; None if none.

    Returns:
        The place, where the jump is a third or more of all that had been gained before, and at least six times the
        scatter of the loss in the windows before and after.
    """
    values = loss.values
    for place in range(3, len(values) - 2):
        before, after = values[max(0, place - 3) : place], values[place : place + 3]
        if not np.all(np.isfinite(values[: place + 3])):
            return None
        gained = values[0] - before.mean()
        jump = after.mean() - before.mean()
        scatter = float(np.abs(np.diff(before)).mean() + 0.1 * np.abs(np.diff(after)).mean())
        if gained > 0.3 * abs(values[0]) and jump > gained / 3.0 and jump > 6.0 * scatter:
            return place
    return None
