"""A discriminator that leaves its generator without a gradient: rule and page."""

from __future__ import annotations

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History

_FAMILY = "thermo_gradient_norm"
SHARE = 0.02
"""Gradient of one network against its own first, and against the other's, from which on it is starved."""


def _find(run: History) -> Sign | None:
    if len(run.facts.get("optimizers", [])) < 2:
        return None
    networks: dict[str, list[str]] = {}
    courses = run.members(_FAMILY)
    for name in courses:
        networks.setdefault(name.split(".")[0], []).append(name)
    if len(networks) != 2:
        return None
    sizes = {
        network: (
            sum(courses[name].part(0.0, 0.2).median for name in names),
            sum(courses[name].part(0.7).median for name in names),
        )
        for network, names in networks.items()
    }
    (one, first), (other, second) = sizes.items()
    for starved, own, winner, theirs in ((one, first, other, second), (other, second, one, first)):
        if own[1] < SHARE * own[0] and own[1] < SHARE * theirs[1]:
            return Sign(
                f"The gradient of {starved} has shrunk to {own[1] / own[0]:.1g} of what it was at first, while "
                f"{winner} still has one (up to step {run.step}).",
                {f"{_FAMILY}/{networks[starved][0]}": courses[networks[starved][0]].last},
                since_step=int(courses[networks[starved][0]].steps[0]),
                confidence=0.95,
                layers=(winner,),
            )
    return None


CAUSE = Cause(
    name="discriminator won",
    rule=_find,
    reads=(_FAMILY,),
    seen="One loss of an adversarial pair is next to zero, and the other network has stopped learning.",
    means="One of two networks that play against each other is so sure that the other gets no gradient.",
    sign=f"There are two optimizers and two networks; the gradient of one falls below {SHARE} of its first values and "
    "of the other's.",
    advice="The loss of the generator that does not saturate (-log D, Goodfellow et al. 2014), a lower rate or fewer "
    "steps for the discriminator, or noise on its inputs.",
    mistaken="Two networks that are trained one after the other.",
    explains=("rate too low", "wrong labels", "layer not trained", "overfitting", "dead units"),
)
