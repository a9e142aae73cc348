"""Training runs of a decoder on one device, and what is counted in them."""

from __future__ import annotations

import contextlib
import copy
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers.logger import DummyExperiment, Logger
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

READS = ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__")
"""What waits for a device to read numbers off it."""


@dataclass(frozen=True)
class Size:
    """Of a decoder, its batches, and its runs."""

    width: int
    depth: int
    symbols: int
    length: int
    batch: int
    timed_steps: int
    pairs: int


TINY = Size(width=16, depth=1, symbols=20, length=8, batch=8, timed_steps=24, pairs=1)
LARGE = Size(width=768, depth=12, symbols=32_768, length=256, batch=8, timed_steps=200, pairs=3)


class Decoder(LightningModule):
    """Pre-norm blocks of causal attention over random tokens; one batch can have a loss that overflows."""

    def __init__(self, size: Size, optimizer: Callable[..., Any], overflow: int = -1) -> None:
        super().__init__()
        self.make, self.overflow = optimizer, overflow
        self.embedding, self.position = nn.Embedding(size.symbols, size.width), nn.Embedding(size.length, size.width)
        heads = max(1, size.width // 64)
        block = nn.TransformerEncoderLayer(
            size.width, heads, 4 * size.width, 0.1, "gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, size.depth, enable_nested_tensor=False)
        self.head = nn.Linear(size.width, size.symbols)
        mask = nn.Transformer.generate_square_subsequent_mask(size.length)
        self.register_buffer("mask", mask, persistent=False)
        self.register_buffer("places", torch.arange(size.length), persistent=False)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        tokens, targets = batch
        hidden = self.embedding(tokens) + self.position(self.places)
        logits = self.head(self.blocks(hidden, mask=self.mask, is_causal=True))
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return loss * torch.inf if batch_idx == self.overflow else loss

    def configure_optimizers(self) -> Any:
        return self.make(self.parameters())


class Silent(Logger):
    """Remembers at which batches a monitor logged."""

    name, version = "silent", 0

    def __init__(self) -> None:
        super().__init__()
        self.now = -1
        self.logged: set[int] = set()

    @property
    def experiment(self) -> Any:
        return DummyExperiment()

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.logged |= {self.now} if any(tag.startswith("thermo") for tag in metrics) else set()

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Of no interest here."""


class Waits:
    """Counts what waits for the device: on CUDA torch tells, on a CPU the reads of single numbers stand for it."""

    def __init__(self, device: str) -> None:
        self.device, self.count = device, 0

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Count in this block."""
        with self._told_by_torch() if self.device == "cuda" else self._reads():
            yield

    @contextlib.contextmanager
    def _told_by_torch(self) -> Iterator[None]:
        with warnings.catch_warnings():
            show = warnings.showwarning
            warnings.filterwarnings("always", message=".*synchronizing CUDA operation")

            def count(message: Any, *rest: Any, **named: Any) -> None:
                if "synchronizing CUDA operation" in str(message):
                    self.count += 1
                else:
                    show(message, *rest, **named)

            warnings.showwarning = count
            torch.cuda.set_sync_debug_mode("warn")
            try:
                yield
            finally:
                torch.cuda.set_sync_debug_mode("default")

    @contextlib.contextmanager
    def _reads(self) -> Iterator[None]:
        def counting(name: str) -> Callable[..., Any]:
            read = getattr(Tensor, name)

            def call(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
                self.count += 1
                return read(tensor, *args, **kwargs)

            return call

        before = {name: vars(Tensor).get(name) for name in READS}
        counters = {name: counting(name) for name in READS}
        for name, counter in counters.items():
            setattr(Tensor, name, counter)
        try:
            yield
        finally:
            for name, method in before.items():
                if method is None:
                    delattr(Tensor, name)
                else:
                    setattr(Tensor, name, method)


class Counter(Callback):
    """Notes what each batch waits for, from its first hook to its last one."""

    def __init__(self, waits: Waits, logger: Silent, *, last: bool = False) -> None:
        self.waits, self.logger, self.last = waits, logger, last
        self.counts: list[int] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if not self.last:
            self.logger.now += 1
            self.counts.append(self.waits.count)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.last:
            self.counts.append(self.waits.count)


@dataclass
class Run:
    """What a run left, how long its steps took, how often each waited, and which batches logged."""

    left: dict[str, Any]
    values: dict[str, float]
    seconds: float
    peak: int
    waits: list[int] = field(default_factory=list)
    logged: set[int] = field(default_factory=set)
    parameters: int = 0


def train(
    size: Size, device: str, steps: int, optimizer: Callable[..., Any], monitor: Callback | None = None, *,
    precision: str = "32-true", overflow: int = -1, keep: bool = True, count: bool = False,
) -> Run:  # fmt: skip
    """Train from one seed; with ``keep`` all that a monitor could change is kept, with ``count`` waits are counted."""
    torch.manual_seed(3)
    tokens = torch.randint(size.symbols, (steps * size.batch, size.length + 1))
    data = DataLoader(TensorDataset(tokens[:, :-1], tokens[:, 1:]), batch_size=size.batch, shuffle=True)
    module, logger, waits = Decoder(size, optimizer, overflow), Silent(), Waits(device)
    first, last = Counter(waits, logger), Counter(waits, logger, last=True)
    # Lightning makes no scaler for a CPU unless the plugin is told to
    plugins: Any = (
        {"plugins": [MixedPrecision("16-mixed", device)]} if precision == "16-mixed" else {"precision": precision}
    )
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = Trainer(
        accelerator=device, devices=1, max_epochs=1, logger=logger, enable_checkpointing=False, log_every_n_steps=1,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        callbacks=[first, *([monitor] if monitor else []), last], **plugins,
    )  # fmt: skip
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with waits.counted() if count else contextlib.nullcontext():
        start = time.perf_counter()
        trainer.fit(module, data)
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    values = {tag: float(value) for tag, value in trainer.callback_metrics.items()}
    left = state(trainer, module) if keep else {}
    spent = [end - begin for begin, end in zip(first.counts, last.counts, strict=True)]
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else 0
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return Run(left, values, seconds, peak, spent, logger.logged, parameters)


def state(trainer: Trainer, module: LightningModule) -> dict[str, Any]:
    """All that a monitor could have changed."""
    left = {
        "weights": module.state_dict(),
        "gradients": {name: parameter.grad for name, parameter in module.named_parameters()},
        "optimizers": [optimizer.state_dict() for optimizer in trainer.optimizers],
        "scaler": trainer.precision_plugin.state_dict(),
        "random numbers": torch.get_rng_state(),
        "on the device": torch.cuda.get_rng_state() if module.device.type == "cuda" else None,
    }
    return copy.deepcopy(left)
