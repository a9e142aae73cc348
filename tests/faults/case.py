"""What a run of the suite is: a recipe, its name, and, where a fault was planted, its cause and place."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from faults.data import Data, digits
from faults.networks import mlp
from thermo_callbacks.findings import CAUSES

HELD_OF = 3
"""One run in so many is kept aside."""
VALIDATED_EVERY = 60
"""Steps from one validation to the next."""
SALT = 10
"""The first number with which a third of both parts is kept aside, and no cause as a whole of those planted twice.
Chosen before there was any rule; it stays when runs are added."""


class Run(Protocol):
    """A training that can be started, and judged when it has ended."""

    module: pl.LightningModule
    loader: Any
    validation: Any  # a loader, or None where there is nothing to validate with
    settings: dict[str, Any]  # of the Trainer

    def score(self) -> float:
        """What the run is judged by: lower is better."""


def held(name: str, salt: int) -> bool:
    """Whether a run is kept aside, which no rule may be tuned on: by a hash of its name, once and for all."""
    return int(hashlib.sha256(f"{salt} {name}".encode()).hexdigest(), 16) % HELD_OF == 0


@dataclass(frozen=True)
class Case:
    """One run of the suite.

    Attributes:
        name: Name, which no other run has.
        make: Makes the run of a seed.
        healthy_twin: Name of the run that differs in the fault alone; None: this one is healthy.
        cause: What is wrong, a key of ``CAUSES``; None: nothing.
        layers: Modules at fault, by the names that a verdict may give: one of them is right.
        salt: What decides, with the name, whether it is kept aside; runs that were added together have one.
    """

    name: str
    make: Callable[[int], Run]
    healthy_twin: str | None = None
    cause: str | None = None
    layers: tuple[str, ...] = ()
    salt: int = SALT

    def __post_init__(self) -> None:
        if (self.cause is None) != (self.healthy_twin is None) or self.cause not in (None, *CAUSES):
            raise ValueError(f"{self.name}: cause {self.cause!r}, twin {self.healthy_twin!r}")

    @property
    def held(self) -> bool:
        """Whether rules may not be tuned on this run."""
        return held(self.name, self.salt)


def sgd(net: nn.Module, rate: float = 0.1, momentum: float = 0.0) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), rate, momentum=momentum)


@dataclass(frozen=True)
class Recipe:
    """All that makes a run, so that a fault is a healthy recipe with something replaced.

    Attributes:
        batch: Changes a batch, given the part of the run that is over.
        prepare: Changes the network when it has been made.
        at_start: Changes the network when training starts.
        zeroing: Whether gradients are set to zero between steps.
        shuffle: Whether samples come in another order in each epoch.
    """

    data: Callable[[], Data] = digits
    network: Callable[[], nn.Module] = mlp
    optimizer: Callable[[nn.Module], torch.optim.Optimizer] = sgd
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy
    steps: int = 300
    batch_size: int = 32
    schedule: Callable[[float], float] | None = None  # factor of the rate, by the part of the run that is over
    batch: Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]] | None = None
    prepare: Callable[[nn.Module], Any] | None = None
    at_start: Callable[[nn.Module], Any] | None = None
    zeroing: bool = True
    shuffle: bool = True
    settings: dict[str, Any] = field(default_factory=dict)

    def __call__(self, seed: int) -> RecipeRun:
        """Make the run of a seed, which decides weights and batches but not the data."""
        return RecipeRun(self, seed)


class Task(pl.LightningModule):
    """Trains a network as its recipe says."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe, self.net = recipe, recipe.network()
        if recipe.prepare is not None:
            recipe.prepare(self.net)

    @property
    def over(self) -> float:
        """Part of the run that is over."""
        return float(self.global_step / self.recipe.steps)

    def on_train_start(self) -> None:
        if self.recipe.at_start is not None:
            self.recipe.at_start(self.net)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        inputs, targets = batch
        if self.recipe.batch is not None:
            inputs, targets = self.recipe.batch(inputs, targets, self.over)
        outputs = self.net(inputs)
        if not targets.is_floating_point():
            outputs, targets = outputs.flatten(0, -2), targets.flatten()
        return self.recipe.loss(outputs, targets)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        inputs, targets = batch
        outputs = self.net(inputs)
        if not targets.is_floating_point():
            outputs, targets = outputs.flatten(0, -2), targets.flatten()
        self.log("val_loss", self.recipe.loss(outputs, targets))

    def configure_optimizers(self) -> Any:
        optimizer, schedule = self.recipe.optimizer(self.net), self.recipe.schedule
        if schedule is None:
            return optimizer
        factors = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule(step / self.recipe.steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": factors, "interval": "step"}}

    def on_validation_model_zero_grad(self) -> None:
        if self.recipe.zeroing:  # else Lightning would do now and then what the fault leaves out
            self.zero_grad()

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Any) -> None:
        if self.recipe.zeroing:
            optimizer.zero_grad()


class RecipeRun:
    """The run of a recipe with a seed."""

    def __init__(self, recipe: Recipe, seed: int) -> None:
        torch.manual_seed(seed)
        self.data, self.module = recipe.data(), Task(recipe)
        self.loader = DataLoader(
            TensorDataset(self.data.inputs, self.data.targets),
            recipe.batch_size,
            shuffle=recipe.shuffle,
            generator=torch.Generator().manual_seed(seed),
        )
        # with a generator of its own, or it would draw from the one that the run goes on with
        self.validation = DataLoader(
            TensorDataset(self.data.test_inputs, self.data.test_targets), 512, generator=torch.Generator()
        )
        batches = VALIDATED_EVERY * recipe.settings.get("accumulate_grad_batches", 1)
        own = {"val_check_interval": batches, "check_val_every_n_epoch": None, "num_sanity_val_steps": 0}
        self.settings = {"max_steps": recipe.steps, **own, **recipe.settings}

    @torch.no_grad()
    def score(self) -> float:
        """Score of the trained network on the test data."""
        self.module.net.eval()
        return self.data.score(self.module.net(self.data.test_inputs).float(), self.data.test_targets)


def named(cases: Iterator[Case]) -> dict[str, Case]:
    """Cases by their names, no two alike."""
    found: dict[str, Case] = {}
    for case in cases:
        if case.name in found:
            raise ValueError(f"two runs have the name {case.name!r}")
        found[case.name] = case
    return found
