"""Modules that shard themselves where there are several processes, and fits of them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from integration.models import (
    OF_BATCHES,
    RecordingLogger,
    Regression,
    examples,
    momentum_sgd,
    perceptron,
    quiet_trainer,
)
from integration.processes import in_processes
from lightning.pytorch import Callback
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.utils.data import DataLoader, TensorDataset

BATCHES, BATCH_SIZE = 30, 8


class Sharded(Regression):
    """Each process takes its share of the samples, and holds its share of each layer: the last has a single row."""

    policy = MixedPrecisionPolicy()

    def configure_model(self) -> None:
        if self.device_mesh is not None and not hasattr(self.net, "reshard"):
            mesh = self.device_mesh["data_parallel"]
            for layer in self.net.children():
                if any(True for _ in layer.parameters()):
                    fully_shard(layer, mesh=mesh, mp_policy=self.policy)
            fully_shard(self.net, mesh=mesh, mp_policy=self.policy)

    def train_dataloader(self) -> DataLoader[Any]:
        shares = 1 if self.device_mesh is None else self.device_mesh["data_parallel"].size()
        share = 0 if self.device_mesh is None else self.device_mesh["data_parallel"].get_local_rank()
        columns = (column[share::shares][: BATCHES * BATCH_SIZE // shares] for column in examples())
        return DataLoader(TensorDataset(*columns), BATCH_SIZE // shares)


class AllInOne(Sharded):
    """All layers are gathered together, and stay so after a pass without gradients."""

    def configure_model(self) -> None:
        if self.device_mesh is not None and not hasattr(self.net, "reshard"):
            fully_shard(self.net, mesh=self.device_mesh["data_parallel"])

    def val_dataloader(self) -> DataLoader[Any]:
        return self.train_dataloader()


class TensorParallel(Sharded):
    """The first layer is split by rows, the last by columns, with a bias that all hold; all see the same samples."""

    def configure_model(self) -> None:
        if self.device_mesh is not None and not hasattr(self.net, "reshard"):
            plan = {"0": ColwiseParallel(), "2": RowwiseParallel()}
            parallelize_module(self.net, self.device_mesh["tensor_parallel"], plan)


class BothWays(TensorParallel):
    """Split by tensor parallelism, and each piece over the processes with other samples."""

    def configure_model(self) -> None:
        super().configure_model()
        Sharded.configure_model(self)


class Tied(nn.Module):
    """The same matrix twice, a frozen layer, and a layer with one row fewer than is even."""

    def __init__(self) -> None:
        super().__init__()
        net = perceptron()
        self.first, self.second, self.frozen = (nn.Linear(5, 5).double() for _ in range(3))
        self.second.weight = self.first.weight
        self.frozen.requires_grad_(False)
        self.last = net[2]
        self.middle = nn.Linear(5, 6).double()

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.tanh(self.second(torch.tanh(self.first(inputs))))
        return self.last(torch.tanh(self.middle(torch.tanh(self.frozen(hidden)))))


def tied() -> Sharded:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return AllInOne(Tied())


class Halves(Sharded):
    """Computes with 16 bits when sharded."""

    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16)


class GradientsSeen(Callback):
    """Looks at the gradients where a step's first batch begins, after all other callbacks have."""

    def __init__(self) -> None:
        self.seen: list[list[Any]] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        gradients = [parameter.grad for parameter in pl_module.parameters()]
        parts = [gradient.to_local() if hasattr(gradient, "to_local") else gradient for gradient in gradients]
        self.seen.append([None if gradient is None else gradient.tolist() for gradient in parts])


def fit(
    module: Sharded,
    callbacks: Sequence[Callback],
    *,
    tensor_parallel: int = 1,
    checkpoint: Path | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Train in this process, or together with others where there are some; what was seen and what came out."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1:
        strategy = ModelParallelStrategy(
            data_parallel_size=processes // tensor_parallel,
            tensor_parallel_size=tensor_parallel,
            save_distributed_checkpoint=False,
        )
        options |= {"strategy": strategy, "devices": processes, "use_distributed_sampler": False}
    logger = RecordingLogger()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = quiet_trainer(callbacks=list(callbacks), logger=logger, **options)
        trainer.fit(module, ckpt_path=checkpoint)
    state = module.state_dict()
    weights = {name: value.full_tensor() if hasattr(value, "full_tensor") else value for name, value in state.items()}
    messages = [str(warning.message) for warning in caught]
    return {
        "rows": [
            (step, {tag: value for tag, value in row.items() if tag not in OF_BATCHES})
            for step, row in logger.thermo_rows
        ],
        "gradients": [callback.seen for callback in callbacks if isinstance(callback, GradientsSeen)],
        "weights": {name: value.clone() for name, value in weights.items()},
        "warnings": [text for text in messages if "thermo" in text.lower() or "curvature" in text],
    }


def fit_in_two(folder: Path, make: Callable[[], dict[str, Any]], processes: int = 2) -> list[dict[str, Any]]:
    """What :func:`fit` gives in each of two processes."""
    return in_processes(processes, lambda rank: make(), folder)


MAKERS: dict[str, Callable[[], Sharded]] = {
    "sharded": lambda: Sharded(optimizer=momentum_sgd),
    "tensor parallel": lambda: TensorParallel(optimizer=momentum_sgd),
    "validated": lambda: AllInOne(optimizer=momentum_sgd),
    "tied": tied,
}
