"""Dropout that lets nothing through: rule and page."""

from __future__ import annotations

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History

STRONG = 0.85
"""Share from which on the noise of dropout in a unit, sqrt(p / (1 - p)) of its signal, is 2.4 times the signal."""


def _find(run: History) -> Sign | None:
    strong = {name: share for name, share in run.inspected.get("dropout", {}).items() if share >= STRONG}
    if not strong:
        return None
    share = max(strong.values())
    return Sign(
        f"Dropout sets {share:.0%} of the values to zero: what it adds as noise is {(share / (1 - share)) ** 0.5:.1f} "
        "times what it lets through."
        if share < 1.0
        else "Dropout sets all values to zero.",
        {},
        layers=tuple(strong),
    )


CAUSE = Cause(
    name="dropout too strong",
    rule=_find,
    reads=(),
    seen="The loss stays near the level of chance, and is noisy from step to step.",
    means="Next to nothing of the signal is let through, and what is left drowns in the noise of the choice.",
    sign=f"The share of a dropout module that is on is {STRONG} or more. The noise in each unit is sqrt(p / (1 - p)) "
    "of its signal (Srivastava et al. 2014 use 0.2 to 0.5).",
    advice="0.1 to 0.5 is common. Some libraries mean the share that is kept: 0.95 there is 0.05 here.",
    mistaken="Very wide layers, and masked training.",
    explains=("wrong labels", "rate too low", "batch too small", "rate too high", "dead units", "no warm-up"),
)
