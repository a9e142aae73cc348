"""What the activations say of a run, in sentences that the values support."""

from __future__ import annotations

import math
from collections.abc import Mapping

from thermo_callbacks.catalog import members
from thermo_callbacks.display.text.numbers import number, percent

Record = Mapping[str, float]

_ALIKE = 0.02  # difference of two efficiencies of one batch that means nothing
_SOME_DEAD = 0.01
_MANY_DEAD = 0.5


def read_engines(record: Record) -> str:
    """Say which activation wastes most work, and where units are dead; nothing without a work efficiency."""
    work = members(record, "thermo_work_efficiency")
    known = {name: value for name, value in work.items() if math.isfinite(value)}
    if not known:
        return ""
    sentences = [_least(known, record), *_driven(known), *_dead(record)]
    return "Activations: " + " ".join(sentences)


def _least(work: Mapping[str, float], record: Record) -> str:
    ranking = sorted(work, key=work.__getitem__)
    least, share = ranking[0], percent(work[ranking[0]])
    learning = record.get(f"thermo_learning_efficiency/{least}", math.nan)
    back = "" if math.isnan(learning) else f", and of that of the learning signal it lets {percent(learning)} back"
    if len(ranking) == 1:
        return f"{least} passes on {share} of the power that comes in{back}."
    if work[ranking[-1]] - work[least] < _ALIKE:
        return f"all pass on about the same share of the power that comes in, {share}."
    if work[ranking[1]] - work[least] < _ALIKE:
        return f"{least} and {ranking[1]} pass on least of the power that comes in, both about {share}."
    return f"{least} wastes most: of the power that comes in it passes on {share}{back}."


def _driven(work: Mapping[str, float]) -> list[str]:
    most = max(work, key=work.__getitem__)
    if work[most] <= 1.0 + _ALIKE:
        return []
    return [f"{most} gives out more than it takes in, {number(work[most])} times as much."]


def _dead(record: Record) -> list[str]:
    dead = {name: value for name, value in members(record, "thermo_dead_fraction").items() if value >= _SOME_DEAD}
    if not dead:
        return []
    most = max(dead, key=dead.__getitem__)
    text = f"In {most}, {percent(dead[most])} of the units never left the flat part of the function in the batch"
    if dead[most] >= _MANY_DEAD:
        text += ", more than do anything: a smaller learning rate or an activation that is never flat may help"
    return [text + "."]
