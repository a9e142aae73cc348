"""Constants of Adam and its like: rule and page."""

from __future__ import annotations

import math

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History

_SHARE = "thermo/epsilon_share"
RULES = 0.5
"""Share of the denominator from which on the constant rules it."""


def _find(run: History) -> Sign | None:
    share = run[_SHARE].part(0.0, 0.5).median
    if share >= RULES:
        return Sign(
            f"eps is {share:.0%} of the denominator (median of the first half up to step {run.step}): steps follow "
            "the size of the gradient, with a rate of lr / eps.",
            {_SHARE: share},
            advice="Set eps back to 1e-8, or raise the rate as many times as eps is larger.",
        )
    for optimizer in run.facts.get("optimizers", []):
        first, second = optimizer.get("momentum"), optimizer.get("second_memory")
        if isinstance(first, float) and isinstance(second, float) and 0.0 < second < 1.0:
            bound = first**2 / math.sqrt(second)
            if bound >= 1.0:
                return Sign(
                    f"betas are {first:g} and {second:g}: the size of the gradient is forgotten faster than its "
                    f"direction, and beta1² / sqrt(beta2) is {bound:.2f}, where Adam needs less than 1.",
                    {},
                    advice="Set beta2 to 0.99 or 0.999.",
                )
    return None


CAUSE = Cause(
    name="optimizer constants",
    rule=_find,
    reads=(_SHARE,),
    seen="Adam learns as slowly as with a tiny rate, or is restless at a usual one.",
    means="A constant of the optimizer other than its rate stifles it, or makes it restless.",
    sign="Adam's eps is half of its denominator or more in the first half of the run; or beta1² is not below "
    "sqrt(beta2), the condition of its convergence (Kingma and Ba 2015).",
    advice="Go back to the defaults: eps 1e-8, betas 0.9 and 0.999.",
    mistaken="Gradients that are tiny on purpose, as of a loss scaled down.",
    explains=("rate too low", "rate too high", "layer not trained", "dead units", "no warm-up", "batch too small"),
)
