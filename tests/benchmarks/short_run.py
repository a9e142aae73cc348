"""What a short run pays for the monitor: processor time of whole fits with it over that of fits without it.

    python tests/benchmarks/short_run.py                        # MLP, 500 steps, 4 pairs, a minute on one thread
    python tests/benchmarks/short_run.py --model decoder --pairs 1

Fits with ``ThermoMonitor()`` and without alternate in one process, in both orders, after one of each that imports and
warms up what there is; no logger, so that no figure is drawn. Windows and extra passes are those that are planned for
that many steps. The time inside the extra passes, and at the ends of windows, is told as well.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import time
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent))

from overhead import CASES, Task

from thermo_callbacks import ThermoMonitor

PARTS = {
    "_close": "ends of windows",
    "on_train_batch_start": "extra passes, looks at batches",
    "on_train_end": "end of the fit",
}


class Timed(ThermoMonitor):
    """A monitor that times some of its hooks."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = defaultdict(float)

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in PARTS:
            return found

        def timed(*arguments: Any, **keywords: Any) -> Any:
            start = time.process_time()
            try:
                return found(*arguments, **keywords)
            finally:
                self.seconds[name] += time.process_time() - start

        return timed


class Share(NamedTuple):
    """Extra time over that of the fit without a monitor: in all, and of each of :data:`PARTS`."""

    whole: float
    parts: dict[str, float]


def fit(case: str, steps: int, monitor: Timed | None) -> float:
    """Processor seconds of one fit."""
    make, data, *_ = CASES[case]
    trainer = pl.Trainer(
        max_steps=steps, max_epochs=-1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[] if monitor is None else [monitor],
    )  # fmt: skip
    task, loader = Task(make, 0.9), data()
    start = time.process_time()
    trainer.fit(task, loader)
    return time.process_time() - start


def shares(case: str, steps: int, pairs: int) -> list[Share]:
    """The extra time of each pair of fits."""
    found = []
    fit(case, min(steps, 20), Timed())
    fit(case, min(steps, 20), None)
    for pair in range(pairs):
        monitor, times = Timed(), {}
        for watched in (True, False) if pair % 2 else (False, True):
            times[watched] = fit(case, steps, monitor if watched else None)
        parts = {name: monitor.seconds[name] / times[False] for name in PARTS}
        found.append(Share(times[True] / times[False] - 1.0, parts))
    return found


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(CASES), default="mlp")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--pairs", type=int, default=4, help="pairs of fits with and without the monitor")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    found = shares(options.model, options.steps, options.pairs)
    table = Table("model", "steps", "pairs", "extra time", *PARTS.values(), title="Extra processor time of a short run")
    median = statistics.median(each.whole for each in found)
    spread = f"{median:.1%} ({min(each.whole for each in found):.1%} to {max(each.whole for each in found):.1%})"
    parts = [f"{statistics.median(each.parts[name] for each in found):.1%}" for name in PARTS]
    table.add_row(options.model, str(options.steps), str(options.pairs), spread, *parts)
    Console().print(table)


if __name__ == "__main__":
    main()
