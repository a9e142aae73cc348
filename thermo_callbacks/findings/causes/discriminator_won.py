"""A discriminator that is sure of everything: rule and page."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import t as student_t

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import Course, History

_FAMILY = "thermo_gradient_norm"
SHARE = 0.05
"""Gradient over that of the start, below which a network has nothing left to learn from the other; in pairs that work
it stays where it was, or grows."""
IN_A_ROW = 5
"""Windows in a row that it has to last."""
_JUDGES = ("disc", "critic", "judge")


def _least(gradient: Course) -> float:
    """Smallest median of some windows in a row over the largest of the first two; NaN where that is zero."""
    start = float(gradient.values[:2].max())
    rows = np.lib.stride_tricks.sliding_window_view(gradient.values, IN_A_ROW)
    return float(np.median(rows, 1).min()) / start if start > 0.0 else math.nan


def _find(run: History) -> Sign | None:
    if len(run.facts.get("optimizers", [])) != 2 or run.over < 0.3:
        return None
    networks: dict[str, list[str]] = {}
    courses = run.members(_FAMILY)
    for name, course in courses.items():
        if len(course) > IN_A_ROW:
            networks.setdefault(name.split(".")[0], []).append(name)
    if len(networks) != 2:
        return None
    left = {network: min(_least(courses[name]) for name in names) for network, names in networks.items()}
    sure = [network for network, share in left.items() if share < SHARE]
    if not sure:
        return None
    # where both have none left, the one that judges has won; without such a name, the one with less
    winner = min(sure, key=lambda network: (not network.lower().startswith(_JUDGES), left[network]))
    shown = networks[winner][-1]
    return Sign(
        f"The gradient of {winner} has shrunk to {left[winner]:.1%} of what it was at first ({IN_A_ROW} windows in a "
        f"row, up to step {run.step}): it is sure of everything, and the other network learns nothing from it.",
        {f"{_FAMILY}/{shown}": float(courses[shown].values.min())},
        since_step=int(courses[shown].steps[courses[shown].values.argmin()]),
        chance=_chance(courses[shown]),
        layers=(winner,),
    )


def _chance(gradient: Course) -> float:
    """Chance that the lowest windows in a row are half of the start by their scatter: t-test of logarithms."""
    rows = np.log(np.maximum(np.lib.stride_tricks.sliding_window_view(gradient.values, IN_A_ROW), 1e-300))
    lowest = rows[rows.mean(1).argmin()]
    error = float(lowest.std(ddof=1)) / math.sqrt(IN_A_ROW)
    return float(student_t.cdf((lowest.mean() - math.log(0.5 * gradient.values[:2].max())) / error, IN_A_ROW - 1))


CAUSE = Cause(
    name="discriminator won",
    rule=_find,
    measured=True,
    reads=(_FAMILY,),
    seen="One loss of an adversarial pair is next to zero, and the other network has stopped learning.",
    means="One of two networks that play against each other is so sure that neither gets a gradient worth the name.",
    sign="There are two optimizers and two networks, and the gradient of one is below "
    f"{SHARE:.0%} of that in its first windows, {IN_A_ROW} windows in a row.",
    advice="The loss of the generator that does not saturate (-log D, Goodfellow et al. 2014), a lower rate or fewer "
    "steps for the discriminator, or noise on its inputs.",
    mistaken="Two networks that do not play against each other, and one of which is done.",
    explains=("rate too low", "wrong labels", "layer not trained", "overfitting", "dead units"),
)
