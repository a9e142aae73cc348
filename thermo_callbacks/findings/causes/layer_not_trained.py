"""Layers that no step changes: rule and page."""

from __future__ import annotations

from collections.abc import Mapping

from thermo_callbacks.catalog.untrained import FORGOTTEN, FROZEN, NO_GRADIENT, RATE_ZERO
from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.finding import listed
from thermo_callbacks.findings.history import History

_TAG = "thermo/untrained_share"
MOST = 0.5
"""Share of frozen weights from which on a model is meant to be so: adapters are trained between frozen layers too."""
_MISTAKES = {
    FORGOTTEN: "Give all parameters to the optimizer in configure_optimizers(), or set requires_grad_(False) "
    "on what is meant to rest.",
    NO_GRADIENT: "Look for detach(), no_grad() or .data on the way from there to the loss, or leave out what is not "
    "used.",
    RATE_ZERO: "Set the learning rate of its parameter group.",
}
"""Reasons for which nobody freezes a layer, and what to do about each."""


def _find(run: History) -> Sign | None:
    reasons: Mapping[str, str] = run.facts.get("untrained_layers", {})
    whole = {label: reason for label, reason in reasons.items() if not label.endswith(")")}  # not single parameters
    mistakes = {label: reason for label, reason in whole.items() if reason in _MISTAKES}
    frozen = [label for label, reason in whole.items() if reason == FROZEN]
    if mistakes:
        reason = next(iter(mistakes.values()))
        layers = tuple(label for label, why in mistakes.items() if why == reason)
        return Sign(
            f"No step so far (up to {run.step}) has changed {listed(layers)}: {reason}, though gradients are required.",
            {_TAG: run[_TAG].last},
            layers=layers,
            advice=_MISTAKES[reason],
        )
    if not frozen:
        return None
    # most of a model is frozen on purpose, and so is one end of it: a backbone
    between = [name for name in run.inspected.get("frozen_between", []) if run[_TAG].last < MOST]
    text = f"{len(frozen)} layer{'s are' if len(frozen) > 1 else ' is'} frozen, {run[_TAG].last:.0%} of the weights."
    if between:
        text += f" {between[0]} lies between layers that are trained."
    return Sign(
        text,
        {_TAG: run[_TAG].last},
        severity="warning" if between else "info",
        layers=tuple(between or frozen),
        advice="Right if you froze it on purpose. If not: set requires_grad_(True) before the optimizer is made.",
    )


CAUSE = Cause(
    name="layer not trained",
    rule=_find,
    reads=(_TAG,),
    seen="The run learns less than it should, and nothing looks wrong.",
    means="A layer that no step changes: frozen, detached from the loss, or not given to the optimizer.",
    sign="Read off the parameters: in no optimizer, without a gradient in a whole window, with a rate of zero, or "
    "frozen. Frozen layers are only worth knowing, unless trained ones lie before and behind them and most of the "
    "model is trained.",
    advice="Give it to the optimizer; or look for detach(), no_grad() or .data on the way from it to the loss.",
    mistaken="Layers that are used now and then, and those frozen on purpose.",
    explains=("rate too low", "wrong labels", "vanishing signal", "batch too small", "no warm-up"),
)
