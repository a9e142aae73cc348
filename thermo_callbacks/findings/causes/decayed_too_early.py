"""A schedule that ends long before the run: rule and page."""

from __future__ import annotations

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History
from thermo_callbacks.findings.readings import (
    ENERGY,
    STEP_READS,
    TRANSFER,
    chance_above,
    fallen,
    has_settled,
    late_steps,
)

_RATE, _SIGNAL = "thermo/learning_rate", "thermo/signal_share"
NOTHING = 0.01
"""Part of its largest value below which a rate is next to nothing."""
TIME = 0.4
"""Part of the windows for which it may be so: a cosine is there for 6 % of a run, a last step for 20 %."""
LIVELY = 0.1
"""Step transfer above which the next batch still gains from a step: there is more to learn."""


def _find(run: History) -> Sign | None:
    rate = run[_RATE]
    if len(rate) < 5 or not has_settled(run, passes=3):
        return None
    low = rate.values < NOTHING * rate.values.max()
    if low.mean() < TIME or low[0]:
        return None
    transfer = late_steps(run).transfer
    if not transfer > LIVELY:
        return None
    since = int(rate.steps[low.argmax()])
    return Sign(
        f"The rate has been below 1 % of its largest value since step {since}, and each step would still gain: step "
        f"transfer is {transfer:.2f}. {max(0.0, fallen(run)):.0%} of the loss has gone up to step {run.step}.",
        {_RATE: rate.last, TRANSFER: transfer},
        since_step=since,
        chance=min(chance_above(run, TRANSFER, 0.0), chance_above(run, _SIGNAL, 0.0)),
    )


CAUSE = Cause(
    name="decayed too early",
    rule=_find,
    measured=True,
    reads=(_RATE, _SIGNAL, f"{_SIGNAL}_stderr", ENERGY, *STEP_READS),
    seen="The loss stands still from one step on, at a value that is not good.",
    means="The rate is next to nothing while there is much to learn: the rest of the run is wasted.",
    sign=f"The rate is below {NOTHING:.0%} of its largest value in {TIME:.0%} of the windows, and the step transfer "
    f"of the later passes is above {LIVELY}.",
    advice="Stretch the schedule to the length of the run, or end the run where the schedule ends.",
    mistaken="A schedule that starts again later.",
    explains=("rate too low", "wrong labels", "layer not trained", "no warm-up"),
)
