"""One layer that moves far more than the others: rule and page."""

from __future__ import annotations

from statistics import median_low

from thermo_callbacks.findings.cause import Cause, Sign
from thermo_callbacks.findings.history import History

_FAMILY = "thermo_update_ratio"
TIMES = 10.0
"""A layer's rate over that of the others from which on it stands out: layer-wise decay of fine-tuning stays below."""
MOVES = 0.1
"""Update ratio of a first window that wipes out a layer in ten steps. Healthy first windows of the suite stay below,
but for biases that start at zero."""


def _find(run: History) -> Sign | None:
    rates = {name: rate for name, rate in run.inspected.get("layer_rates", {}).items() if rate > 0.0}
    if len(rates) < 2:
        return None
    usual = median_low(rates.values())  # of two layers the slower one, not the middle between them
    fast = [name for name, rate in rates.items() if rate >= TIMES * usual]
    moves = {name: course.first for name, course in run.members(_FAMILY).items() if name in fast and len(course)}
    if not moves:
        return None
    name = max(moves, key=moves.__getitem__)
    return Sign(
        f"The rate of {name} is {rates[name] / usual:.0f} times that of the other layers, and a step of the first "
        f"window moves it by {moves[name]:.1%} of its size.",
        {f"{_FAMILY}/{name}": moves[name]},
        severity="warning" if moves[name] >= MOVES else "info",
        layers=tuple(fast),
    )


CAUSE = Cause(
    name="layer rate too high",
    rule=_find,
    reads=(_FAMILY,),
    seen="The loss swings or stands, though the rate suits most layers.",
    means="One layer moves far more than the others: what it has learned is wiped out while they follow.",
    sign=f"Its rate is {TIMES:g} times the median of the layers or more (of two, the lower one), and a step of the "
    f"first window moves its weights by {MOVES:.0%} of their size. With a smaller move it is only worth knowing.",
    advice="Give the layer the rate of the others, or find out what that factor was for.",
    mistaken="A new head on a trained backbone, which may learn faster on purpose. Some networks bear it: of nine with "
    "a layer at 100 times the rate of the others three trained as well as without.",
    explains=(
        "rate too high",
        "dead units",
        "saturated units",
        "layer not trained",
        "exploding signal",
        "vanishing signal",
        "wrong labels",
        "batch too small",
        "no warm-up",
        "rate too low",
        "data shift",
    ),
)
