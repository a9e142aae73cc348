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
    fallen,
    has_diverged,
    late_steps,
)

EDGE = 0.35
"""Median step efficiency below which steps are wasted: 1/2 is the exact line search, 0 the edge of stability. Healthy
runs of the suite stay above 0.45."""
BROKEN = 0.2
"""Step efficiency that no healthy run has in two passes: momentum that gathers speed may show it in one."""
RISEN = 1.15
"""A loss so many times its start has been thrown back; in healthy runs the first window has the highest."""
LITTLE = 0.3
"""Part of the loss that should be gone after that."""


def _find(run: History) -> Sign | None:
    efficiency = run[EFFICIENCY]
    if has_diverged(run):
        return _diverged(run)
    if len(efficiency) < 3:
        return None
    late = late_steps(run).efficiency
    lowest = min(late, float(np.sort(efficiency.values)[1]) + EDGE - BROKEN)
    if lowest >= EDGE:
        return _risen(run)
    at = int(efficiency.steps[efficiency.values.argmin()])
    return Sign(
        f"Steps keep only {late:.2f} of what their slope promises (median step efficiency of the later passes up to "
        f"step {run.step}), {efficiency.values.min():.2f} at step {at}: they overshoot.",
        {EFFICIENCY: late},
        since_step=int(efficiency.steps[0]),
        confidence=0.99,
    )


def _risen(run: History) -> Sign | None:
    """A loss that has risen above its start in wild steps, and has not come down since."""
    loss, update = run[ENERGY], run[UPDATE]
    if len(loss) < 4 or not (loss.values.max() > RISEN * loss.first > 0.0 and fallen(run) < LITTLE):
        return None
    # the mean of a few noisy batches may be that high by chance
    if not update.values.max(initial=0.0) >= WILD:
        return None
    at = int(loss.steps[loss.values.argmax()])
    return Sign(
        f"The loss has risen from {loss.first:.3g} to {loss.values.max():.3g} at step {at}, and is {loss.last:.3g} at "
        f"step {run.step}: a step moved the weights by up to {update.values.max():.0%} of their size.",
        {ENERGY: float(loss.values.max()), UPDATE: float(update.values.max())},
        since_step=at,
        confidence=0.95,
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
    reads=(ENERGY, EFFICIENCY, UPDATE, "thermo/weight_norm"),
    seen="The loss swings, stands or grows, or is NaN.",
    means="Steps overshoot: they land beyond the lowest point on their way, so the loss swings, stands or diverges.",
    sign="The loss is no number any more, or a hundred times its start. Or the median step efficiency of the later "
    f"passes is below {EDGE}, or that of two passes below {BROKEN}, where 1/2 is the exact line search and 0 gains "
    f"nothing. Or the loss rose to {RISEN} times its start, and less than {LITTLE:.0%} of it has gone since.",
    advice="Lower the learning rate three to ten times, until step efficiency is between 0.5 and 0.9.",
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
