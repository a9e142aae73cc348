"""Dead units: rule and page."""

from __future__ import annotations

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History

DEAD = 0.98
"""Share of a module's units from which on it lets nothing through. Healthy networks of the fault suite reach 0.5."""
BOUNDED = {"Tanh", "Sigmoid", "Softsign", "Hardtanh", "Hardsigmoid", "LogSigmoid", "Tanhshrink"}
"""Activations whose flat parts are ends: their units are saturated, not dead."""


def modules_at_rest(run: History, *, bounded: bool) -> dict[str, tuple[int, float, bool]]:
    """Activations of which all units are flat: since which step, what share, and whether from the first look on."""
    types = run.facts.get("engine_types", {})
    found = {}
    for name, course in run.members("thermo_dead_fraction").items():
        flat = course.values >= DEAD
        if len(course) and flat[-1] and (types.get(name) in BOUNDED) is bounded:
            since = int(course.steps[len(flat) - flat[::-1].argmin() if not flat.all() else 0])
            found[name] = (since, course.last, bool(flat[0]))
    return found


def _find(run: History) -> Sign | None:
    found = modules_at_rest(run, bounded=False)
    if not found:
        return None
    since = min(step for step, _, _ in found.values())
    first = [name for name, (step, _, _) in found.items() if step == since]
    share = found[first[0]][1]
    start = "from the first look on" if found[first[0]][2] else f"since step {since}"
    return Sign(
        f"{share:.0%} of the units of {first[0]} give a constant, whatever the input, {start} up to step {run.step}.",
        {f"thermo_dead_fraction/{name}": found[name][1] for name in first},
        since_step=since,
        severity="critical",
        layers=tuple(first),
    )


CAUSE = Cause(
    name="dead units",
    rule=_find,
    reads=("thermo_dead_fraction",),
    means="Units that are off for all inputs. Nothing passes them, forward or back, so they can't recover by themselves.",
    sign=f"The share of a module's units that stay in the flat part of their function for the whole batch is {DEAD} or "
    "more, at the last extra pass.",
    advice="Dead from the start: look at the initialisation and the bias of the layer before. Dead since a later step: "
    "a step was too large; lower the rate or warm up. LeakyReLU or GELU keep a slope.",
    mistaken="A gate that is closed on purpose.",
    explains=("rate too low", "wrong labels", "vanishing signal", "layer not trained"),
)
