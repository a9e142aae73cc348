"""Units at the flat ends of their function: rule and page."""

from __future__ import annotations

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.causes.dead_units import members_of
from thermo_callbacks.findings.history import Course, History
from thermo_callbacks.findings.readings import UPDATE, moves_wildly

_FAMILY = "thermo_saturated_fraction"
FLAT = 0.7
"""Share of the values at flat ends from which on a module, or one of a group that is shown by its mean, lets next to
nothing through; healthy ones stay below 0.1."""


def saturated_from_the_start(run: History) -> bool:
    """Whether a bounded activation was saturated at the first extra pass, and others were not."""
    first = [course.first >= FLAT for course in _bounded(run).values()]
    return any(first) and not all(first)


def _bounded(run: History) -> dict[str, Course]:
    """Saturated fractions of the activations that are bounded."""
    bounded = set(run.inspected.get("bounded_activations", ()))
    courses = run.members(_FAMILY)
    return {name: courses[name] for name in courses if bounded.issuperset(members_of(run, name))}


def _find(run: History) -> Sign | None:
    flat = {name: course for name, course in _bounded(run).items() if course.last >= FLAT}
    if not flat:
        return None
    since = {name: int(course.steps[(course.values >= FLAT).argmax()]) for name, course in flat.items()}
    start = min(since.values())
    first = [name for name, step in since.items() if step == start]
    layers = tuple(member for name in first for member in members_of(run, name))
    return Sign(
        f"{flat[first[0]].last:.0%} of the values of {first[0]} lie at the flat ends of its function, since step "
        f"{start}: no gradient gets through.",
        {f"{_FAMILY}/{name}": flat[name].last for name in first},
        since_step=start,
        severity="critical",
        layers=layers,
        before=("rate too high",) if flat[first[0]].first >= FLAT and not moves_wildly(run) else (),
    )


CAUSE = Cause(
    name="saturated units",
    rule=_find,
    reads=(_FAMILY, UPDATE),
    seen="Outputs hardly depend on the inputs, and first layers hardly move.",
    means="Units of a bounded function (tanh, sigmoid) that are at its flat ends for all inputs. They give 1 or -1, "
    "and no gradient passes.",
    sign=f"{FLAT:.0%} of a bounded activation's values or more lie where its slope is below a hundredth, at the last "
    "extra pass.",
    advice="Smaller weights or biases in the layer before, inputs of size 1, or a normalisation before the activation.",
    mistaken="A gate that has made up its mind.",
    explains=(
        "rate too low",
        "wrong labels",
        "vanishing signal",
        "layer not trained",
        "batch too small",
        "no warm-up",
    ),
)
