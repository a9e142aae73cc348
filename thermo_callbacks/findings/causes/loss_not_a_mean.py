"""A loss that is a sum: rule and page."""

from __future__ import annotations

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History


def _find(run: History) -> Sign | None:
    if not run.inspected.get("loss_is_summed"):
        return None
    text = "The loss is a sum over the samples of the batch, not their mean (seen in its graph)."
    return Sign(text, {}, severity="info")


CAUSE = Cause(
    name="loss not a mean",
    rule=_find,
    reads=(),
    seen="The rate that works for others diverges, and the best rate changes with the batch.",
    means="The loss, and with it the gradient, grows with the batch. A rate that suits one batch size is too high "
    "for a larger one, and the last, smaller batch of an epoch counts less.",
    sign="The last operation of the loss is a reduction by sum. It is only worth knowing, unless the rate proves too "
    "high as well.",
    advice='Use reduction="mean", or divide the rate by the size of the batch.',
    mistaken="Adam does not mind the scale of a loss.",
    explains=(
        "rate too high",
        "dead units",
        "saturated units",
        "layer not trained",
        "rate too low",
        "wrong labels",
        "exploding signal",
        "clipping too strong",
        "no warm-up",
        "batch too small",
        "data shift",
    ),
)
