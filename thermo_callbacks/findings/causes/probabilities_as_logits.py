"""Probabilities given to a loss that expects logits: rule and page."""

from __future__ import annotations

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History


def _find(run: History) -> Sign | None:
    squashed = run.inspected.get("probabilities_as_logits")
    if not squashed:
        return None
    return Sign(
        f"The outputs go through a {squashed}, and then into a loss that expects them raw and applies one itself (seen "
        "in the graph of the first step's loss).",
        {},
        advice=f"Leave the {squashed} out of what goes into the loss; apply it only to predict.",
    )


CAUSE = Cause(
    name="probabilities as logits",
    rule=_find,
    reads=(),
    seen="The loss comes down slowly and stops far above zero, though accuracy grows.",
    means="Cross-entropy and its like expect raw outputs (logits). Given probabilities it squashes them once more: its "
    "gradient is small, and the loss can't come near zero.",
    sign="In the graph of the loss a softmax or sigmoid feeds a log-softmax, or a binary cross-entropy with logits, "
    "with nothing but changes of shape between them.",
    advice="Leave the softmax (or sigmoid) out of what goes into the loss; apply it only to predict.",
    mistaken="Hardly ever: a second softmax on purpose, as a temperature.",
    explains=("rate too low", "wrong labels"),
)
