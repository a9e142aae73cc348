"""First steps that are too large: rule and page."""

from __future__ import annotations

import numpy as np

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History
from thermo_callbacks.findings.readings import EFFICIENCY, ENERGY, chance_below, fallen, has_settled

_RATE = "thermo/learning_rate"
HEALTHY = 0.7
"""Step efficiency of first steps that suit the network."""
OVERSHOOT = 0.5
"""Step efficiency of the exact line search: below it a step goes beyond the lowest point."""
HARDLY = 0.4
"""Part of the loss that should be gone by half of a run."""


def _find(run: History) -> Sign | None:
    rate, efficiency = run[_RATE], run[EFFICIENCY]
    if not has_settled(run) or len(rate) < 4 or not fallen(run) < HARDLY:
        return None
    # the rate is highest at the very start, and comes down: a schedule without its beginning
    if not (rate.first >= 0.95 * rate.values.max() and rate.last < 0.6 * rate.first):
        return None
    early = efficiency.part(0.0, 0.5)
    lowest = float(np.min(early.values))
    if not lowest < OVERSHOOT:
        return None
    return Sign(
        f"The rate is highest at the first step, and there the steps overshoot: step efficiency falls to {lowest:.2f} "
        f"in the first half. {max(0.0, fallen(run)):.0%} of the loss has gone up to step {run.step}.",
        {EFFICIENCY: lowest, _RATE: rate.first},
        since_step=int(early.steps[early.values.argmin()]),
        chance=chance_below(run, EFFICIENCY, HEALTHY, 0.0),
    )


CAUSE = Cause(
    name="no warm-up",
    rule=_find,
    measured=True,
    reads=(_RATE, EFFICIENCY, f"{EFFICIENCY}_stderr", ENERGY),
    seen="The loss stands or swings in the first steps and stays high, though the schedule is a common one.",
    means="The first steps are too large for this network and spoil it; the schedule comes down too late to help.",
    sign=f"The schedule starts at its highest rate; a step efficiency of the first half lies below {OVERSHOOT}, the "
    f"exact line search; and by half of the run less than {HARDLY:.0%} of the loss has gone.",
    advice="Raise the rate from next to nothing over the first 5 to 10 % of the steps, or start at a third of it.",
    mistaken="A run whose rate is too high throughout: a warm-up alone will not do then.",
    explains=("rate too high", "wrong labels", "batch too small", "vanishing signal"),
)
