"""Targets that the inputs do not tell: rule and page."""

from __future__ import annotations

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History
from thermo_callbacks.findings.readings import (
    EFFICIENCY,
    ENERGY,
    STEP_READS,
    TRANSFER,
    chance_above,
    chance_below,
    fallen,
    has_settled,
    late_steps,
)

_SIGNAL = "thermo/signal_share"
LITTLE = 0.3
"""Part of the loss that is gone by half of a run whose targets can be told."""
LEARNS, EDGE = 0.3, 0.5
"""Signal share of gradients that a run learns from, and step efficiency of the exact line search."""
NO_SIGNAL = 0.12
"""Signal share below which a gradient is noise for the most part."""
IN_ORDER = 0.7
"""Step efficiency of steps that don't overshoot."""


def _find(run: History) -> Sign | None:
    if not has_settled(run):
        return None
    steps, gone, signal = late_steps(run), fallen(run), run[_SIGNAL].part(0.25).median
    if not (gone < LITTLE and steps.efficiency >= IN_ORDER and signal < NO_SIGNAL and steps.transfer < 0.3):
        return None
    return Sign(
        f"{max(0.0, gone):.0%} of the loss has gone up to step {run.step}, steps are in order (efficiency "
        f"{steps.efficiency:.2f}), and gradients are noise: their signal share is {signal:.2f}. There is nothing that "
        "batches have in common.",
        {_SIGNAL: signal, EFFICIENCY: steps.efficiency, TRANSFER: steps.transfer},
        since_step=int(run[EFFICIENCY].steps[0]),
        chance=max(chance_below(run, _SIGNAL, LEARNS, 0.25), chance_above(run, EFFICIENCY, EDGE)),
    )


CAUSE = Cause(
    name="wrong labels",
    rule=_find,
    measured=True,
    reads=(_SIGNAL, f"{_SIGNAL}_stderr", ENERGY, *STEP_READS),
    seen="The loss stays near that of a guess, whatever the rate.",
    means="Targets have little to do with the inputs: misaligned, shuffled, or wrong for many samples.",
    sign=f"By half of the run less than {LITTLE:.0%} of the loss has gone, though steps don't overshoot (efficiency "
    f"{IN_ORDER} or more): the signal share of the gradients is below {NO_SIGNAL}, and one batch gains nothing from "
    "another's step.",
    advice="Look at some samples with their targets as they leave the loader. Train on 20 samples: they can be "
    "learned by heart also with wrong labels; if not, look for the fault in the network.",
    mistaken="A task that is that noisy, as prices are, or a run that is at the floor of its loss.",
)
