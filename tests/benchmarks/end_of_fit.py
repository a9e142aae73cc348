"""Time that a monitor adds to the end of a fit: the figures of the whole run, and all else after the last step.

    python tests/benchmarks/end_of_fit.py                                # 16 and 100 layers, thousands of windows
    python tests/benchmarks/end_of_fit.py --layers 16 --windows 100 --rounds 1

Each fit is a process of its own, so that matplotlib is imported in it as in a run. The network is real and its run is
short; what makes a run long for the figures, the histories of temperatures, Laplacians and entropies, is filled in
before the last step, as so many windows would have filled them. Times are of the monitor's hook alone, in processor
seconds and by the clock, the best of the rounds; the logger writes to a folder that is thrown away. A run that is
longer than 64 windows has drawn figures while it went on, and imported matplotlib for them: ``--warm`` is that case.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from thermo_callbacks import ThermoMonitor


class Deep(pl.LightningModule):
    """A plain network of so many linear layers."""

    def __init__(self, layers: int, width: int = 8) -> None:
        super().__init__()
        torch.manual_seed(0)
        hidden = [part for _ in range(layers - 1) for part in (nn.Linear(width, width), nn.ReLU())]
        self.net = nn.Sequential(*hidden, nn.Linear(width, 1))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        inputs, target = batch
        return nn.functional.mse_loss(self.net(inputs), target)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class LongRun(ThermoMonitor):
    """A monitor whose histories are those of a long run, and that times its own end."""

    windows_before, drawn_before = 0, False
    spent: tuple[float, float] | None = None

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        publisher, generator = self._publisher, np.random.default_rng(0)
        step = trainer.global_step
        layers = [name for name, part in pl_module.named_modules() if isinstance(part, nn.Linear)]
        for window in range(self.windows_before):
            step += 10
            temperatures, laplacians = np.exp(generator.normal(size=len(layers))), generator.normal(size=len(layers))
            record = {"thermo/entropy": -3.0 - 0.01 * window, "thermo/temperature": float(temperatures.mean())}
            for family, values in (("thermo_temperature", temperatures), ("thermo_laplacian", laplacians)):
                record |= {f"{family}/{name}": float(value) for name, value in zip(layers, values, strict=True)}
            publisher._remember(record, step)
        publisher.windows += self.windows_before
        if self.drawn_before:
            publisher.draw(trainer, step)
            publisher.windows += 1
        start = time.process_time(), time.perf_counter()
        super().on_train_end(trainer, pl_module)
        self.spent = time.process_time() - start[0], time.perf_counter() - start[1]


def fit(layers: int, windows: int, drawn: bool) -> tuple[float, float]:
    """Processor seconds and seconds that the monitor takes after the last step of one fit."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.manual_seed(1)
    inputs = torch.randn(64, 8)
    loader = DataLoader(TensorDataset(inputs, inputs.sum(1, keepdim=True)), batch_size=16)
    monitor = LongRun("full", window=8, steps_between_windows=0)
    monitor.windows_before, monitor.drawn_before = windows, drawn
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            max_steps=20, accelerator="cpu", logger=TensorBoardLogger(folder), callbacks=monitor, log_every_n_steps=1,
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        )  # fmt: skip
        trainer.fit(Deep(layers), loader)
    assert monitor.spent is not None
    return monitor.spent


def measure(layers: int, windows: int, drawn: bool, rounds: int) -> tuple[float, float]:
    """The best of so many fits, each in a process of its own."""
    times = []
    for _ in range(rounds):
        command = [sys.executable, __file__, "--one", "--layers", str(layers), "--windows", str(windows)]
        command += ["--warm"] * drawn
        found = subprocess.run(command, check=True, capture_output=True, text=True)
        times.append(json.loads(found.stdout.splitlines()[-1]))
    return min(time[0] for time in times), min(time[1] for time in times)


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[16, 100])
    parser.add_argument("--windows", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warm", action="store_true", help="figures were drawn before in the run")
    parser.add_argument("--one", action="store_true", help="one fit in this process, for the others to read")
    options = parser.parse_args(arguments)
    if options.one:
        sys.stdout.write(json.dumps(fit(options.layers[0], options.windows, options.warm)) + "\n")
        return
    table = Table("layers", "windows", "processor [s]", "clock [s]")
    table.title = "End of fit" + ", figures drawn before" * options.warm
    with contextlib.suppress(KeyboardInterrupt):  # what was measured is shown
        for layers in options.layers:
            seconds = measure(layers, options.windows, options.warm, options.rounds)
            table.add_row(str(layers), f"{options.windows:,}", *(f"{value:.2f}" for value in seconds))
    Console().print(table)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main()
