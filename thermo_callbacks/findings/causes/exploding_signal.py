"""A signal that grows from layer to layer: rule and page."""

from __future__ import annotations

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History
from thermo_callbacks.findings.readings import ENERGY

SIGNAL = "thermo_learning_signal"
TIMES = 300.0
"""Learning signal of a layer over that of the last from which on it explodes; healthy networks of the suite reach 6."""


def first_signals(run: History) -> dict[str, float]:
    """Learning signal of each activation at the first extra pass, relative to that of the last."""
    return {name: course.first for name, course in run.members(SIGNAL).items() if len(course)}


def _find(run: History) -> Sign | None:
    signals = first_signals(run)
    if len(signals) < 3:
        return None
    name = max(signals, key=signals.__getitem__)
    if not signals[name] >= TIMES:
        return None
    return Sign(
        f"At the first extra pass the gradient in {name} is {signals[name] ** 0.5:,.0f} times that in the last "
        "activation: it grows on its way back.",
        {f"{SIGNAL}/{name}": signals[name]},
        since_step=int(run.members(SIGNAL)[name].steps[0]),
        layers=(),
    )


CAUSE = Cause(
    name="exploding signal",
    rule=_find,
    reads=(SIGNAL, ENERGY),
    seen="The loss starts enormous, or becomes NaN in the first steps, in a deep network.",
    means="What goes forward or back grows from layer to layer: first layers get steps that they can't take.",
    sign=f"At the first extra pass the mean squared gradient by the outputs of an activation is {TIMES:g} times that "
    "of the last one, or more.",
    advice="Initialise for the activation (kaiming_normal_ for ReLU, xavier for tanh), normalise between layers, or "
    "add residual connections. Clipping treats the sign, not the cause.",
    mistaken="A network whose last activation gets no gradient of its own.",
    explains=(
        "rate too high",
        "rate too low",
        "saturated units",
        "wrong labels",
        "dead units",
        "no warm-up",
        "data shift",
        "batch too small",
        "layer not trained",
    ),
)
