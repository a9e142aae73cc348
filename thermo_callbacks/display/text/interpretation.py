"""What the values of a run say, in sentences that they support: verdict, evidence, action, and the steps they cover."""

from __future__ import annotations

import math
from collections.abc import Sequence

from thermo_callbacks.catalog import members
from thermo_callbacks.display.text.interpretation_engines import read_engines
from thermo_callbacks.display.text.interpretation_state import read_curvature, read_entropy, read_transition
from thermo_callbacks.display.text.numbers import number
from thermo_callbacks.display.text.statements import Record, Statement, StepSpan, highest, paragraphs

_LIKELY_MOVES = 0.05  # p-values of a drift
_SURELY_MOVES = 0.01
_NEAR = 4.0  # times the batch, up or down, within which a whole interval of the noise scale means a balance


def read_run(
    records: Sequence[Record], *, steps: Sequence[int], batch_size: int | None, window: int | None = None
) -> list[str]:
    """Say what the values of each window mean for this run.

    Args:
        records: Values after each window, at least one.
        steps: The step of each record.
        batch_size: Samples in a batch; None where nobody knows.
        window: StepSpan in a window; None where nobody knows.

    Returns:
        A paragraph for each subject that the values give a verdict on, and one line of what they don't tell.
    """
    # each sentence follows from the values by a simple rule, and differences within the errors are called that
    last, length = records[-1], window or 0
    span = StepSpan(max(0, steps[0] - length + 1) if length else steps[0], steps[-1], length)
    return paragraphs(
        [
            _read_energy(records, span),
            _read_temperature(records, span),
            _read_equilibrium(last, span),
            _read_noise(last, batch_size, span),
            read_curvature(last, span),
            read_entropy(last, span),
            read_engines(last, span),
            read_transition(last, span),
        ],
        span,
    )


def _read_energy(records: Sequence[Record], span: StepSpan) -> Statement:
    first, last = records[0], records[-1]
    start, end = first.get("thermo/internal_energy", math.nan), last.get("thermo/internal_energy", math.nan)
    heat = last.get("thermo/heat", math.nan)
    if "thermo/heat" in last and not math.isfinite(heat):
        text = f"some steps {span.so_far} were not finite, so the heat has no value. A smaller learning rate may help."
        return Statement("Loss", text)
    if math.isnan(start) or math.isnan(end) or math.isnan(heat):
        return Statement("Loss")
    if len(records) == 1:
        text = f"{number(end)} {span.in_the_last_window}, the only window. {_gain(last, math.nan)}"
        return Statement("Loss", text.rstrip())
    ends = f"{number(start)} in the first window, {number(end)} in the last"
    if end >= start:
        return Statement(
            "Loss",
            f"it did not fall {span.course}: {ends}. Follow the finding if there is one; if there is none, try a "
            "learning rate three times as high, and one three times as low.",
        )
    return Statement("Loss", f"it fell {span.course}: {ends}. {_gain(last, start - end)}".rstrip())


def _gain(last: Record, fall: float) -> str:
    """What the slopes promised, against what the loss fell by."""
    heat = last["thermo/heat"]
    if heat >= 0.0:
        return ""
    text = (
        "Judged by its slope, each step lowers the loss of its own batch; added up over all steps (the heat), that "
        f"comes to {number(-heat)}. "
    )
    if -heat > 2.0 * fall:
        text += (
            f"The loss itself fell by {number(fall)}: most of that gain is lost to overshooting and to the batches "
            "that follow. "
        )
    return text + _largest_share(last)


def _largest_share(last: Record) -> str:
    layers = members(last, "thermo_temperature")
    shares = {name: last.get(f"thermo_heat/{name}", math.nan) / last["thermo/heat"] for name in layers}
    # with layers that heat up the shares of the others would exceed the whole
    if len(shares) < 2 or not all(share >= 0.0 for share in shares.values()):
        return ""
    name = max(shares, key=shares.__getitem__)
    return f"The largest part of the heat is that of {name}, {100 * shares[name]:.0f} %."


