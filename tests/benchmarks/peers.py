"""Other tools that diagnose training, on the same healthy runs and planted faults, side by side with this package.

    pip install -c constraints.txt -e ".[test]"       # in an environment of its own: nothing here needs these tools
    pip install torchmortem==0.1.1 training-doctor==0.1.0 thermoclaw==0.1.6 traintools==0.6.2 torchdiag==0.1.0
    export PYTHONPATH=<checkout of QEDan/DLCheck, at b201ad1>   # it is no package
    python tests/benchmarks/peers.py --folder results                    # all tools, one seed: half an hour of one core
    python tests/benchmarks/peers.py --tools traintools --cases sgd dead_relus
    python tests/benchmarks/peers.py --from results/peers_*.json         # the tables again, without a run

Tools that are not installed are skipped. Each is used as its own guide says, with its defaults, and with what helps it:
test loss, gradient norm and rate where it takes them, named groups of the optimizer. What it calls informational is no
alarm. Its words are mapped to the suite's causes in `peers_<tool>.py`, and any cause that its sentence, explanation or
advice names is right. Part of the suite is kept aside for our rules; the other tools know nothing of either part.

- healthy runs with an alarm: of those with which nothing is wrong;
- faults found: planted faults with any alarm;
- right cause first: the first thing that the tool says, in its own order, is the planted fault;
- right layer first: the first layer that it names is the planted one, or inside of it. Only where one was planted.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import logging
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

sys.path[:0] = [str(Path(__file__).parents[1])]  # before this folder, where `faults` is a file

import peers_dlcheck  # noqa: E402  found by the path above
import peers_ours  # noqa: E402
import peers_thermoclaw  # noqa: E402
import peers_torchdiag  # noqa: E402
import peers_torchmortem  # noqa: E402
import peers_training_doctor  # noqa: E402
import peers_traintools  # noqa: E402
from faults import CASES, Case, fit  # noqa: E402
from peers_record import PeerRecord, Tool, mark, row  # noqa: E402

MODULES = (
    peers_ours, peers_torchmortem, peers_training_doctor, peers_thermoclaw, peers_traintools, peers_torchdiag,
    peers_dlcheck,
)  # fmt: skip
TOOLS: dict[str, Tool] = {module.TOOL.name: module.TOOL for module in MODULES}
WIDTH = 250


def installed(tool: Tool) -> bool:
    """Whether a tool can be imported."""
    return importlib.util.find_spec(tool.package) is not None


def examine(tool: Tool, case: Case, seed: int) -> PeerRecord:
    """Run a case with a tool watching. Of a tool that fails, its error is kept and what it said until then."""
    start, said, errors = time.perf_counter(), [], []
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        run = case.make(seed)
        watcher = tool.watch(run)
        try:
            fit(run, [watcher])
        except Exception as problem:  # of whatever kind
            errors.append(problem)
        try:
            said = watcher.said()
        except Exception as problem:
            errors.append(problem)
    error = "; ".join(f"{type(each).__name__}: {each}" for each in errors)
    return PeerRecord(tool.name, case.name, seed, time.perf_counter() - start, said, error)


def parts(records: Sequence[PeerRecord]) -> dict[str, list[PeerRecord]]:
    """Records of the part of the suite that rules may be tuned on, of that which is held, and all."""
    return {
        "tuning": [each for each in records if not CASES[each.name].held],
        "held": [each for each in records if CASES[each.name].held],
        "all": list(records),
    }


def summary_table(records: Sequence[PeerRecord]) -> Table:
    table = Table(box=SIMPLE, title="Each tool on the same runs")
    for column in (
        "tool", "part", "healthy runs with an alarm", "faults found", "right cause first", "right layer first",
        "could not run",
    ):  # fmt: skip
        table.add_column(column)
    for name in dict.fromkeys(each.tool for each in records):
        for part, found in parts([each for each in records if each.tool == name]).items():
            table.add_row(name, part, *map(str, row(found, CASES, TOOLS[name].causes)))
    return table


def faults_table(records: Sequence[PeerRecord]) -> Table:
    """What each tool said first of each fault: a tick where the cause is right, a dash where there was no alarm."""
    tools = list(dict.fromkeys(each.tool for each in records))
    table = Table("fault", "cause", *tools, box=SIMPLE, title="Said first; ✓ right cause, ▣ right layer, * kept aside")
    for name in dict.fromkeys(each.name for each in records if CASES[each.name].cause is not None):
        case, cells = CASES[name], []
        for tool in tools:
            found = [each for each in records if each.tool == tool and each.name == name]
            marks = [mark(each, case, TOOLS[tool].causes) for each in found]
            words = next((each.alarms[0].words[:22] for each in found if each.alarms), "-")
            cells.append("✓" * any(m.cause for m in marks) + "▣" * any(m.layer for m in marks) + f" {words}")
        table.add_row(f"{name}*" if case.held else name, case.cause, *cells)
    return table


def read(paths: Sequence[Path]) -> list[PeerRecord]:
    return [PeerRecord.from_json(each) for path in paths for each in json.loads(path.read_text(encoding="utf-8"))]


def measured(options: argparse.Namespace, console: Console) -> list[PeerRecord]:
    """Run the tools, one after the other, and keep each one's records in its file."""
    found: list[PeerRecord] = []
    for name in options.tools:
        if not installed(TOOLS[name]):
            console.print(f"{name} is not installed: skipped")
            continue
        cases = [CASES[each] for each in options.cases]
        ours = [examine(TOOLS[name], case, seed) for case in cases for seed in range(options.seeds)]
        if options.folder:
            options.folder.mkdir(parents=True, exist_ok=True)
            file = options.folder / f"peers_{name}.json"
            file.write_text(json.dumps([each.to_json() for each in ours]), encoding="utf-8")
        found += ours
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tools", nargs="+", default=list(TOOLS), choices=list(TOOLS), metavar="TOOL")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES), metavar="CASE")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="write what each tool said to a file in this folder")
    parser.add_argument("--from", type=Path, nargs="+", dest="sources", help="files to read in place of running")
    options = parser.parse_args(arguments)
    console = Console(width=WIDTH)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    found = read(options.sources) if options.sources else measured(options, console)
    if not found:
        return
    console.print(summary_table(found))
    console.print(faults_table(found))
    for each in (each for each in found if each.error):
        console.print(f"{each.tool} could not run {each.name}: {each.error[:WIDTH]}", markup=False)
    for name in dict.fromkeys(each.tool for each in found):
        seconds = [each.seconds for each in found if each.tool == name]
        console.print(f"{name}: {len(seconds)} runs, {sum(seconds):.0f} s")


if __name__ == "__main__":
    main()
