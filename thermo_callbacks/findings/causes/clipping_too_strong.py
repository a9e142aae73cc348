"""Clipping that decides the length of all steps: rule and page."""

from __future__ import annotations

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History
from thermo_callbacks.findings.readings import (
    EFFICIENCY,
    STEP_READS,
    TRANSFER,
    chance_above,
    has_settled,
    late_steps,
)

_FACTOR, _SHARE = "thermo/clip_factor", "thermo/clipped_share"
KEPT = 0.4
"""What clipping leaves of a gradient, at most, where the limit decides."""
LONG = 0.9
"""Step efficiency of steps that are long enough."""
SAFE = 0.95
"""Step efficiency from which on steps could well be longer."""


def _find(run: History) -> Sign | None:
    kept, clipped = run[_FACTOR].median, run[_SHARE].median
    steps = late_steps(run)
    if not (kept <= KEPT and clipped >= 0.95 and has_settled(run, passes=3, over=0.25)):
        return None
    if not (steps.efficiency >= SAFE and steps.transfer > 0.1):
        return None
    return Sign(
        f"{clipped:.0%} of the steps up to step {run.step} are clipped, to {kept:.0%} of their gradient, and could be "
        f"longer: their step efficiency is {steps.efficiency:.2f}.",
        {_FACTOR: kept, _SHARE: clipped, EFFICIENCY: steps.efficiency},
        since_step=int(run[_SHARE].steps[0]),
        chance=max(chance_above(run, EFFICIENCY, LONG), chance_above(run, TRANSFER, 0.0)),
    )


CAUSE = Cause(
    name="clipping too strong",
    rule=_find,
    measured=True,
    reads=(_FACTOR, _SHARE, *STEP_READS),
    seen="The loss falls slowly and evenly, and a higher rate does not seem to help.",
    means="Every gradient is cut, so the limit decides the length of the steps, and the rate means little.",
    sign=f"In the median window 95 % of the steps are clipped, to {KEPT} of their gradient or less, and the steps are "
    f"too short: they keep {SAFE} of what their slope promises, and the next batch gains too.",
    advice="Raise gradient_clip_val to about twice the usual gradient norm, so that only outliers are cut.",
    mistaken="Adam, which does not mind the size of a gradient.",
    explains=("rate too low", "wrong labels"),
)
