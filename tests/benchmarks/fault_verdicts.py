"""What the findings got right of the suite: by part, and by cause."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from faults import CASES, CAUSES, Record
from peers_ours import causes
from peers_record import PeerRecord, Said, row
from rich.box import SIMPLE
from rich.table import Table

from thermo_callbacks.findings import READS, History, diagnose


def said_of(record: Record) -> PeerRecord:
    """What was found in a run, as what a tool said of it."""
    said = [Said(each["cause"], each["severity"], tuple(each["layers"])) for each in record.findings]
    return PeerRecord("thermo-callbacks", record.name, record.seed, record.seconds, said)


def judged_again(record: Record) -> Record:
    """A record with the findings of the rules as they are now, from the values that were logged."""
    history = History(READS, record.facts)
    for step, values in record.rows:
        history.add(values, step)
    return replace(record, findings=[each.to_json() for each in diagnose(history)])


def parts_table(records: Sequence[Record]) -> Table:
    """How many alarms in healthy runs, and of the faults how many were found, with the right cause and layer first."""
    table = Table(
        "part", "healthy with an alarm", "faults found", "right cause first", "right layer first", "median step of it",
        title='Findings above "info", each run of each seed counted', box=SIMPLE,
    )  # fmt: skip
    for part, held in (("tuning", False), ("held", True)):
        own = [each for each in records if CASES[each.name].held is held]
        if not own:
            continue
        counted = row(map(said_of, own), CASES, causes)
        steps = [each.first_found for each in own if CASES[each.name].cause and each.first_found is not None]
        cells = map(str, (counted.healthy_alarms, counted.found, counted.right_cause, counted.right_layer))
        table.add_row(part, *cells, f"{statistics.median(steps):g}" if steps else "-")
    return table


def confusion_table(records: Sequence[Record]) -> Table:
    """For each planted cause, what was found first; alarms in healthy runs in the last line."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for each in records:
        alarms = said_of(each).alarms
        found[CASES[each.name].cause or "none"][alarms[0].words if alarms else "nothing"] += 1
    table = Table("planted", "runs", "right", "found first in its place", title="What was found first", box=SIMPLE)
    for cause in [*CAUSES, "none"]:
        if cause in found:
            right = found[cause].pop("nothing" if cause == "none" else cause, 0)
            others = ", ".join(f"{name} ({count})" for name, count in found[cause].most_common())
            table.add_row(cause, str(right + found[cause].total()), str(right), others or "-")
    return table
