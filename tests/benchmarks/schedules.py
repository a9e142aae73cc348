"""EquilibriumScheduler against schedules by hand, over initial rates that span a factor of 100.

    python tests/benchmarks/schedules.py --problems diabetes --seeds 2 --steps 4000   # five minutes
    python tests/benchmarks/schedules.py                                              # all problems; hours on a CPU
    python tests/benchmarks/schedules.py --record runs.jsonl                          # goes on where it was cut off

A row is a schedule, a column an initial rate. A cell is the validation loss at the end, the mean over the seeds with
its standard error, in the problem's own unit; *regret* is the worst cell's loss, over the initial rates that train at
all (those at which the best schedule ends below half of where the loss began), above the best cell of the whole table,
as a share of it. Schedules are: constant; step (a tenth after half and after three quarters of the run); cosine;
plateau (ReduceLROnPlateau on the validation loss, 20 validations a run, patience 2); schedule-free, SASA
and SALSA, if the packages schedulefree and statopt are installed (schedules_of_packages.py says how they are set up);
equilibrium, and equilibrium with growth. Step and cosine are told the length of the run, and
the scheduler asks the Trainer for it.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import statistics
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from schedule_problems import Problem, problems
from schedules_of_packages import PACKAGES, installed, line_search_step, optimizer_of
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR, ReduceLROnPlateau
from torch.utils.data import DataLoader

from thermo_callbacks import EquilibriumScheduler

VALIDATIONS = 20
SPREAD = (0.1, 0.316, 1.0, 3.16, 10.0)
"""Initial rates over the problem's middle one."""


def schedules() -> list[str]:
    return ["constant", "step", "cosine", "plateau", *installed(), "equilibrium", "equilibrium, growth"]


class Learner(LightningModule):
    """A problem under one schedule."""

    def __init__(self, problem: Problem, schedule: str, rate: float, steps: int) -> None:
        super().__init__()
        self.net, self.problem = problem.network(), problem
        self.schedule, self.rate, self.steps = schedule, rate, steps
        self.losses: list[float] = []
        self.plateau: Any = None
        self.automatic_optimization = schedule != "SALSA"

    def _loss(self, batch: Any) -> Tensor:
        inputs, targets = batch
        return self.problem.loss(self.net(inputs), targets)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        batch = (self.problem.augment(batch[0]), batch[1])
        if self.automatic_optimization:
            return self._loss(batch)
        return line_search_step(self.optimizers(), partial(self._loss, batch))

    def on_validation_epoch_start(self) -> None:
        self._sums: list[Tensor] = []
        if self.schedule == "schedule-free":
            self.optimizers().eval()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self._sums.append(self._loss(batch))

    def on_validation_epoch_end(self) -> None:
        self.losses.append(float(torch.stack(self._sums).mean()))
        if self.plateau is not None:
            self.plateau.step(self.losses[-1])
        if self.schedule == "schedule-free":
            self.optimizers().train()

    def configure_optimizers(self) -> Any:
        optimizer = self.problem.optimizer(self.parameters(), lr=self.rate)
        if self.schedule in PACKAGES:
            batches = len(self.problem.data()[0]) // self.problem.batch
            return optimizer_of(self.schedule, self.parameters(), optimizer, steps=self.steps, data=batches)
        milestones = [self.steps // 2, self.steps * 3 // 4]
        if self.schedule == "plateau":  # stepped by hand: Lightning counts batches of an epoch, and these are short
            self.plateau = ReduceLROnPlateau(optimizer, patience=2)
            return optimizer
        scheduler: Any = {
            "step": lambda: MultiStepLR(optimizer, milestones),
            "cosine": lambda: CosineAnnealingLR(optimizer, self.steps),
        }.get(self.schedule, lambda: None)()
        if scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def final_loss(problem: Problem, schedule: str, rate: float, seed: int, steps: int) -> tuple[float, float]:
    """Validation loss of the untrained network and of the trained one."""
    torch.manual_seed(seed)
    training, validation = problem.data()
    module = Learner(problem, schedule, rate, steps)
    callbacks = [EquilibriumScheduler(grow="growth" in schedule)] if schedule.startswith("equilibrium") else []
    trainer = Trainer(
        accelerator="cpu", max_steps=steps, max_epochs=-1, logger=False, callbacks=callbacks,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        val_check_interval=max(1, steps // VALIDATIONS), check_val_every_n_epoch=None,
    )  # fmt: skip
    loader = DataLoader(validation, len(validation))
    with torch.no_grad():
        first = float(module._loss(next(iter(loader))))
    trainer.fit(module, DataLoader(training, problem.batch, shuffle=True, drop_last=True), loader)
    last = module.losses[-1]
    return first, last if math.isfinite(last) else math.inf


class Runs:
    """First and last losses of runs: those that a file has are not run again, those that are run are written to it."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        lines = file.read_text().splitlines() if file is not None and file.exists() else []
        self._known = {tuple(run): (first, last) for *run, first, last in map(json.loads, lines)}

    def __call__(self, name: str, schedule: str, rate: float, seed: int, steps: int) -> tuple[float, float]:
        run = (name, schedule, rate, seed, steps)
        if run not in self._known:
            self._known[run] = final_loss(problems()[name], schedule, rate, seed, steps)
            if self._file is not None:
                with self._file.open("a") as file:
                    file.write(json.dumps([*run, *self._known[run]]) + "\n")
        return self._known[run]


def table(name: str, chosen: Sequence[str], seeds: int, steps: int, runs: Runs) -> list[list[str]]:
    """Rows of a problem's table."""
    rates = [problems()[name].rate * factor for factor in SPREAD]
    rows, cells, began = [], {}, math.inf
    for schedule in chosen:
        for rate in rates:
            ends = [runs(name, schedule, rate, seed, steps) for seed in range(seeds)]
            began = statistics.mean(first for first, _ in ends)
            losses = [last for _, last in ends]
            error = statistics.stdev(losses) / math.sqrt(seeds) if seeds > 1 and max(losses) < math.inf else math.nan
            cells[schedule, rate] = (statistics.mean(losses), error)
            sys.stderr.write(f"{schedule} {rate:.3g}: {cells[schedule, rate][0]:.4g} ± {error:.1g}\n")
    trains = [rate for rate in rates if min(cells[s, rate][0] for s in chosen) < 0.5 * began] or rates
    best = min(mean for mean, _ in cells.values())
    for schedule in chosen:
        shown = [f"{mean:.4g} ± {error:.1g}" for mean, error in (cells[schedule, rate] for rate in rates)]
        worst = max(cells[schedule, rate][0] for rate in trains)
        rows.append([schedule, *shown, f"{100 * (worst / best - 1):.1f} %"])
    return [["schedule", *(f"{rate:.3g}" for rate in rates), "regret"], *rows]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table for each problem."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--problems", nargs="*", choices=list(problems()), default=list(problems()))
    parser.add_argument("--schedules", nargs="*", choices=schedules(), default=schedules())
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20_000, help="of each run")
    parser.add_argument("--record", type=Path, help="file of the runs, read and written to, a line each")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    runs = Runs(options.record)
    for name in options.problems:
        header, *rows = table(name, options.schedules, options.seeds, options.steps, runs)
        sys.stdout.write(f"\n{name}, {options.steps:,} steps, {options.seeds} seeds\n\n")
        for row in (header, ["---"] * len(header), *rows):
            sys.stdout.write(f"| {' | '.join(row)} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
