"""Momentum with a memory as long as the run: rule and page."""

from __future__ import annotations

import math

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History

PART = 0.3
"""Part of the run that a memory may last: steps can't be corrected sooner than it forgets."""


def momentum_of(run: History) -> float:
    """Largest momentum of all optimizers; 0 where none is known."""
    found = [0.0]
    for optimizer in run.facts.get("optimizers", []):
        momentum = optimizer.get("momentum")
        found += momentum if isinstance(momentum, list) else [momentum or 0.0]
    return max(found)


def _find(run: History) -> Sign | None:
    momentum = momentum_of(run)
    if math.isnan(run.planned) or not 0.0 < momentum < 1.0:
        return None
    memory = 1.0 / (1.0 - momentum)
    if memory < PART * run.planned:
        return None
    return Sign(
        f"With momentum {momentum:g} a gradient is followed for {memory:,.0f} steps; the run has {run.planned:,.0f}.",
        {},
    )


CAUSE = Cause(
    name="momentum too high",
    rule=_find,
    reads=(),
    seen="The loss swings in long waves, or grows after a good start.",
    means="The memory of the optimizer, 1 / (1 - momentum) steps, is as long as the run: it can't turn in time, and "
    "its steps are that many times as long as the rate says.",
    sign=f"The memory is {PART:.0%} of the planned steps or more. 0.9 means 10 steps, 0.99 a hundred.",
    advice="Lower the momentum (0.9), or lower the rate by as much as the memory grew.",
    mistaken="A run that is cut into short fits.",
    explains=(
        "rate too high",
        "dead units",
        "saturated units",
        "layer not trained",
        "no warm-up",
        "wrong labels",
        "batch too small",
        "rate too low",
        "data shift",
    ),
)
