"""What the activations say of a run, in sentences that the values support."""

from __future__ import annotations

import math
from collections.abc import Mapping

from thermo_callbacks.catalog import members
from thermo_callbacks.display.text.numbers import number, percent
from thermo_callbacks.display.text.statements import Record, Statement, StepSpan

_ALIKE = 0.02  # difference of two efficiencies of one batch that means nothing
_SOME_DEAD = 0.01


def read_engines(record: Record, span: StepSpan) -> Statement:
    """Say which activation wastes most work, and how many units are flat; nothing without a work efficiency."""
    work = members(record, "thermo_work_efficiency")
    known = {name: value for name, value in work.items() if math.isfinite(value)}
    if not known:
        return Statement("Activations")
    sentences = [_least(known, record), *_driven(known), *_flat(record)]
    return Statement("Activations", f"{' '.join(sentences)} So it was at the last extra pass {span.so_far}.")


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


def _flat(record: Record) -> list[str]:
    # no advice: half of the units are flat in healthy networks, and when it is too many is for a finding to say
    dead = {name: value for name, value in members(record, "thermo_dead_fraction").items() if value >= _SOME_DEAD}
    if not dead:
        return []
    most = max(dead, key=dead.__getitem__)
    return [f"In {most}, {percent(dead[most])} of the units never left the flat part of the function in the batch."]
