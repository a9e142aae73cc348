"""Steps that are too small: rule and page."""

from __future__ import annotations

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History
from thermo_callbacks.findings.readings import (
    EFFICIENCY,
    ENERGY,
    STEP_READS,
    TRANSFER,
    chance_above,
    fallen,
    has_settled,
    late_steps,
    told_rate,
)

LONG = 0.9
"""Step efficiency of steps that are long enough."""
SAFE = 0.985
"""Step efficiency of steps so small that the slope hardly changes along them."""
LIVELY = 0.15
"""Step transfer above which the next batch gains too."""
LITTLE = 0.5
"""Part of the loss that is gone by half of a run that learns."""


def _find(run: History) -> Sign | None:
    if not has_settled(run):
        return None
    steps, gone = late_steps(run), fallen(run)
    if not (steps.efficiency >= SAFE and steps.transfer >= LIVELY and not gone >= LITTLE):
        return None
    return Sign(
        f"A step lowers the loss of its own batch by {steps.efficiency:.3f} of what its gradient promises "
        f"({EFFICIENCY}), and that of the next batch too ({TRANSFER} {steps.transfer:.2f}): steps could be many times "
        f"longer.{told_rate(run)} {max(0.0, gone):.0%} of the loss has gone up to step {run.step}.",
        {EFFICIENCY: steps.efficiency, TRANSFER: steps.transfer},
        since_step=int(run[EFFICIENCY].steps[0]),
        chance=max(chance_above(run, EFFICIENCY, LONG), chance_above(run, TRANSFER, 0.0)),
    )


CAUSE = Cause(
    name="rate too low",
    rule=_find,
    measured=True,
    reads=("thermo/learning_rate", ENERGY, *STEP_READS),
    seen="The loss falls slowly, evenly, and is far from done when the run ends.",
    means="Steps are so small that the run ends long before it has learned.",
    sign=f"By half of the run less than {LITTLE:.0%} of the loss has gone, though the steps of the later passes keep "
    f"{SAFE} of what their slope promises and the next batch gains {LIVELY} of it or more. At the exact line search "
    "they keep 1/2.",
    advice="Raise the learning rate three to ten times, until thermo/step_efficiency is between 0.5 and 0.9.",
    mistaken="A loss with a high floor, of which little can go.",
    explains=("wrong labels",),
)
