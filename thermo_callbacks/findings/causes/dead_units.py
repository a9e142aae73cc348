"""Dead units: rule and page."""

from __future__ import annotations

from typing import NamedTuple

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History
from thermo_callbacks.findings.readings import UPDATE, moves_wildly

FAMILY = "thermo_dead_fraction"
DEAD = 0.98
"""Share of a module's units from which on it lets nothing through. Healthy networks of the fault suite reach 0.5."""


_FROM_THE_START = (
    "Look at the initialisation and the bias of the layer before it. LeakyReLU or GELU keep a slope that brings units "
    "back."
)


class Dead(NamedTuple):
    """An activation of which all units are dead: since when, what share, and whether from the first extra pass on."""

    name: str
    since: int
    share: float
    from_the_start: bool


def dead_modules(run: History) -> list[Dead]:
    """Activations whose units are all dead now, in the order of the forward pass; none that are bounded."""
    bounded = set(run.inspected.get("bounded_activations", ()))
    found = []
    for name, course in run.members(FAMILY).items():
        flat = course.values >= DEAD
        if len(course) and flat[-1] and not bounded.intersection(members_of(run, name)):
            start = 0 if flat.all() else len(flat) - int(flat[::-1].argmin())
            found.append(Dead(name, int(course.steps[start]), course.last, bool(flat.all())))
    return found


def members_of(run: History, name: str) -> tuple[str, ...]:
    """Modules that are shown under a name: one, or those of a group."""
    return tuple(run.facts.get("activation_groups", {}).get(name, (name,)))


def _find(run: History) -> Sign | None:
    found = dead_modules(run)
    if not found:
        return None
    since = min(each.since for each in found)
    first = next(each for each in found if each.since == since)
    layers = _before(run, first) or members_of(run, first.name)
    behind = sum(each.since == since for each in found) - 1
    start = "from the first extra pass on" if first.from_the_start else f"since step {since}"
    more = f" So do {behind} more behind it." if behind else ""
    return Sign(
        f"{first.share:.0%} of the units of {first.name} give a constant, whatever the input, {start} up to step "
        f"{run.step}.{more}",
        {f"{FAMILY}/{first.name}": first.share},
        since_step=since,
        severity="critical",
        layers=layers,
        advice=_FROM_THE_START if first.from_the_start else "",
        before=("rate too high",) if first.from_the_start and not moves_wildly(run) else (),
    )


def _before(run: History, first: Dead) -> tuple[str, ...]:
    """Dead members of the group right before: what is behind them can't help being so."""
    names = list(run.members(FAMILY))
    place = names.index(first.name) - 1
    if place < 0:
        return ()
    members, share = members_of(run, names[place]), run[f"{FAMILY}/{names[place]}"].last
    # of a group it is the last ones: were it the first, all behind it would be dead as well
    dead = round(share * len(members))
    return members[-dead:] if len(members) > 1 and share >= DEAD / len(members) else ()


CAUSE = Cause(
    name="dead units",
    rule=_find,
    reads=(FAMILY, UPDATE),
    seen="The loss stands at the level of chance, and some layers get a gradient of zero.",
    means="Units that are off for all inputs. Nothing passes them, forward or back, so that they don't recover.",
    sign=f"The share of a module's units that stay in the flat part of their function for the whole batch is {DEAD} or "
    "more, at the last extra pass.",
    advice="A step was too large for it: lower the rate or warm up. LeakyReLU or GELU keep a slope.",
    mistaken="A gate that is closed on purpose.",
    explains=("rate too low", "wrong labels", "vanishing signal", "layer not trained"),
)
