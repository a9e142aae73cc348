"""Weight decay that rules the weights: rule and page."""

from __future__ import annotations

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History
from thermo_callbacks.findings.readings import ENERGY, fallen

_TAG = "thermo/decay_share"
RULES = 0.2
"""Share of a step from which on decay rules: noise counts as push, so the mean push is weaker than it looks. Healthy
runs of the suite stay below 0.07 while they learn."""

MUCH = 0.8
"""Part of the loss whose going says that decay does no harm."""


def _find(run: History) -> Sign | None:
    share = run[_TAG].part(0.0, 0.5).median
    gone = fallen(run)
    if not share >= RULES or len(run[_TAG]) < 3 or gone >= MUCH:
        return None
    return Sign(
        f"Weight decay makes {share:.0%} of what moves the weights in a step (median of the first half up to step "
        f"{run.step}), and {max(0.0, gone):.0%} of the loss has gone.",
        {_TAG: share},
        since_step=int(run[_TAG].steps[0]),
    )


CAUSE = Cause(
    name="weight decay too strong",
    rule=_find,
    reads=(_TAG, ENERGY),
    seen="Weights shrink, and the loss stays near the level of chance.",
    means="Decay, not the loss, decides the size of the weights: what the gradient adds is taken off again.",
    sign=f"The share of decay in a step is {RULES} or more in the first half of the run, and less than 80 % of the "
    "loss has gone. Late in a run, where gradients are small, it says little.",
    advice="Lower weight_decay ten times. AdamW multiplies it by the rate: 0.01 to 0.1 is common.",
    mistaken="Weights before a normalisation, whose size does not matter.",
    explains=(
        "rate too high",
        "rate too low",
        "wrong labels",
        "dead units",
        "vanishing signal",
        "no warm-up",
        "batch too small",
        "layer not trained",
    ),
)
