"""Data that change while the run goes on: rule and page."""

from __future__ import annotations

import numpy as np
from scipy.stats import t as student_t

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History
from thermo_callbacks.findings.readings import EFFICIENCY, ENERGY, jump_of

_SHIFT, _RATE = "thermo/input_shift", "thermo/learning_rate"
STEADY = 0.4
"""Step efficiency before the jump from which on steps were in order: it is the data that have changed."""


def _find(run: History) -> Sign | None:
    loss = run[ENERGY]
    jump = jump_of(loss)
    if jump is None:
        return None
    place = jump.place
    step = int(loss.steps[place])
    efficiency, rate = run[EFFICIENCY], run[_RATE]
    before = efficiency.values[efficiency.steps < loss.steps[place - 1]]
    if len(before) and np.median(before[-2:]) < STEADY:
        return None
    rates = rate.values[(rate.steps >= loss.steps[place - 1]) & (rate.steps <= step)]
    if len(rates) > 1 and rates.max() > 1.2 * rates.min():  # a schedule that starts again
        return None
    shift = run[_SHIFT]
    moved = shift.values[shift.steps >= step]
    evidence = {ENERGY: float(loss.values[place])}
    if len(moved):
        evidence[_SHIFT] = float(np.median(moved))
    return Sign(
        f"Between the windows of steps {loss.steps[place - 1]} and {step} the loss jumped from "
        f"{loss.values[place - 1]:.3g} to {loss.values[place]:.3g}, while rate and steps were in order.",
        evidence,
        since_step=step,
        chance=float(student_t.sf(jump.scatters, len(loss) - 2)),
    )


CAUSE = Cause(
    name="data shift",
    rule=_find,
    measured=True,
    reads=(ENERGY, EFFICIENCY, _SHIFT, _RATE),
    seen="The loss jumps up in the middle of a run and has to come down again.",
    means="The data change during the run: another source, another preparation, a new shard.",
    sign="The loss jumps up by a third or more of all that was gained, six times beyond its scatter, and stays up for "
    "several windows; the rate has not changed, and the steps before were efficient.",
    advice="Look at what comes out of the loader at that step, and at what was switched on there.",
    mistaken="A curriculum that gets harder on purpose; an augmentation that sets in.",
    explains=("dead units", "rate too high", "batch too small", "overfitting"),
)
