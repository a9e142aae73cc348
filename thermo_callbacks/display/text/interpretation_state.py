"""What curvature, entropy and the change of state say of a run, in sentences that the values support."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from thermo_callbacks.catalog import members
from thermo_callbacks.display.text.numbers import number, percent

Record = Mapping[str, float]

_CLEARLY = 2.0  # standard errors between two values that are called different
_SHAKE = 0.01  # displacement of each weight in the example


def read_curvature(record: Record) -> str:
    """Say how curved the loss is, and in which layer; nothing without a Laplacian and its error."""
    value, error = _estimate(record, "laplacian")
    if math.isnan(value) or math.isnan(error):
        return ""
    text = f"Curvature: the Laplacian of the loss is {number(value)}, with a standard error of {error:.2g}."
    if abs(value) <= _CLEARLY * error:
        return f"{text} Within its error it can't be told from zero."
    if value < 0.0:
        return f"{text} Below zero the loss curves downwards on balance, as on a saddle: the run is in no valley yet."
    rise = number(0.5 * _SHAKE**2 * value)
    text += f" Shake every weight by {_SHAKE:g}, up or down at random, and the loss rises by about {rise}."
    return f"{text} {_most_curved(record)}".rstrip()


def _most_curved(record: Record) -> str:
    def told(ranking: Sequence[str], layers: Record) -> str:
        # with layers that curve downwards the shares of the others would exceed the whole
        whole = all(0.0 <= value < math.inf for value in layers.values())
        share = f", with {percent(layers[ranking[-1]] / sum(layers.values()))} of it" if whole else ""
        return f"The most curved layer is {ranking[-1]}{share}."

    return read_highest(record, "thermo_laplacian", "more curved", told)


def read_highest(record: Record, family: str, comparative: str, told: Callable[[Sequence[str], Record], str]) -> str:
    """Say which layer has the highest value: as ``told`` of names in rising order, where that is beyond the errors."""
    values = members(record, family)
    ranking = sorted((name for name in values if math.isfinite(values[name])), key=values.__getitem__)
    if len(ranking) < 2:
        return ""
    second, most = ranking[-2:]
    errors = [record.get(f"{family}_stderr/{name}", math.nan) for name in (second, most)]
    if any(map(math.isnan, errors)):
        return f"The layer {most} reads highest."
    if values[most] - values[second] > _CLEARLY * math.hypot(*errors):
        return told(ranking, values)
    return f"The layers {most} and {second} read highest, and their errors are too large to say which is {comparative}."


def read_entropy(record: Record) -> str:
    """Say whether entropy falls, is balanced or grows where a window resolves it; nothing without a verdict."""
    names = ("thermo/entropy_production", "thermo/second_law", "thermo/resolved_share")
    production, verdict, share = (record.get(name, math.nan) for name in names)
    rate, error = _estimate(record, "entropy_rate")
    if any(map(math.isnan, (production, verdict, rate))):
        return ""
    # never more than what is resolved: the balance is that of a few directions, and of the rest nothing is known
    where = "in the most curved directions" if math.isnan(share) else (
        f"in the most curved directions, which hold {percent(share)} of all that is destroyed"
    )  # fmt: skip
    text = (
        f"Entropy: {where}, learning destroys {number(production - rate)} nats per step and noise puts back "
        f"{number(production)}."
    )
    score = abs(rate / error) if error > 0.0 else math.nan
    sure = "by more than the errors" if math.isnan(score) else f"by {number(float(f'{score:.2g}'))} standard errors"
    if verdict < 0.0:
        return f"{text} There it falls, {sure}: the weights are still being pulled together."
    if verdict > 0.0:
        return f"{text} There it grows, {sure}: noise spreads the weights faster than the loss pulls them together."
    # a flag of 0 says that no difference is shown: to be a balance, one as large as a side would have had to show
    if error > (production - rate) / _CLEARLY:
        return f"{text} The errors are too large to tell whether they balance."
    return f"{text} Within the errors they balance there; of the other directions nothing is known."


def read_transition(record: Record) -> str:
    """Say what the change of state since the start cost; nothing without a temperature that differs from zero."""
    value, error = _estimate(record, "transition_temperature")
    if not math.isfinite(value) or value == 0.0 or abs(value) <= _CLEARLY * error:
        return ""
    way = "the same way" if value > 0.0 else "in opposite ways"
    return (
        f"Transition: since the start, loss and entropy of the weights' values have changed {way}, "
        f"{number(abs(value))} of loss for each nat."
    )


def _estimate(record: Record, name: str) -> tuple[float, float]:
    """Value and standard error, NaN where there is none."""
    return record.get(f"thermo/{name}", math.nan), record.get(f"thermo/{name}_stderr", math.nan)
