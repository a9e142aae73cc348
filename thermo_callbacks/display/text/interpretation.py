"""What the values of a run say, in sentences that they support."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from thermo_callbacks.catalog import members
from thermo_callbacks.display.text.interpretation_engines import read_engines
from thermo_callbacks.display.text.interpretation_state import (
    read_curvature,
    read_entropy,
    read_highest,
    read_transition,
)
from thermo_callbacks.display.text.numbers import number

Record = Mapping[str, float]

_CLEARLY = 2.0  # standard errors between two values that are called different
_NEAR_ONE = 0.1
_FAR_FROM_ONE = 1.0


def read_run(records: Sequence[Record], *, batch_size: int) -> list[str]:
    """Say what the values of each window, at least one, mean for this run: a paragraph a subject that has values."""
    # each sentence follows from the values by a simple rule, and differences within the errors are called that
    last = records[-1]
    paragraphs = [
        _read_energy(records),
        _read_temperature(records),
        _read_equilibrium(last),
        _read_noise(last, batch_size),
        read_curvature(last),
        read_entropy(last),
        read_engines(last),
        read_transition(last),
    ]
    return [paragraph for paragraph in paragraphs if paragraph]


def _read_energy(records: Sequence[Record]) -> str:
    first, last = records[0], records[-1]
    start, end = first.get("thermo/internal_energy", math.nan), last.get("thermo/internal_energy", math.nan)
    heat = last.get("thermo/heat", math.nan)
    if "thermo/heat" in last and math.isnan(heat):
        return "Loss: some steps were not finite, so the heat has no value; a smaller learning rate may help."
    if math.isnan(start) or math.isnan(end) or math.isnan(heat):
        return ""
    text, fall = f"Loss: {number(end)} in the only window. ", math.nan
    if len(records) > 1:
        text, fall = f"Loss: {number(start)} in the first window, {number(end)} in the last. ", start - end
    if fall <= 0.0:
        return text + "It did not fall; a smaller learning rate may help."
    if heat >= 0.0:
        return text.rstrip()
    text += (
        "Judged by its slope, each step lowers the loss of its own batch; added up over all steps (the heat), that "
        f"comes to {number(-heat)}. "
    )
    if -heat > 2.0 * fall:
        text += (
            f"The loss itself fell by {number(fall)}: most of that gain is lost to overshooting and to the batches "
            "that follow. "
        )
    return (text + _largest_share(last)).rstrip()


def _largest_share(last: Record) -> str:
    layers = members(last, "thermo_temperature")
    shares = {name: last.get(f"thermo_heat/{name}", math.nan) / last["thermo/heat"] for name in layers}
    # with layers that heat up the shares of the others would exceed the whole
    if len(shares) < 2 or not all(share >= 0.0 for share in shares.values()):
        return ""
    name = max(shares, key=shares.__getitem__)
    return f"The largest part of the heat is that of {name}, {100 * shares[name]:.0f} %."


def _read_temperature(records: Sequence[Record]) -> str:
    last = records[-1]
    value, lower, upper = _temperature(last)
    if math.isnan(lower) or math.isnan(upper):
        return ""
    text = (
        f"Temperature, how hard the noise of the batches shakes the weights: {number(value)}, a number to compare "
        "layers, moments and runs by."
    )
    if lower <= 0.0:
        return text + " Within its error it can't be told from zero."
    return " ".join(filter(None, [text, _course(records), _hottest_layer(last)]))


def _course(records: Sequence[Record]) -> str:
    """How the temperature has changed, where intervals that don't overlap show that it has."""
    known = [interval for record in records if not math.isnan((interval := _temperature(record))[0])]
    if len(known) < 2:
        return ""
    (_, first_lower, first_upper), (_, last_lower, last_upper) = known[0], known[-1]
    peak, peak_lower, _ = max(known)
    if peak_lower > first_upper and peak_lower > last_upper:
        return f"It rose to {number(peak)} at first and has fallen since, both by more than the errors."
    if last_lower > first_upper:
        return "It has risen since the first window, by more than the errors."
    if last_upper < first_lower:
        return "It has fallen since the first window, by more than the errors."
    return "Since the first window it has not changed by more than the errors."


def _temperature(record: Record) -> tuple[float, float, float]:
    """Temperature of the whole model and the ends of its 95 % interval, NaN where there is none."""
    value, lower, upper = (record.get(f"thermo/temperature{end}", math.nan) for end in ("", "_lower", "_upper"))
    return value, lower, upper


def _hottest_layer(last: Record) -> str:
    def told(ranking: Sequence[str], temperatures: Record) -> str:
        second, hottest = ranking[-2:]
        factor = ""
        if temperatures[second] > 0.0:
            factor = f", {number(temperatures[hottest] / temperatures[second])} times as hot as {second}, the next"
        return f"The hottest layer is {hottest}{factor}."

    return read_highest(last, "thermo_temperature", "hotter", told)


def _read_equilibrium(last: Record) -> str:
    ratio = last.get("thermo/equilibrium_ratio", math.nan)
    if math.isnan(ratio):
        return ""
    error, distance = last.get("thermo/equilibrium_ratio_stderr", math.nan), abs(ratio - 1.0)
    text = f"Equilibrium: the ratio is {number(ratio)}"
    text += "" if math.isnan(error) else f", with a standard error of {error:.2g}"
    stillness = (
        "the size of the weights stands still, as it must in equilibrium. That alone is no proof; the loss has to "
        "stand still too."
    )
    if distance <= _NEAR_ONE and not error > _NEAR_ONE:
        return f"{text}. That is close to 1: {stillness}"
    if distance <= _CLEARLY * error:
        return f"{text}. Within its error that can't be told from 1. If it is 1, {stillness}"
    change = "growing" if ratio < 1.0 else "shrinking"
    where = "far from 1" if distance > _FAR_FROM_ONE else "not 1"
    return f"{text}. That is {where}: the weights were still {change} in the last window, so it was no equilibrium."


def _read_noise(last: Record, batch_size: int) -> str:
    scale, lower, upper = (last.get(f"thermo/noise_scale{end}", math.nan) for end in ("", "_lower", "_upper"))
    if math.isnan(scale):
        return ""
    low, high = (number(float(f"{end:.2g}")) if math.isfinite(end) else "" for end in (lower, upper))
    if high:
        text = f"Noise: the noise scale is about {number(float(f'{scale:.2g}'))} samples ({low} to {high}), "
    else:
        text = f"Noise: the noise scale is at least {low} samples, "
    if lower > batch_size:
        return text + (
            f"above the batch of {batch_size}: a step follows the noise more than the slope, and a larger batch would "
            "make each step better."
        )
    if upper < batch_size:
        return text + (
            f"below the batch of {batch_size}: a step follows the slope more than the noise, and a larger batch would "
            "add little."
        )
    return text + f"and the batch of {batch_size} is within that: a step follows slope and noise in about equal parts."
