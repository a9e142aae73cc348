"""Healthy runs and planted faults: which of them hurt, and what the monitor logs of each.

    python tests/benchmarks/faults.py --json faults.json               # all runs, 3 seeds
    python tests/benchmarks/faults.py --cases dead_relus --seeds 1     # with its healthy twin
    python tests/benchmarks/faults.py --from faults.json               # the tables again, by the rules as they are now

Each run is short (`tests/faults/`), and is watched by ``ThermoMonitor()`` with its defaults. Tables:

- the findings by part: healthy runs with an alarm, faults that were found, with the right cause and the right layer
  first, and the median step at which something was said first;
- for each planted cause, what was found first;
- each fault with its score (lower is better) against that of its healthy twin, mean and spread over the seeds. It hurts
  where each seed of it is worse than all of the twin's, and the means are further apart than twice the spread of their
  difference;
- with ``--values`` what the main quantities were at the end, for each run: the mean over the seeds;
- how far each quantity is from the twin's: the difference of the means over the spread of the seeds of both, Cohen's d
  (1988), of logarithms where a quantity has a unit and a positive sign. With 3 seeds a |d| under 5 may be chance. A
  value that the one has and the other has not is "gone" or "new". Where all seeds lie above, or all below, what every
  healthy run has that rules may be tuned on, there is a "!"; quantities with a unit are left out of that.

Runs that are kept aside, on which no rule may be tuned, are marked with a star. The JSON file holds every value that
was logged, with its step.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from fault_quantities import COLUMNS, LEAST_SPREAD, effect, mean, spread, unlike
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

sys.path[:0] = [str(Path(__file__).parents[1])]  # before this folder, where `faults` is this file

from fault_verdicts import confusion_table, judged_again, parts_table  # noqa: E402  which imports `faults` too
from faults import CASES, HEALTHY, PLANTED, Record, measure  # noqa: E402  found by the path above

SEEDS = 3
WIDTH = 250
MOST_SHOWN = 999
"""Largest effect that is printed: beyond, only the sign matters."""


class Verdict(NamedTuple):
    """Scores of a fault against those of its twin."""

    fault: list[float]
    twin: list[float]

    @property
    def hurts(self) -> bool:
        """Whether the fault is worse, beyond chance."""
        if not all(map(math.isfinite, self.fault)):
            return all(map(math.isfinite, self.twin))
        chance = max(LEAST_SPREAD, math.hypot(spread(self.fault), spread(self.twin)))
        return min(self.fault) > max(self.twin) and mean(self.fault) - mean(self.twin) > 2 * chance


def _run(task: tuple[str, int]) -> Record:
    torch.set_num_threads(1)
    return measure(CASES[task[0]], task[1])


def records(names: Sequence[str], seeds: int, jobs: int) -> Iterator[Record]:
    """The runs of these names, and of their twins, one for each seed."""
    needed = dict.fromkeys(n for name in names for n in (name, CASES[name].healthy_twin) if n is not None)
    tasks = [(name, seed) for name in needed for seed in range(seeds)]
    if jobs == 1:
        yield from map(_run, tasks)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(_run, tasks)


def read(path: Path) -> list[Record]:
    """Records from a file of ``--json``."""

    def number(value: Any) -> float:
        return math.nan if value is None else float(value)

    return [
        Record(**each | {
            "score": number(each["score"]),
            "rows": [(step, {tag: number(value) for tag, value in row.items()}) for step, row in each["rows"]],
        })
        for each in json.loads(path.read_text(encoding="utf-8"))
    ]  # fmt: skip


def shown_name(name: str) -> str:
    """Name with a star where the run is kept aside."""
    return f"{name}*" if CASES[name].held else name


def of_quantities(first: str, title: str) -> Table:
    """An empty table with a column for each quantity."""
    table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    for column in COLUMNS:
        table.add_column(column.title)
    return table


def scores_table(runs: Mapping[str, Sequence[Record]]) -> Table:
    table = Table("fault", "cause", "twin", "score", "twin's", "hurts", title="Does it hurt? Lower scores are better")
    for name in (name for name in runs if name in PLANTED):
        case = PLANTED[name]
        verdict = Verdict([r.score for r in runs[name]], [r.score for r in runs[str(case.healthy_twin)]])
        cells = [f"{mean(each):.3f} ± {spread(each):.3f}" for each in verdict]
        table.add_row(shown_name(name), case.cause, case.healthy_twin, *cells, "yes" if verdict.hurts else "NO")
    return table


def values_table(runs: Mapping[str, Sequence[Record]]) -> Table:
    table = of_quantities("run", "At the end of the run: mean over the seeds")
    for name, found in runs.items():
        cells = []
        for column in COLUMNS:
            known = [value for r in found if math.isfinite(value := column.value(r.last))]
            cells.append(f"{mean(known):.2g}" if known else "-")
        table.add_row(shown_name(name), *cells)
    return table


def effects_table(runs: Mapping[str, Sequence[Record]]) -> Table:
    table = of_quantities("fault", "How far from the twin, in spreads of the seeds; !: further than any healthy run")
    tuning = [r.last for name, found in runs.items() if name in HEALTHY and not CASES[name].held for r in found]
    for name in (name for name in runs if name in PLANTED):
        ours, theirs = ([r.last for r in runs[each]] for each in (name, str(PLANTED[name].healthy_twin)))
        cells = []
        for column in COLUMNS:
            far = effect(column, ours, theirs)
            shown = far if isinstance(far, str) else f"{max(-MOST_SHOWN, min(far, MOST_SHOWN)):+.0f}"
            cells.append(shown + "!" * unlike(column, ours, [*tuning, *theirs]))
        table.add_row(shown_name(name), *cells)
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES), metavar="CASE")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write every logged value to this file")
    parser.add_argument(
        "--from", type=Path, nargs="+", dest="sources", help="files of --json to read in place of running"
    )
    parser.add_argument("--values", action="store_true", help="print what the main quantities were, too")
    options = parser.parse_args(arguments)
    if options.sources:
        found = [judged_again(record) for source in options.sources for record in read(source)]
    else:
        found = list(records(options.cases, options.seeds, options.jobs))
    if options.json:
        options.json.write_text(json.dumps([record.to_json() for record in found]), encoding="utf-8")
    runs = defaultdict(list)
    for record in found:
        runs[record.name].append(record)
    console = Console(width=WIDTH)
    tables = [parts_table(found), confusion_table(found), scores_table(runs)]
    if options.values:
        tables += [values_table(runs), effects_table(runs)]
    for table in tables:
        console.print(table)
    seconds = [record.seconds for record in found]
    console.print(f"{len(found)} runs, {sum(seconds):.0f} s in all, {max(seconds):.1f} s the longest")


if __name__ == "__main__":
    main()
