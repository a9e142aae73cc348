"""Layers that no step changes: rule and page."""

from __future__ import annotations

from collections.abc import Mapping

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History

_TAG = "thermo/untrained_share"
_ON_PURPOSE = "frozen"
MOST = 0.5
"""Share of frozen weights from which on a model is meant to be so: adapters are trained between frozen layers too."""
_MISTAKES = ("in no optimizer", "no gradient", "learning rate zero")


def _find(run: History) -> Sign | None:
    reasons: Mapping[str, str] = run.facts.get("untrained_layers", {})
    whole = {label: reason for label, reason in reasons.items() if not label.endswith(")")}  # not single parameters
    mistakes = {label: reason for label, reason in whole.items() if reason in _MISTAKES}
    frozen = [label for label, reason in whole.items() if reason == _ON_PURPOSE]
    if mistakes:
        label, reason = next(iter(mistakes.items()))
        more = f", and {len(mistakes) - 1} more layers" if len(mistakes) > 1 else ""
        text = f"No step up to step {run.step} has changed {label} ({reason}){more}, though it requires a gradient."
        return Sign(text, {_TAG: run[_TAG].last}, severity="warning", layers=tuple(mistakes))
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
