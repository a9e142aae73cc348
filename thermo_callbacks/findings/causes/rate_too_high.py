"""Steps that overshoot: rule and page."""

from __future__ import annotations

import math

import numpy as np

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History
from thermo_callbacks.findings.readings import EFFICIENCY, ENERGY, fallen, has_diverged, late_steps

EDGE = 0.35
"""Median step efficiency below which steps are wasted: 1/2 is the exact line search, 0 the edge of stability. Healthy
runs of the suite stay above 0.45."""
_BROKEN = 0.15
"""Step efficiency of an early pass at which the run overshoots, whatever comes later."""


def _find(run: History) -> Sign | None:
    loss, efficiency = run[ENERGY], run[EFFICIENCY]
    if has_diverged(run):
        return _diverged(run)
    if len(efficiency) < 3:
        return None
    late = late_steps(run).efficiency
    gone = fallen(run)
    beginning = efficiency.values[: max(3, len(efficiency) // 2)]
    overshoots = late < EDGE or (np.sort(beginning)[1] < _BROKEN and not gone > 0.5)
    if not overshoots:
        return None
    lowest = late if late < EDGE else float(np.sort(beginning)[1])
    text = f"Steps keep only {lowest:.2f} of what their slope promises (step efficiency up to step {run.step})"
    if not math.isnan(gone):
        text += f", and the loss has gone from {loss.first:.3g} to {loss.last:.3g}"
    return Sign(text + ".", {EFFICIENCY: lowest}, since_step=int(efficiency.steps[0]), confidence=0.99)


def _diverged(run: History) -> Sign:
    loss = run[ENERGY]
    lost = run.lost(ENERGY)
    since = int(loss.steps[-1]) if lost is None else lost
    return Sign(
        f"The run has diverged: its mean loss was {loss.first:.3g} in the first window and {loss.last:.3g} in the "
        f"last that is known (up to step {run.step}).",
        {ENERGY: loss.last},
        since_step=since,
        severity="critical",
        advice="Lower the learning rate ten times. If it then trains, raise it until step efficiency comes down to "
        "1/2.",
    )


CAUSE = Cause(
    name="rate too high",
    rule=_find,
    reads=(ENERGY, EFFICIENCY, "thermo/weight_norm"),
    seen="The loss swings, stands or grows, or is NaN.",
    means="Steps overshoot: they land beyond the lowest point on their way, so the loss swings, stands or diverges.",
    sign="The loss is no number any more, or a hundred times its start; or the median step efficiency of the later "
    f"passes is below {EDGE}, where 1/2 is the exact line search and 0 gains nothing; or it was below {_BROKEN} in "
    "two early passes and half of the loss has not gone since.",
    advice="Lower the learning rate three to ten times, until step efficiency is between 0.5 and 0.9.",
    mistaken="Very noisy batches, whose own slope is not that of the next: look at the noise scale.",
    explains=(
        "dead units",
        "saturated units",
        "layer not trained",
        "wrong labels",
        "batch too small",
        "data shift",
        "rate too low",
        "overfitting",
    ),
)
