"""Gradients that are not set to zero: rule and page."""

from __future__ import annotations

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History

_TAG = "thermo/kept_gradient"
_SHARE = 0.01


def _find(run: History) -> Sign | None:
    course = run[_TAG]
    kept = course.values > _SHARE
    # the first look may come before there was anything to keep
    if not kept.any() or kept[1:].mean() < 0.5:
        return None
    since = int(course.steps[kept.argmax()])
    share = float(course.values[kept].mean())
    return Sign(
        f"Before the backward pass of a step there already is a gradient, {share:.0%} of the size that the step then "
        f"has (steps {since} to {run.step}).",
        {_TAG: share},
        since_step=since,
        severity="critical",
    )


CAUSE = Cause(
    name="gradients not zeroed",
    rule=_find,
    reads=(_TAG,),
    seen="The loss falls at first, then swings more and more or stands at the level of chance, at any rate.",
    means="Gradients of all steps before are part of each step: they pile up, and the step grows without end.",
    sign="The norm of the gradients right before the first backward pass of a step is above a hundredth of that after "
    "it. It is exactly zero where they were cleared.",
    advice="Call optimizer.zero_grad() in each step. In Lightning: look at your own optimizer_zero_grad.",
    mistaken="Accumulation by hand in automatic optimization.",
    explains=(
        "rate too high",
        "dead units",
        "saturated units",
        "layer not trained",
        "wrong labels",
        "rate too low",
        "momentum too high",
        "batch too small",
        "no warm-up",
        "data shift",
        "layer rate too high",
    ),
)
