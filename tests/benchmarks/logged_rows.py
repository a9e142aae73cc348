"""Every number that six small runs log, to be compared before and after a change that is to leave numbers alone.

    python tests/benchmarks/logged_rows.py record before.json          # with the old code first on PYTHONPATH
    python tests/benchmarks/logged_rows.py record after.json
    python tests/benchmarks/logged_rows.py compare before.json after.json

The runs are in float64 on one thread, so that a value which is computed in the same way is the same in every bit. The
comparison prints, for each run, how many values agree bitwise, and the largest relative difference of those that don't.
"""

from __future__ import annotations

import argparse
import inspect
import itertools
import json
import math
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' models, also where pytest has not put them there

import torch
from integration.curvature_models import Attention
from integration.models import INPUTS, RecordingLogger, Regression, TwoOptimizers, examples, loader, quiet_trainer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from thermo_callbacks import (
    BulkMonitor,
    EntropyMonitor,
    FreeEnergyMonitor,
    TemperatureMonitor,
    ThermoMonitor,
    TransitionTemperatureMonitor,
    WorkEfficiencyMonitor,
)

Rows = list[tuple[int | None, str, str]]

_HAS_STEPS = "steps_between_windows" in inspect.signature(ThermoMonitor.__init__).parameters
BETWEEN = "steps_between_windows" if _HAS_STEPS else "rest"


class Images(Regression):
    """A small convolutional classifier with batch norm, of inputs seen as rows of pixels."""

    def __init__(self, optimizer: Any) -> None:
        layers = [nn.Conv1d(1, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten(), nn.Linear(12, 8), nn.ReLU()]
        super().__init__(nn.Sequential(*layers, nn.Linear(8, 3)).double(), optimizer)

    def loss(self, batch: Any) -> Tensor:
        inputs, targets = batch
        return cross_entropy(self.net(inputs.unsqueeze(1)), (targets[:, 0] > 0).long())

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        inputs, targets = batch
        logits = self.net(inputs.unsqueeze(1))
        return {"losses": cross_entropy(logits, (targets[:, 0] > 0).long(), reduction="none"), "logits": logits}


def deep() -> nn.Sequential:
    widths = (INPUTS, 8, 6, 4, 1)
    layers: list[nn.Module] = []
    for number, (inner, outer) in enumerate(itertools.pairwise(widths)):
        layers += [nn.Linear(inner, outer), nn.Tanh() if number % 2 else nn.ReLU()]
    return nn.Sequential(*layers[:-1]).double()


def shards(batches: int, count: int) -> list[DataLoader[Any]]:
    """Validation sets from different ends of the examples."""
    inputs, targets = examples()
    rows = batches * 4
    parts = [slice(number * rows, (number + 1) * rows) for number in range(count)]
    return [DataLoader(TensorDataset(inputs[part], targets[part]), batch_size=4) for part in parts]


def run(module: Callable[[], Any], monitors: list[Any], batches: int, **options: Any) -> Rows:
    """Train once and give every value that the monitors logged."""
    torch.manual_seed(5)
    logger = RecordingLogger()
    validation = options.pop("validation", None)
    quiet_trainer(logger=logger, callbacks=monitors, **options).fit(module(), loader(batches), validation)
    return [(step, tag, value.hex()) for step, row in logger.thermo_rows for tag, value in sorted(row.items())]


def sgd_full() -> Rows:
    monitor = ThermoMonitor("full", 16, curvature_every_n_steps=20, **{BETWEEN: 0})
    return run(lambda: Regression(deep()), [monitor], 160)


def momentum_accumulated() -> Rows:
    monitor = ThermoMonitor("standard", 12, sample=6, curvature_every_n_steps=15, **{BETWEEN: 4})
    make = lambda parameters: torch.optim.SGD(parameters, lr=0.02, momentum=0.9)  # noqa: E731
    return run(lambda: Regression(deep(), make), [monitor], 200, accumulate_grad_batches=3, gradient_clip_val=0.5)


def adam_scheduled() -> Rows:
    def make(parameters: Any) -> Any:
        optimizer = torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.3)]

    monitor = ThermoMonitor("full", 20, curvature_every_n_steps=25, **{BETWEEN: 0})
    return run(lambda: Regression(deep(), make), [monitor], 100, max_epochs=2)


