"""A signal that grows from layer to layer: rule and page."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History

SIGNAL = "thermo_learning_signal"
TIMES = 300.0
"""Learning signal of a layer over that of the last from which on it explodes; healthy networks of the suite reach 6."""

ONE_PLACE = 0.7
"""Part of the whole change, in logarithms, that one layer may make of it: beyond, that layer is to blame."""


def first_signals(run: History) -> dict[str, float]:
    """Learning signal of each activation at the first extra pass, relative to that of the last, in forward order.

    Returns:
        Name to signal; empty for fewer than three, and for networks of several optimizers, whose activations are not
        in one chain.
    """
    found = {name: course.first for name, course in run.members(SIGNAL).items() if len(course)}
    return found if len(found) >= 3 and len(run.facts.get("optimizers", [])) < 2 else {}


def is_gradual(signals: Mapping[str, float], name: str) -> bool:
    """Whether a signal changes from layer to layer on its way back to an activation, and not at one place."""
    names = list(signals)
    way = np.log(np.maximum([signals[each] for each in names[names.index(name) :]], 1e-300))
    changes = np.abs(np.diff(way))
    return bool(len(changes) >= 2 and changes.max() <= ONE_PLACE * changes.sum())


def _find(run: History) -> Sign | None:
    signals = first_signals(run)
    name = max(signals, key=signals.__getitem__, default="")
    if not name or not signals[name] >= TIMES or not is_gradual(signals, name):
        return None
    return Sign(
        f"At the first extra pass the gradient in {name} is {signals[name] ** 0.5:,.0f} times that in the last "
        "activation: it grows on its way back.",
        {f"{SIGNAL}/{name}": signals[name]},
        since_step=int(run.members(SIGNAL)[name].steps[0]),
    )


CAUSE = Cause(
    name="exploding signal",
    rule=_find,
    reads=(SIGNAL,),
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
