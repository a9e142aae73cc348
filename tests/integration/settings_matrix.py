"""All settings of a run against each other: strategy, precision, accumulation, compilation, optimizer."""

from __future__ import annotations

import copy
import math
import sys
import warnings
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from integration.models import examples, quiet_trainer
from integration.processes import in_processes
from lightning.pytorch import LightningModule
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from run_differences import places_that_differ
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.optim import SGD, AdamW
from torch.utils.data import DataLoader, TensorDataset

from thermo_callbacks import ThermoMonitor

BATCHES, BATCH_SIZE = 36, 8
STRATEGIES = {"SingleDevice": 1, "DDP": 2, "ModelParallel": 2}
"""Strategies, and how many processes."""
PRECISIONS = ("32-true", "64-true", "bf16-mixed", "16-mixed", "bf16-true")
PAIRS = [
    (strategy, precision)
    for strategy, precision in product(STRATEGIES, PRECISIONS)
    if strategy != "ModelParallel" or precision in {"32-true", "bf16-mixed", "bf16-true"}
]
"""Strategies with precisions: Lightning refuses the others for sharded modules."""
ACCUMULATIONS = (1, 3)
COMPILED = (False, True)
OPTIMIZERS = {
    "SGD": partial(SGD, lr=0.02),
    "momentum": partial(SGD, lr=0.01, momentum=0.9),
    "AdamW": partial(AdamW, lr=0.01),
    "fused AdamW": partial(AdamW, lr=0.01, fused=True),
}
VALUES = {"temperature": "thermo/temperature", "step": "thermo/step_efficiency", "curvature": "thermo/laplacian"}


class Cell(NamedTuple):
    """One setting of all but strategy and precision."""

    accumulation: int
    compiled: bool
    optimizer: str


TEST = "tests/integration/test_matrix.py::test_training_is_the_same_and_measured"
CELLS = [Cell(*each) for each in product(ACCUMULATIONS, COMPILED, OPTIMIZERS)]


class Outcome(NamedTuple):
    """Places where a run with a monitor differs from one without, values that it has, and what was switched off."""

    differ: list[str]
    values: list[str]
    off: list[str]


class Expected(NamedTuple):
    """Values that a setting has, and what is switched off, with a part of the reason."""

    values: list[str]
    off: list[str]


def expected(strategy: str, precision: str, cell: Cell) -> Expected:
    """What the page of what is supported says of a setting."""
    if strategy != "ModelParallel":
        return Expected(list(VALUES), [])
    off = ["energy balance of a step is switched off for the rest of this run: it needs whole parameters"]
    if cell.compiled:
        off.append("activations is switched off for the rest of this run: compiled code is looked at in a replay")
    if precision != "bf16-true":
        return Expected(["temperature", "curvature"], off)
    off.append("which leaves no digits for finite differences of the gradient")
    return Expected(["temperature"], off)


def mark(strategy: str, precision: str, *, compiled: bool, optimizer: str) -> str:
    """Of a cell of the page: the values that are there with each accumulation."""
    found = {tuple(expected(strategy, precision, Cell(n, compiled, optimizer)).values) for n in ACCUMULATIONS}
    assert len(found) == 1
    values = found.pop()
    return "all" if len(values) == len(VALUES) else "no " + ", no ".join(name for name in VALUES if name not in values)


def table() -> str:
    """The matrix as a table in Markdown."""
    titles = ["Strategy", "Precision", "Network", *OPTIMIZERS, "Shown by"]
    rows = [titles, ["---"] * len(titles)]
    for (strategy, precision), compiled in product(PAIRS, COMPILED):
        marks = [mark(strategy, precision, compiled=compiled, optimizer=name) for name in OPTIMIZERS]
        shown = f"`{TEST}[{strategy}-{precision}]`"
        rows.append([strategy, f"`{precision}`", "compiled" if compiled else "as it is", *marks, shown])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


