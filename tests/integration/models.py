"""What the tests through a Trainer share: small modules, loaders that depend on nothing, loggers that remember."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers.logger import DummyExperiment, Logger
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.optim import SGD, Optimizer
from torch.utils.data import DataLoader, TensorDataset

BATCH_SIZE = 4
INPUTS, HIDDEN = 5, 6
OF_BATCHES = {f"thermo/{name}" for name in ("batch_likeness", "broken_batches", "input_size", "input_shift")}
"""Tags of what a process is given: another split of the samples is another row of batches."""
MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]


def sgd(parameters: Iterable[nn.Parameter]) -> Optimizer:
    return SGD(parameters, lr=0.05)


def momentum_sgd(parameters: Iterable[nn.Parameter]) -> Optimizer:
    return SGD(parameters, lr=0.02, momentum=0.9)


@cache
def examples() -> tuple[Tensor, Tensor]:
    """Inputs and noisy targets of 1000 examples."""
    generator = torch.Generator().manual_seed(7)
    inputs = torch.randn(1000, INPUTS, generator=generator, dtype=torch.float64)
    noise = torch.randn(1000, 1, generator=generator, dtype=torch.float64)
    return inputs, torch.sin(inputs.sum(1, keepdim=True)) + 0.5 * noise


def loader(batches: int, batch_size: int = BATCH_SIZE, *, dtype: torch.dtype = torch.float64) -> DataLoader[Any]:
    """The first examples in order, the same in every epoch."""
    rows = batches * batch_size
    assert rows <= 1000, "there are not so many examples"
    return DataLoader(TensorDataset(*(column[:rows].to(dtype) for column in examples())), batch_size=batch_size)


def perceptron(*, seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """Layers ``0`` and ``2``, smooth in between."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1)).to(dtype)


class Regression(LightningModule):
    """Least squares of a network, under the name ``net``."""

    def __init__(self, net: nn.Module | None = None, optimizer: MakeOptimizer = sgd) -> None:
        super().__init__()
        self.net = perceptron() if net is None else net
        self._make_optimizer = optimizer

    def loss(self, batch: Any) -> Tensor:
        inputs, targets = batch
        return mse_loss(self.net(inputs), targets)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.loss(batch)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("validation_loss", self.loss(batch))

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("test_loss", self.loss(batch))

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.net(batch[0])

    def configure_optimizers(self) -> Any:
        return self._make_optimizer([parameter for parameter in self.parameters() if parameter.requires_grad])


class LoggingRegression(Regression):
    """Logs its loss at every step."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = self.loss(batch)
        self.log("loss", loss)
        return loss


class TwoOptimizers(Regression):
    """Each layer has its own optimizer, stepped by hand."""

    def __init__(self, first: MakeOptimizer = sgd, second: MakeOptimizer = momentum_sgd) -> None:
        super().__init__()
        self.automatic_optimization = False
        self._makers = (first, second)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        optimizers: Any = self.optimizers()
        loss = self.loss(batch)
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.manual_backward(loss)
        for optimizer in optimizers:
            optimizer.step()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        return [make(self.net[index].parameters()) for index, make in zip((0, 2), self._makers, strict=True)]


class RecordingLogger(Logger):
    """Remembers the rows ``(step, values)`` in the order they came."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int | None, dict[str, float]]] = []

    @property
    def name(self) -> str:
        return "recording"

    @property
    def version(self) -> int:
        return 0

    @property
    def experiment(self) -> Any:
        return DummyExperiment()

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append((step, dict(metrics)))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Of no interest here."""

    @property
    def thermo_rows(self) -> list[tuple[int | None, dict[str, float]]]:
        """Rows of the monitors."""
        return [(step, values) for step, values in self.rows if any(tag.startswith("thermo") for tag in values)]

    @property
    def user_rows(self) -> list[tuple[int | None, dict[str, float]]]:
        """Rows of everyone else."""
        return [(step, values) for step, values in self.rows if not any(tag.startswith("thermo") for tag in values)]

    def series(self, tag: str) -> list[float]:
        """Values of a tag, in order."""
        return [values[tag] for _, values in self.rows if tag in values]


def quiet_trainer(**options: Any) -> Trainer:
    """A Trainer that does what it is told and nothing else."""
    quiet: dict[str, Any] = {
        "accelerator": "cpu",
        "max_epochs": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
    }
    return Trainer(**{**quiet, **options})


def fit(module: LightningModule, monitor: Any, batches: int | DataLoader[Any], **options: Any) -> RecordingLogger:
    """Train with one monitor, or several in a list, and give back what was logged."""
    logger = RecordingLogger()
    data = loader(batches) if isinstance(batches, int) else batches
    quiet_trainer(callbacks=monitor, logger=logger, **options).fit(module, data)
    return logger
