"""A signal that shrinks from layer to layer: rule and page."""

from __future__ import annotations

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.causes.dead_units import dead_modules
from thermo_callbacks.findings.causes.exploding_signal import SIGNAL, first_signals, is_gradual
from thermo_callbacks.findings.causes.saturated_units import saturated_from_the_start
from thermo_callbacks.findings.history import History

SHARE = 1e-4
"""Learning signal of a layer over that of the last from which on it has vanished; healthy networks of the suite start
at 0.02 or more."""


def _find(run: History) -> Sign | None:
    signals = first_signals(run)
    name = min(signals, key=signals.__getitem__, default="")
    if not name or not signals[name] <= SHARE or not is_gradual(signals, name):
        return None
    # one module that is dead or saturated from the start stops it at once: that is the cause then
    if any(each.from_the_start for each in dead_modules(run)) or saturated_from_the_start(run):
        return None
    return Sign(
        f"At the first extra pass the gradient in {name} is {signals[name] ** 0.5:.1g} of that in the last "
        "activation: it is lost on its way back.",
        {f"{SIGNAL}/{name}": signals[name]},
        since_step=int(run.members(SIGNAL)[name].steps[0]),
    )


CAUSE = Cause(
    name="vanishing signal",
    rule=_find,
    reads=(SIGNAL, "thermo_dead_fraction", "thermo_saturated_fraction"),
    seen="A deep network stands at the level of chance, its last layers move and its first don't.",
    means="What goes forward or back shrinks from layer to layer: first layers get no gradient worth the name.",
    sign=f"At the first extra pass the mean squared gradient by the outputs of an activation is {SHARE:g} of that of "
    "the last one or less, and no single module stops it.",
    advice="Initialise for the activation (kaiming_normal_ for ReLU, xavier for tanh), normalise between layers, or "
    "add residual connections.",
    mistaken="A branch that is closed at the start on purpose.",
    explains=("rate too low", "wrong labels", "dead units", "layer not trained", "rate too high"),
)
