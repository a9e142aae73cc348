"""Cost of the monitor: steps per second of processor time with it over those without it, and the memory it takes.

    python tests/benchmarks/overhead.py            # preset "standard", some forty minutes on one thread
    python tests/benchmarks/overhead.py --preset light --model mlp --pairs 10

One training run through a real Trainer, in which blocks of steps with and without the monitor alternate; the ratio is
taken within each pair of neighbours, so that a machine whose speed drifts moves both. The clock is the processor time
of the process, which other work on the machine hardly touches. A block with the monitor holds
whole periods of the schedule of a long run: windows, their ends with all that is computed from them, the pauses after
them, and an extra pass every 400 steps. Windows and pauses of the decoder, whose steps take longer, are shorter (one
step in 20 is watched all the same), its extra passes as far apart as those of the MLP.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import lightning.pytorch as pl
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from thermo_callbacks import ThermoMonitor
from thermo_callbacks.callbacks.windows.optimizer_window import OptimizerWindow
from thermo_callbacks.callbacks.windows.window_settings import WindowSettings
from thermo_callbacks.probes.layers import layer_parameters


class Decoder(nn.Module):
    """Four pre-norm blocks of causal attention."""

    def __init__(self, width: int = 256, depth: int = 4, symbols: int = 84, length: int = 128) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, width)
        self.position = nn.Embedding(length, width)
        block = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, depth, enable_nested_tensor=False)
        self.head = nn.Linear(width, symbols)

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        hidden = self.embedding(tokens) + self.position(torch.arange(length))
        return self.head(self.blocks(hidden, mask=mask, is_causal=True))


def mlp(width: int = 512) -> nn.Module:
    return nn.Sequential(
        nn.Linear(784, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
        nn.Linear(width, 10),
    )  # fmt: skip


class Task(pl.LightningModule):
    def __init__(self, make: Callable[[], nn.Module], momentum: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net, self.momentum = make(), momentum

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        inputs, target = batch
        return nn.functional.cross_entropy(self.net(inputs).flatten(0, -2), target.flatten())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=self.momentum)


class Switch(pl.Callback):
    """Hands the hooks on to a monitor in every other block, and times the blocks."""

    def __init__(self, preset: Any, window: int, rest: int, block: int) -> None:
        # the schedule of a long run: one planned by the length of this one would not repeat itself in each block
        self.monitor = ThermoMonitor(preset, window=window, steps_between_windows=rest, curvature_every_n_steps=400)
        self.block = block
        self.on, self.steps = False, 0
        self.rates: dict[bool, list[float]] = {False: [], True: []}

    def on_fit_start(self, *hook: Any) -> None:
        self.monitor.on_fit_start(*hook)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.monitor.on_train_start(trainer, pl_module)
        self.session, self.optimizer = self.monitor._session, trainer.optimizers[0]
        self.session.detach()
        self.start: float | None = None  # the first block warms everything up

    def on_train_batch_start(self, *hook: Any) -> None:
        if self.on:
            self.monitor.on_train_batch_start(*hook)

    def on_after_backward(self, *hook: Any) -> None:
        if self.on:
            self.monitor.on_after_backward(*hook)

    def on_before_optimizer_step(self, *hook: Any) -> None:
        if self.on:
            self.monitor.on_before_optimizer_step(*hook)

    def on_train_batch_end(self, *hook: Any) -> None:
        if self.on:
            self.monitor.on_train_batch_end(*hook)
        self.steps += 1
        if self.steps % self.block:
            return
        if self.start is not None:
            self.rates[self.on].append(self.block / (time.process_time() - self.start))
        self.session.detach()
        # pairs come in both orders: off on, on off, off on ...
        self.on = (self.steps // self.block) % 4 in {2, 3}
        if self.on:
            self.session.attach()
        self.start = time.process_time()


def images() -> DataLoader:
    generator = torch.Generator().manual_seed(0)
    data = TensorDataset(torch.randn(1280, 784, generator=generator), torch.randint(10, (1280,), generator=generator))
    return DataLoader(data, batch_size=128, shuffle=True)


def text() -> DataLoader:
    tokens = torch.randint(84, (64, 129), generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(tokens[:, :-1], tokens[:, 1:]), batch_size=8, shuffle=True)


# model, data, window, rest, steps of a block
CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[], DataLoader], int, int, int]] = {
    "mlp": (mlp, images, 50, 950, 2000),
    "decoder": (Decoder, text, 20, 380, 400),
}


def overhead(case: str, pairs: int, momentum: float, *, preset: str = "standard", scale: float = 1.0) -> list[float]:
    """Ratios with / without of each pair of neighbouring blocks."""
    make, data, window, rest, block = CASES[case]
    switch = Switch(preset, max(8, int(window * scale)), int(rest * scale), max(8, int(block * scale)))
    trainer = pl.Trainer(
        max_steps=(2 * pairs + 1) * switch.block, max_epochs=-1, accelerator="cpu", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, callbacks=[switch],
    )  # fmt: skip
    trainer.fit(Task(make, momentum), data())
    return [on / off for on, off in zip(switch.rates[True], switch.rates[False], strict=True)]


def held_bytes(thing: Any) -> int:
    """Bytes of the tensors that an object holds, each storage once."""
    storages: dict[int, int] = {}
    todo, seen = [thing], set()
    while todo:
        item = todo.pop()
        if id(item) in seen or isinstance(item, (nn.Parameter, torch.optim.Optimizer)):
            continue
        seen.add(id(item))
        if isinstance(item, Tensor):
            storages[item.untyped_storage().data_ptr()] = item.untyped_storage().nbytes()
        elif isinstance(item, (list, tuple)):
            todo.extend(item)
        elif isinstance(item, dict):
            todo.extend(item.values())
        elif hasattr(item, "__dict__"):
            todo.extend(vars(item).values())
    return sum(storages.values())


def memory(width: int) -> tuple[int, int]:
    """Parameters of an MLP of that width, and bytes that watching it takes."""
    net = mlp(width)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    settings = WindowSettings(window=50, steps_between_windows=None, sample=4096, seed=0, pairs=True)
    watch = OptimizerWindow(optimizer, layer_parameters(net), settings)
    return sum(parameter.numel() for parameter in net.parameters()), held_bytes(watch)


def tables(
    cases: Iterable[str],
    pairs: int,
    *,
    preset: str = "standard",
    momenta: Iterable[float] = (0.0, 0.9),
    scale: float = 1.0,
) -> list[Table]:
    title = f"Steps per second of processor time, with / without, preset {preset}"
    speed = Table("model", "momentum", "blocks", "median ratio", "quartiles", title=title)
    for case in cases:
        for momentum in momenta:
            ratios = overhead(case, pairs, momentum, preset=preset, scale=scale)
            quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else [ratios[0]] * 3
            speed.add_row(
                case, f"{momentum}", f"2 x {pairs}", f"{statistics.median(ratios):.4f}",
                f"{quartiles[0]:.4f} to {quartiles[2]:.4f}",
            )  # fmt: skip
    space = Table("parameters", "of them in bytes", "extra bytes", "share", title="Memory, MLP of four layers")
    for width in (516, 2050, 6870):
        count, extra = memory(width)
        space.add_row(
            f"{count / 1e6:.1f} M", f"{4 * count / 1e6:.1f} MB", f"{extra / 1e6:.2f} MB", f"{extra / count / 4:.1%}"
        )
    return [speed, space]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=[*CASES, "all"], default="all")
    parser.add_argument("--preset", choices=["light", "standard", "full"], default="standard")
    parser.add_argument("--momentum", type=float, nargs="+", default=[0.0, 0.9], help="momenta of SGD")
    parser.add_argument("--pairs", type=int, default=12, help="pairs of blocks with and without the monitor")
    parser.add_argument("--scale", type=float, default=1.0, help="length of the blocks, in units of the usual one")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    cases = CASES if options.model == "all" else [options.model]
    settings = {"preset": options.preset, "momenta": options.momentum, "scale": options.scale}
    for table in tables(cases, options.pairs, **settings):
        Console().print(table)


if __name__ == "__main__":
    main()
