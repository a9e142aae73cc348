"""Wrong sign: rule and page."""

from __future__ import annotations

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History
from thermo_callbacks.findings.readings import ENERGY

BELOW = 10.0
"""A loss so many times its start below zero has no floor in sight."""


def _find(run: History) -> Sign | None:
    loss = run[ENERGY]
    if len(loss) < 3 or not loss.last < -BELOW * max(abs(loss.first), 1e-30):
        return None
    middle = float(loss.values[len(loss) // 2])
    # what has a floor comes down slower and slower
    if loss.first - middle >= middle - loss.last:
        return None
    return Sign(
        f"The mean loss has gone from {loss.first:.3g} to {loss.last:.3g} up to step {run.step}, faster and faster: it "
        "has no floor.",
        {ENERGY: loss.last},
        since_step=int(loss.steps[0]),
        severity="critical",
    )


CAUSE = Cause(
    name="wrong sign",
    rule=_find,
    reads=(ENERGY,),
    seen="The loss is below zero and falls faster and faster, and the predictions are worse than chance.",
    means="The run climbs the loss that it should descend, or descends something that has no lowest value.",
    sign="The loss is negative, more than ten times its first value in size, and falls faster in the second half "
    "than in the first. A loss with a floor slows down.",
    advice="Look for a minus before the loss, for maximize=True, and for a score in the place of a loss.",
    mistaken="A loss that is meant to have no floor, as a critic's.",
    explains=(
        "rate too high",
        "saturated units",
        "batch too small",
        "layer not trained",
        "dead units",
        "overfitting",
        "data shift",
    ),
)