def _read_temperature(records: Sequence[Record], span: StepSpan) -> Statement:
    last = records[-1]
    value, lower, upper = _temperature(last)
    if math.isnan(lower) or math.isnan(upper):
        return Statement("Temperature")
    if lower <= 0.0:
        return Statement("Temperature", untold=(f"whether the temperature ({number(value)}) differs from zero",))
    ranking, why = highest(last, "thermo_temperature")
    hottest = ""
    if ranking:
        second, most = ranking[-2:]
        temperatures = members(last, "thermo_temperature")
        factor = ""
        if temperatures[second] > 0.0:
            factor = f", {number(temperatures[most] / temperatures[second])} times as hot as {second}, the next"
        hottest = f" The hottest layer {span.in_the_last_window} is {most}{factor}."
    text = (
        f"{_course(records, span)}{number(value)} {span.in_the_last_window}. It says how hard the noise of the batches "
        f"shakes the weights, a number to compare layers, moments and runs by.{hottest}"
    )
    return Statement("Temperature", text, (f"which layer is hottest ({why})",) if why else ())


def _course(records: Sequence[Record], span: StepSpan) -> str:
    """How the temperature has changed, where intervals that don't overlap show that it has."""
    known = [interval for record in records if not math.isnan((interval := _temperature(record))[0])]
    if len(known) < 2:
        return ""
    (_, first_lower, first_upper), (_, last_lower, last_upper) = known[0], known[-1]
    peak, peak_lower, _ = max(known)
    if peak_lower > first_upper and peak_lower > last_upper:
        rose = f"it rose to {number(peak)} at first and has fallen since"
        return f"{rose}, both by more than the errors {span.course}, and is "
    if last_lower > first_upper:
        return f"it has risen by more than the errors {span.course}, and is "
    if last_upper < first_lower:
        return f"it has fallen by more than the errors {span.course}, and is "
    return f"it has not changed by more than the errors {span.course}, and is "


def _temperature(record: Record) -> tuple[float, float, float]:
    """Temperature of the whole model and the ends of its 95 % interval, NaN where there is none."""
    value, lower, upper = (record.get(f"thermo/temperature{end}", math.nan) for end in ("", "_lower", "_upper"))
    return value, lower, upper


def _read_equilibrium(last: Record, span: StepSpan) -> Statement:
    share, chance = last.get("thermo/drift_share", math.nan), last.get("thermo/drift_p_value", math.nan)
    if math.isnan(share) or math.isnan(chance):
        return Statement("Equilibrium")
    test = f"(drift share {number(share)}, p-value {number(chance)})"
    evidence = f"{span.in_the_last_window} {test}"
    if chance < _SURELY_MOVES:
        return Statement("Equilibrium", f"there was none: the size of the weights was changing steadily {evidence}.")
    if chance < _LIKELY_MOVES:
        return Statement(
            "Equilibrium",
            f"probably none: the size of the weights seems to have been changing steadily {evidence}. In equilibrium "
            "up to one window in twenty reads so by chance, so look at the windows before it.",
        )
    return Statement("Equilibrium", untold=(f"whether there is equilibrium: no steady change shows {test}, no proof",))


def _read_noise(last: Record, batch_size: int | None, span: StepSpan) -> Statement:
    scale, lower, upper = (last.get(f"thermo/noise_scale{end}", math.nan) for end in ("", "_lower", "_upper"))
    if math.isnan(scale) or math.isnan(lower) or batch_size is None:
        return Statement("Noise")
    low, high = (number(float(f"{end:.2g}")) if math.isfinite(end) else "" for end in (lower, upper))
    if high:
        text = f"the noise scale {span.so_far} is about {number(float(f'{scale:.2g}'))} samples ({low} to {high})"
    else:
        text = f"the noise scale {span.so_far} is at least {low} samples"
    if lower > batch_size:
        return Statement(
            "Noise",
            f"a step follows the noise more than the slope: {text}, above the batch of {batch_size}. A larger batch "
            "would make each step better.",
        )
    if upper < batch_size:
        return Statement(
            "Noise",
            f"a step follows the slope more than the noise: {text}, below the batch of {batch_size}. A larger batch "
            "would add little.",
        )
    if batch_size / _NEAR <= lower and upper <= batch_size * _NEAR:
        balance = "a step follows slope and noise in about equal parts"
        return Statement("Noise", f"{balance}: {text}, and the batch is {batch_size}.")
    interval = f"{low} to {high}" if high else f"at least {low}"
    evidence = f"(noise scale {interval} samples, batch {batch_size})"
    return Statement("Noise", untold=(f"whether a step follows slope or noise {evidence}",))
