"""Steps that overshoot: rule and page."""

from __future__ import annotations

import numpy as np

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History
from thermo_callbacks.findings.readings import (
    EFFICIENCY,
    ENERGY,
    UPDATE,
    WILD,
    chance_below,
    fallen,
    has_diverged,
    late_steps,
    told_rate,
)

EDGE = 0.35
"""Median step efficiency below which steps are wasted: 1/2 is the exact line search, 0 the edge of stability. Healthy
runs of the suite stay above 0.45."""
HEALTHY = 0.5
"""Step efficiency of the exact line search."""
BROKEN = 0.2
"""Step efficiency that no healthy run has in two passes: momentum that gathers speed may show it in one."""
LITTLE = 0.3
"""Part of the loss that should be gone by half of a run, whatever its first steps were."""


def _find(run: History) -> Sign | None:
    if has_diverged(run):
        return _diverged(run)
    return _wild(run) or _overshoots(run)


def _overshoots(run: History) -> Sign | None:
    """Steps that land beyond the lowest point on their way."""
    efficiency = run[EFFICIENCY]
    if len(efficiency) < 3:
        return None
    late = late_steps(run).efficiency
    if late >= EDGE and np.sort(efficiency.values)[1] >= BROKEN:
        return None
    return Sign(
        f"A step lowers the loss of its own batch by only {late:.2f} of what its gradient promises ({EFFICIENCY}, "
        f"median of the second half of the extra passes up to step {run.step}); 0.5 is the best that a step in its "
        f"direction can do, 0 gains nothing.{told_rate(run)}",
        {EFFICIENCY: late},
        since_step=int(efficiency.steps[0]),
        chance=chance_below(run, EFFICIENCY, HEALTHY, 0.0),
    )


def _wild(run: History) -> Sign | None:
    """Steps that moved the weights wildly, and a loss of which hardly anything has gone since."""
    loss, update = run[ENERGY], run[UPDATE]
    if run.over < 0.5 or len(update) < 4 or not (update.values.max() >= WILD and fallen(run) < LITTLE):
        return None
    at = int(update.steps[update.values.argmax()])
    return Sign(
        f"A step moved the weights by up to {update.values.max():.0%} of their size (window of step {at}), and the "
        f"loss has gone from {loss.first:.3g} to {loss.last:.3g} at step {run.step}.{told_rate(run)}",
        {UPDATE: float(update.values.max()), ENERGY: loss.last},
        since_step=at,
    )


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
    measured=True,
    reads=(ENERGY, EFFICIENCY, f"{EFFICIENCY}_stderr", UPDATE, "thermo/weight_norm", "thermo/learning_rate"),
    seen="The loss swings, stands or grows, or is NaN.",
    means="Steps overshoot: they land beyond the lowest point on their way, so the loss swings, stands or diverges.",
    sign="The loss is no number any more, or a hundred times its start. Or the median step efficiency of the later "
    f"passes is below {EDGE}, or that of two passes below {BROKEN}, where 1/2 is the exact line search and 0 gains "
    "nothing. Or a step moved the weights by a tenth of their size or more, and by half of the run less than "
    f"{LITTLE:.0%} of the loss has gone.",
    advice="Lower the learning rate three to ten times, until thermo/step_efficiency is between 0.5 and 0.9.",
    mistaken="Very noisy batches, whose own slope is not that of the next: look at the noise scale.",
    explains=(
        "dead units",
        "saturated units",
        "layer not trained",
        "wrong labels",
        "data shift",
        "rate too low",
        "overfitting",
    ),
)
