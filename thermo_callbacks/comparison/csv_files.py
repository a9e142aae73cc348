"""Activations compared, as comma-separated values."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from thermo_callbacks.comparison.records import MEASURES, RunRecord, SeedEstimate, summarise

_KINDS = ("work_efficiency", "learning_efficiency")


def runs_csv(records: Sequence[RunRecord]) -> str:
    """The raw values: one row a run, with its efficiencies by depth; what was not measured is empty."""
    depths = {kind: max((len(getattr(run, kind)) for run in records), default=0) for kind in _KINDS}
    header = ["activation", "seed", "engine", "status", "message", *(measure.key for measure in MEASURES)]
    header += [f"{kind}_{depth + 1}" for kind, count in depths.items() for depth in range(count)]
    rows = []
    for run in records:
        row: list[object] = [run.activation, run.seed, run.engine, run.status, run.message]
        row += [_number(run.values.get(measure.key, math.nan)) for measure in MEASURES]
        for kind, count in depths.items():
            values = [_number(value) for _, value in getattr(run, kind)]
            row += values + [""] * (count - len(values))
        rows.append(row)
    return _csv([header, *rows])


def summary_csv(records: Sequence[RunRecord]) -> str:
    """Means and intervals: one row an activation.

    Args:
        records: Runs, those of one activation one after another.

    Returns:
        Comma-separated values with a header: for each measure its mean, half its 95 % interval in a column that ends in
        ``_interval``, and the number of runs that finished; what does not exist is empty.
    """
    summaries = summarise(records)
    depth = {kind: max((len(getattr(each, kind)) for each in summaries), default=0) for kind in _KINDS}
    names = [measure.key for measure in MEASURES]
    names += [f"{kind}_{place + 1}" for kind in _KINDS for place in range(depth[kind])]
    header = ["activation", "engine", "runs", "finished"]
    header += [column for name in names for column in (name, f"{name}_interval")]
    rows = []
    for each in summaries:
        estimates = [each.values[measure.key] for measure in MEASURES]
        for kind in _KINDS:
            found = list(getattr(each, kind))
            estimates += found + [SeedEstimate(math.nan, math.nan, 0)] * (depth[kind] - len(found))
        numbers = [_number(number) for one in estimates for number in (one.mean, one.half_width)]
        rows.append([each.activation, each.engine, len(each.runs), len(each.finished), *numbers])
    return _csv([header, *rows])


def _number(value: float) -> str:
    return "" if math.isnan(value) else repr(value)


def _csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
