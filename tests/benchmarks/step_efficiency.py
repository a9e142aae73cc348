"""Step efficiency and transfer at seven learning rates of three optimizers on two problems, beside how well they train.

    python tests/benchmarks/step_efficiency.py              # 1,200 steps, 3 seeds; some minutes

The rates of each optimizer go by factors of about three from far too low to failing. Shown are the medians over extra
passes in the second quarter of the run and over seeds, and the mean training loss over the last tenth of it.
"""

from __future__ import annotations

import argparse
import logging
import math
import statistics
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from typing import Any

import lightning.pytorch as pl
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader

from thermo_callbacks import ThermoMonitor
from thermo_callbacks.commands.compare.data import load

OPTIMIZERS: dict[str, tuple[Callable[..., torch.optim.Optimizer], dict[str, Any], tuple[float, ...]]] = {
    "SGD": (torch.optim.SGD, {}, (1e-3, 3e-3, 1e-2, 1e-1, 3e-1, 1.0, 3.0)),
    "momentum": (torch.optim.SGD, {"momentum": 0.9}, (1e-4, 3e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1)),
    "Adam": (torch.optim.Adam, {}, (1e-5, 3e-5, 1e-4, 1e-3, 1e-2, 3e-2, 1e-1)),
}


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def convolution() -> nn.Module:
    layers: list[nn.Module] = [nn.Conv1d(1, 16, 5, 2), nn.ReLU(), nn.Conv1d(16, 16, 3, 2), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(128, 10))


PROBLEMS = {"digits": perceptron, "mnist1d": convolution}


class Task(pl.LightningModule):
    def __init__(self, problem: str, optimizer: str, rate: float) -> None:
        super().__init__()
        self.net, self.make, self.losses = PROBLEMS[problem](), (optimizer, rate), []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self) -> Any:
        kind, options, _ = OPTIMIZERS[self.make[0]]
        return kind(self.parameters(), lr=self.make[1], **options)


class Readings(pl.Callback):
    """Values of each extra pass in the second quarter; stands after the monitor."""

    def __init__(self, monitor: ThermoMonitor, steps: int) -> None:
        self.monitor, self.steps, self.found = monitor, steps, []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        values = self.monitor.latest()
        pair = tuple(values.get(f"thermo/step_{name}", math.nan) for name in ("efficiency", "transfer"))
        new = not self.found or self.found[-1] != pair
        if new and not math.isnan(pair[0]) and self.steps // 4 < trainer.global_step <= self.steps // 2:
            self.found.append(pair)


def run(problem: str, optimizer: str, rate: float, seed: int, steps: int) -> tuple[float, float, float]:
    """Efficiency, transfer and final loss of one run."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.manual_seed(seed)
    task, monitor = Task(problem, optimizer, rate), ThermoMonitor(seed=seed)
    readings = Readings(monitor, steps)
    trainer = pl.Trainer(
        max_steps=steps, max_epochs=-1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[monitor, readings],
    )  # fmt: skip
    trainer.fit(task, DataLoader(load(problem)[0], 64, shuffle=True))
    efficiency, transfer = (
        statistics.median(pair[index] for pair in readings.found) if readings.found else math.nan for index in (0, 1)
    )
    return efficiency, transfer, statistics.fmean(task.losses[-max(1, steps // 10) :])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args(arguments)
    console = Console(width=100)
    with ProcessPoolExecutor(options.jobs) as pool:
        for problem, (optimizer, (_, _, rates)) in product(PROBLEMS, OPTIMIZERS.items()):
            cases = list(product(rates, range(options.seeds)))
            columns = zip(*cases, strict=True)
            found = list(
                pool.map(run, [problem] * len(cases), [optimizer] * len(cases), *columns, [options.steps] * len(cases))
            )
            table = Table("learning rate", "step efficiency", "transfer", "final loss", title=f"{problem}, {optimizer}")
            for place, rate in enumerate(rates):
                own = found[place * options.seeds : (place + 1) * options.seeds]
                values = [statistics.median(column) for column in zip(*own, strict=True)]
                table.add_row(f"{rate:g}", *(f"{value:.3f}" for value in values))
            console.print(table)


if __name__ == "__main__":
    main()