class Net(LightningModule):
    """A perceptron, compiled or sharded if asked for."""

    def __init__(self, cell: Cell, *, sharded: bool, dtype: torch.dtype) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))
        self.cell, self.sharded, self.inputs = cell, sharded, dtype

    def configure_model(self) -> None:
        if self.sharded and not hasattr(self.net, "reshard"):
            fully_shard(self.net, mesh=self.device_mesh["data_parallel"])
        if self.cell.compiled and not isinstance(self.net, torch._dynamo.OptimizedModule):
            self.net = torch.compile(self.net, backend="eager")  # no C++ compiler is needed to show what is captured

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        inputs, targets = batch
        return nn.functional.mse_loss(self.net(inputs), targets)

    def configure_optimizers(self) -> Any:
        return OPTIMIZERS[self.cell.optimizer](self.parameters())

    def train_dataloader(self) -> DataLoader[Any]:
        rank, count = (self.trainer.global_rank, self.trainer.world_size)
        columns = (column[rank::count][: BATCHES * BATCH_SIZE].to(self.inputs) for column in examples())
        return DataLoader(TensorDataset(*columns), BATCH_SIZE)


def run(strategy: str, precision: str, cell: Cell, *callbacks: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a run leaves, and the values that can be monitored."""
    kinds: dict[str, Any] = {"DDP": DDPStrategy, "ModelParallel": ModelParallelStrategy}
    options: dict[str, Any] = {"precision": precision}
    if precision == "16-mixed":  # Lightning makes no scaler for a CPU unless the plugin is told to
        options = {"plugins": [MixedPrecision("16-mixed", "cpu")]}
    if strategy in kinds:
        options |= {"strategy": kinds[strategy](), "devices": STRATEGIES[strategy]}
    dtype = {"64-true": torch.float64, "bf16-true": torch.bfloat16}.get(precision, torch.float32)
    module = Net(cell, sharded=strategy == "ModelParallel", dtype=dtype)
    trainer = quiet_trainer(
        callbacks=list(callbacks), accumulate_grad_batches=cell.accumulation, use_distributed_sampler=False, **options
    )
    trainer.fit(module)
    whole = lambda tensor: tensor.to_local() if hasattr(tensor, "to_local") else tensor  # noqa: E731
    left = {
        "weights": {name: whole(value) for name, value in module.state_dict().items()},
        "gradients": {n: p.grad if p.grad is None else whole(p.grad) for n, p in module.named_parameters()},
        "optimizers": [
            [[(key, whole(value)) for key, value in state.items()] for state in optimizer.state.values()]
            for optimizer in trainer.optimizers
        ],
        "random": torch.get_rng_state(),
    }
    return copy.deepcopy(left), dict(trainer.callback_metrics)


def outcome(strategy: str, precision: str, cell: Cell) -> Outcome:
    """A run with a monitor against one without."""
    bare, _ = run(strategy, precision, cell)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        watched, metrics = run(strategy, precision, cell, ThermoMonitor("standard", 8, curvature_every_n_steps=4))
    found = [name for name, tag in VALUES.items() if math.isfinite(float(metrics.get(tag, math.nan)))]
    off = [str(each.message) for each in caught if "switched off" in str(each.message)]
    return Outcome(places_that_differ(bare, watched), found, off)


def outcomes(strategy: str, precision: str, folder: Path) -> Iterator[tuple[Cell, Outcome]]:
    """All cells of a strategy and a precision; where there are several processes, as the first one saw them."""
    all_of_them = partial(_all, strategy, precision)
    count = STRATEGIES[strategy]
    found = all_of_them(0) if count == 1 else in_processes(count, all_of_them, folder, seconds=240.0)[0]
    for cell, each in zip(CELLS, found, strict=True):
        yield cell, Outcome(*each)


def _all(strategy: str, precision: str, rank: int) -> list[tuple[Any, ...]]:
    found = []
    for cell in CELLS:
        found.append(tuple(outcome(strategy, precision, cell)))
        torch._dynamo.reset()
    return found


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")  # for docs/supported.md
