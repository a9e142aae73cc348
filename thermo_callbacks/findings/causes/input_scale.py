"""Inputs of the wrong size: rule and page."""

from __future__ import annotations

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History

_TAG = "thermo/input_size"
LARGE, SMALL = 30.0, 1.0 / 100.0
"""Far from 1, which initialisations are made for: pixels from 0 to 255 have a size of about 130."""


def _find(run: History) -> Sign | None:
    size = run[_TAG].first
    if not (size >= LARGE or size <= SMALL):
        return None
    normalised = bool(run.inspected.get("normalises_first"))
    return Sign(
        f"The inputs have a root mean square of {size:.3g}; initial weights are made for about 1."
        + (" The first layer normalises them." if normalised else ""),
        {_TAG: size},
        since_step=int(run[_TAG].steps[0]),
        severity="warning" if size >= LARGE and not normalised else "info",
    )


CAUSE = Cause(
    name="input scale",
    rule=_find,
    reads=(_TAG,),
    seen="The first losses are enormous, then everything stands still.",
    means="Inputs are far from the size that the weights were made for: outputs are far too large, and units die or "
    "saturate in the first steps.",
    sign=f"The root mean square of the inputs is above {LARGE:g} or below {SMALL:g}. It is only worth knowing where "
    "they are small, or the first layer with weights normalises them.",
    advice="Standardise each feature: subtract its mean over the training data, divide by its standard deviation "
    "there, and do the same in validation and test.",
    mistaken="A network that normalises its inputs itself.",
    explains=(
        "dead units",
        "saturated units",
        "rate too high",
        "exploding signal",
        "vanishing signal",
        "layer not trained",
        "rate too low",
        "wrong labels",
        "clipping too strong",
        "no warm-up",
        "batch too small",
    ),
)
