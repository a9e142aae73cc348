"""What curvature, entropy and the change of state say of a run, in sentences that the values support."""

from __future__ import annotations

import math

from thermo_callbacks.catalog import members
from thermo_callbacks.display.text.numbers import number, percent
from thermo_callbacks.display.text.statements import CLEARLY, Record, Statement, StepSpan, highest

_SHAKE = 0.01  # displacement of each weight in the example


def read_curvature(record: Record, span: StepSpan) -> Statement:
    """Say how curved the loss is, and in which layer; nothing without a Laplacian and its error."""
    value, error = _estimate(record, "laplacian")
    if math.isnan(value) or math.isnan(error):
        return Statement("Curvature")
    evidence = (
        f"the trace of the Hessian of the loss is {number(value)}, with a standard error of {error:.2g}, at the last "
        f"extra pass {span.so_far}"
    )
    if abs(value) <= CLEARLY * error:
        return Statement(
            "Curvature", untold=(f"which way the loss curves (trace of the Hessian {number(value)} ± {error:.2g})",)
        )
    if value < 0.0:
        text = f"the loss curves downwards on balance, as on a saddle: {evidence}. The run is in no valley yet."
        return Statement("Curvature", text)
    rise = number(0.5 * _SHAKE**2 * value)
    text = (
        f"the loss curves upwards on balance: {evidence}. Shake every weight by {_SHAKE:g}, up or down at random, and "
        f"the loss rises by about {rise}."
    )
    ranking, why = highest(record, "thermo_laplacian")
    if ranking:
        text += f" {_most_curved(ranking[-1], members(record, 'thermo_laplacian'))}"
    return Statement("Curvature", text, (f"which layer is most curved ({why})",) if why else ())


def _most_curved(name: str, layers: Record) -> str:
    # with layers that curve downwards the shares of the others would exceed the whole
    whole = all(0.0 <= value < math.inf for value in layers.values())
    share = f", with {percent(layers[name] / sum(layers.values()))} of it" if whole else ""
    return f"The most curved layer is {name}{share}."


def read_entropy(record: Record, span: StepSpan) -> Statement:
    """Say whether entropy falls, is balanced or grows where a window resolves it; nothing without a verdict."""
    names = ("thermo/entropy_production", "thermo/second_law", "thermo/resolved_share")
    production, verdict, share = (record.get(name, math.nan) for name in names)
    rate, error = _estimate(record, "entropy_rate")
    if any(map(math.isnan, (production, verdict, rate))):
        return Statement("Entropy")
    # never more than what is resolved: the balance is that of a few directions, and of the rest nothing is known
    where = "in the most curved directions" if math.isnan(share) else (
        f"in the most curved directions, which hold {percent(share)} of all that is destroyed"
    )  # fmt: skip
    evidence = (
        f"learning destroys {number(production - rate)} nats per step and noise puts back {number(production)}, "
        f"{span.so_far}"
    )
    score = abs(rate / error) if error > 0.0 else math.nan
    sure = "by more than the errors" if math.isnan(score) else f"by {number(float(f'{score:.2g}'))} standard errors"
    if verdict < 0.0:
        return Statement(
            "Entropy", f"it falls {where}, {sure}: {evidence}. The weights are still being pulled together."
        )
    if verdict > 0.0:
        meaning = "Noise spreads the weights faster than the loss pulls them together."
        return Statement("Entropy", f"it grows {where}, {sure}: {evidence}. {meaning}")
    # a flag of 0 says that no difference is shown: to be a balance, one as large as a side would have had to show
    if error > (production - rate) / CLEARLY:
        return Statement("Entropy", untold=("whether entropy falls or grows, the errors are too large",))
    meaning = "Of the other directions nothing is known."
    return Statement("Entropy", f"it is balanced {where}, within the errors: {evidence}. {meaning}")


def read_transition(record: Record, span: StepSpan) -> Statement:
    """Say what the change of state since the start cost; nothing without a temperature that differs from zero."""
    value, error = _estimate(record, "transition_temperature")
    if not math.isfinite(value) or value == 0.0 or abs(value) <= CLEARLY * error:
        return Statement("Transition")
    way = "the same way" if value > 0.0 else "in opposite ways"
    return Statement(
        "Transition",
        f"loss and entropy of the weights' values have changed {way} since the start, {span.so_far}: "
        f"{number(abs(value))} of loss for each nat.",
    )


def _estimate(record: Record, name: str) -> tuple[float, float]:
    """Value and standard error, NaN where there is none."""
    return record.get(f"thermo/{name}", math.nan), record.get(f"thermo/{name}_stderr", math.nan)