def convolutional_nesterov() -> Rows:
    make = lambda parameters: torch.optim.SGD(parameters, lr=0.02, momentum=0.8, nesterov=True)  # noqa: E731
    monitors = [ThermoMonitor("full", 10, curvature_every_n_steps=15), TransitionTemperatureMonitor()]
    return run(lambda: Images(make), monitors, 120, max_epochs=2, validation=shards(20, 2))


def attention_narrow() -> Rows:
    make = lambda parameters: torch.optim.Adam(parameters, lr=0.005)  # noqa: E731
    monitors = [
        TemperatureMonitor(16),
        EntropyMonitor(16, curvature_every_n_steps=30),
        FreeEnergyMonitor(16, curvature_every_n_steps=20, within_layers=True),
        WorkEfficiencyMonitor(20),
        BulkMonitor(40),
    ]
    return run(lambda: Regression(Attention().double(), make), monitors, 120)


def two_optimizers() -> Rows:
    monitor = ThermoMonitor(
        "standard", 10, curvature_every_n_steps=20, loss_fn=lambda module, batch: module.loss(batch)
    )
    return run(TwoOptimizers, [monitor], 150)


RUNS = (sgd_full, momentum_accumulated, adam_scheduled, convolutional_nesterov, attention_narrow, two_optimizers)


def record(path: Path) -> None:
    """Write the rows of all runs to a file."""
    torch.set_num_threads(1)
    with warnings.catch_warnings(action="ignore"):
        path.write_text(json.dumps({make.__name__: make() for make in RUNS}))


def compare(first: Path, second: Path) -> int:
    """Print how far the rows of two files agree; 1 where they don't."""
    before, after = (json.loads(path.read_text()) for path in (first, second))
    worst_of_all = 0.0
    wrong = before.keys() ^ after.keys()
    for name in before.keys() & after.keys():
        old, new = ({(step, tag, *_seen(rows, number)): value for number, (step, tag, value) in enumerate(rows)}
                    for rows in (before[name], after[name]))  # fmt: skip
        missing = sorted(map(str, old.keys() ^ new.keys()))
        worst: dict[str, float] = defaultdict(float)
        for place in old.keys() & new.keys():
            worst[place[1]] = max(worst[place[1]], _difference(old[place], new[place]))
        bitwise = sum(old[place] == new[place] for place in old.keys() & new.keys())
        largest = max(worst.items(), key=lambda pair: pair[1])
        equal = f"{bitwise} of {len(old)} values bitwise equal, largest relative difference"
        sys.stdout.write(f"{name}: {equal} {largest[1]:.1e} ({largest[0]}); in one file only: {missing[:4]}\n")
        worst_of_all = max(worst_of_all, largest[1])
        wrong = wrong or bool(missing)
    return int(bool(wrong) or worst_of_all > 1e-12)


def _seen(rows: Any, number: int) -> tuple[int]:
    """How often a tag came before, where several monitors log it at one step."""
    return (sum(row[:2] == rows[number][:2] for row in rows[max(0, number - 400) : number]),)


def _difference(old: str, new: str) -> float:
    first, second = float.fromhex(old), float.fromhex(new)
    if old == new:
        return 0.0
    if math.isnan(first) or math.isnan(second):
        return math.inf
    return abs(first - second) / max(abs(first), abs(second))


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("record").add_argument("file", type=Path)
    both = commands.add_parser("compare")
    both.add_argument("files", nargs=2, type=Path)
    asked = parser.parse_args()
    if asked.command == "record":
        record(asked.file)
        return 0
    return compare(*asked.files)


if __name__ == "__main__":
    sys.exit(main())
