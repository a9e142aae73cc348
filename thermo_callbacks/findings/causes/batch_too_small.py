"""Batches whose noise keeps the run from settling: rule and page."""

from __future__ import annotations

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History
from thermo_callbacks.findings.readings import (
    EFFICIENCY,
    LOSS_READS,
    STEP_READS,
    TRANSFER,
    fallen,
    has_settled,
    late_steps,
)

_LOWER = "thermo/noise_scale_lower"
TIMES = 4.0
"""Lower end of the noise scale over the batch, from which on noise rules."""
OVERSHOOT = 0.75
"""Step efficiency below which steps of this rate overshoot on their own batch."""


def _find(run: History) -> Sign | None:
    batch = run.facts.get("batch_size")
    if not batch or not has_settled(run):
        return None
    scale, steps, gone = run[_LOWER].part(0.5).median, late_steps(run), fallen(run)
    noisy = scale >= TIMES * batch and steps.efficiency < OVERSHOOT and steps.transfer < 0.02
    if not (noisy and gone < 0.7):
        return None
    return Sign(
        f"A step gains on its own batch (efficiency {steps.efficiency:.2f}) and nothing on the next (transfer "
        f"{steps.transfer:.2f}); the noise scale is {scale:,.0f} samples or more, the batch {batch}. "
        f"{max(0.0, gone):.0%} of the loss has gone up to step {run.step}.",
        {_LOWER: scale, EFFICIENCY: steps.efficiency, TRANSFER: steps.transfer},
        since_step=int(run[EFFICIENCY].steps[0]),
        confidence=0.95,
    )


CAUSE = Cause(
    name="batch too small",
    rule=_find,
    reads=(_LOWER, *LOSS_READS, *STEP_READS),
    seen="The loss jumps about a level and does not come down, however long.",
    means="At this rate the noise of the batches keeps the run from settling: what one step gains the next one loses.",
    sign=f"The lower end of the noise scale is {TIMES:g} times the batch or more; later steps keep less than "
    f"{OVERSHOOT} of their promise on their own batch, and nothing of it on the next; less than 70 % of the loss has "
    "gone by half of the run.",
    advice="A larger batch, accumulate_grad_batches, or a rate lower by as many times.",
    mistaken="A run that has reached the floor of its loss.",
    explains=("rate too high", "wrong labels", "data shift", "dead units"),
)
