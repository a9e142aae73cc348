"""Odd batches: classes of one's own, several loaders, nested and sparse tensors, text."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from integration.models import INPUTS, LoggingRegression, examples, loader
from integration.odd_runs import Ended, Started, once
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset


@dataclasses.dataclass(frozen=True)
class Sample:
    """A batch of its own class."""

    inputs: Tensor
    targets: Tensor
    note: str = "text"
    nothing: Any = None
    meter: Any = None


class Structured(LoggingRegression):
    """Takes frozen dataclasses, and moves them by itself."""

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        return dataclasses.replace(batch, inputs=batch.inputs.to(device), targets=batch.targets.to(device))

    def loss(self, batch: Any) -> Tensor:
        loss = mse_loss(self.net(batch.inputs), batch.targets)
        batch.meter.update(loss.detach())
        return loss


METERS: list[Any] = []


def gathered(rows: Any) -> Sample:
    inputs, targets = (torch.stack(column) for column in zip(*rows, strict=True))
    return Sample(inputs, targets, meter=METERS[-1])


def dataclasses_as_batches(start: Started) -> Ended:
    """Batches of a frozen dataclass that hold a metric, which the step moves."""
    from torchmetrics import MeanMetric

    METERS.append(MeanMetric())
    module = Structured()
    module.meter = METERS[-1]  # so that it is compared
    data = DataLoader(TensorDataset(*next(iter(loader(1, 200)))), 4, collate_fn=gathered)
    return once(start.trainer(), module, data)


class Either(LoggingRegression):
    """Has batches of one loader, or of both."""

    def loss(self, batch: Any) -> Tensor:
        parts = [super(Either, self).loss(part) for part in batch.values() if part is not None]
        return torch.stack(parts).sum()


def combined(start: Started) -> Ended:
    """Two loaders of which one ends early."""
    return once(start.trainer(), Either(), CombinedLoader({"long": loader(40), "short": loader(15)}, "max_size"))


class OfSeveralLengths(LoggingRegression):
    """Reads nested tensors."""

    def loss(self, batch: Any) -> Tensor:
        inputs, targets = batch
        out = self.net(inputs)
        return torch.stack(
            [(part - target).square().mean() for part, target in zip(out.unbind(), targets, strict=True)]
        ).mean()


def nesting(rows: Any) -> Any:
    parts = [
        torch.randn(length, INPUTS, dtype=torch.float64, generator=torch.Generator().manual_seed(length))
        for length in rows
    ]
    return torch.nested.nested_tensor(parts, layout=torch.jagged), torch.tensor([float(length) / 8 for length in rows])


def nested_tensors(start: Started) -> Ended:
    """Nested tensors as batches."""
    lengths = torch.randint(1, 9, (200,), generator=torch.Generator().manual_seed(1)).tolist()
    return once(start.trainer(), OfSeveralLengths(), DataLoader(lengths, 4, collate_fn=nesting))


class Sparse(LoggingRegression):
    """Reads sparse tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(0.3 * torch.eye(INPUTS, dtype=torch.float64))

    def loss(self, batch: Any) -> Tensor:
        return mse_loss(self.net(torch.sparse.mm(batch["inputs"], self.first)), batch["targets"])


def sparsely(rows: Any) -> Any:
    inputs, targets = (torch.stack(column) for column in zip(*rows, strict=True))
    return {"inputs": (inputs * (inputs > 0)).to_sparse(), "targets": targets}


def sparse(start: Started) -> Ended:
    """Sparse tensors in dictionaries as batches."""
    data = DataLoader(TensorDataset(*next(iter(loader(1, 200)))), 4, collate_fn=sparsely)
    return once(start.trainer(), Sparse(), data)


class Named(LoggingRegression):
    """Looks its data up by name."""

    def loss(self, batch: Any) -> Tensor:
        rows = [int(name[2:]) for name in batch]
        inputs, targets = examples()
        return mse_loss(self.net(inputs[rows]), targets[rows])


def named(start: Started) -> Ended:
    """Batches of text."""
    return once(start.trainer(), Named(), DataLoader([f"no{row}" for row in range(200)], 4))
