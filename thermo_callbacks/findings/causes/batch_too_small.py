"""Batches whose noise keeps the run from settling: rule and page."""

from __future__ import annotations

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History
from thermo_callbacks.findings.readings import (
    EFFICIENCY,
    ENERGY,
    STEP_READS,
    TRANSFER,
    chance_below,
    fallen,
    has_settled,
    late_steps,
)

_LOWER, _SIGNAL = "thermo/noise_scale_lower", "thermo/signal_share"
TINY = 8
"""Samples up to which the batch is what to change first; for larger ones it is the rate."""
TIMES = 4.0
"""Lower end of the noise scale over the batch, from which on noise rules."""
OVERSHOOT = 0.75
"""Step efficiency below which steps of this rate overshoot on their own batch."""
HARDLY = 0.3
"""Signal share and step transfer of a run that learns from its batches."""
LITTLE, SOME = 0.3, 0.7
"""Part of the loss that should be gone by half of a run: without a sign of overshooting, and with one."""


def _find(run: History) -> Sign | None:
    batch = run.facts.get("batch_size")
    if not batch or batch > TINY or not has_settled(run):
        return None
    scale, steps, gone = run[_LOWER].part(0.5).median, late_steps(run), fallen(run)
    overshoots = scale >= TIMES * batch and steps.efficiency < OVERSHOOT and steps.transfer < 0.02 and gone < SOME
    drowns = scale >= TIMES * batch and run[_SIGNAL].part(0.25).median < 0.1 and gone < LITTLE
    if not (overshoots or drowns):
        return None
    return Sign(
        f"A step gains on its own batch (efficiency {steps.efficiency:.2f}) and next to nothing on the next (transfer "
        f"{steps.transfer:.2f}); the noise scale is {scale:,.0f} samples or more, the batch {batch}. "
        f"{max(0.0, gone):.0%} of the loss has gone up to step {run.step}.",
        {_LOWER: scale, EFFICIENCY: steps.efficiency, TRANSFER: steps.transfer},
        since_step=int(run[EFFICIENCY].steps[0]),
        chance=max(chance_below(run, TRANSFER, HARDLY), chance_below(run, _SIGNAL, HARDLY, 0.25)),
    )


CAUSE = Cause(
    name="batch too small",
    rule=_find,
    measured=True,
    reads=(_LOWER, _SIGNAL, f"{_SIGNAL}_stderr", ENERGY, *STEP_READS),
    seen="The loss jumps about a level and does not come down, however long.",
    means="At this rate the noise of the batches keeps the run from settling: what one step gains the next one loses.",
    sign=f"A batch has {TINY} samples or fewer, the lower end of the noise scale is {TIMES:g} times that, and little "
    f"of the loss has gone by half of the run: less than {SOME:.0%} where steps overshoot, less than {LITTLE:.0%} "
    "where gradients have no signal.",
    advice="A larger batch, accumulate_grad_batches, or a rate lower by as many times.",
    mistaken="A run that has reached the floor of its loss.",
    explains=("rate too high", "wrong labels", "data shift", "dead units"),
)
