"""Ways of writing a training step that leave something behind, each with what it leaves."""

from __future__ import annotations

import argparse
import array
import functools
import io
import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from integration.models import INPUTS
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import ExponentialLR

CALLS = 0
HISTORY: list[float] = []
TABLE: dict[str, Any] = {"sum": torch.zeros(()), "inner": [0]}
AVERAGE = torch.zeros(2)
TEXT = io.StringIO()
JOBS: queue.Queue[int] = queue.Queue()
LARGE = 2**26 + 2**20  # numbers in single precision: more than there is room for


@functools.cache
def remembered(number: int) -> list[int]:
    return [number]


class Own:
    """An object of a user's own class, with a lock."""

    total = 0.0

    def __init__(self) -> None:
        self.event, self.count, self.rows = threading.Event(), 0, torch.zeros(2)


class Written(LightningModule):
    """Regression whose training step does one more thing."""

    steps = 0
    seen: list[int] = []  # noqa: RUF012  one list for all objects is the point

    def __init__(self, writing: Writing, folder: Path) -> None:
        super().__init__()
        global CALLS
        CALLS = Written.steps = 0
        for container in (HISTORY, Written.seen, JOBS.queue):
            container.clear()
        Own.total = 0.0
        TABLE.update(sum=torch.zeros(()), inner=[0])
        AVERAGE.zero_()
        TEXT.seek(0), TEXT.truncate()
        remembered.cache_clear()
        os.environ.pop("THERMO_TEST_STEPS", None)
        self.net = nn.Sequential(nn.Linear(INPUTS, 8), nn.Tanh(), nn.Linear(8, 1))
        self.writing, self.folder, self.number = writing.write, folder, 0
        self.make_optimizer = writing.optimizer
        self.kept: Any = None
        writing.prepare(self)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.number += 1
        more = self.writing(self)
        loss = mse_loss(self.net(batch[0]), batch[1])
        return loss if more is None else loss + more

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer(self.parameters())
        scheduler = ExponentialLR(optimizer, 0.999)
        self.held = [optimizer, scheduler]
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "epoch"}}


class Writing(NamedTuple):
    """What a step does besides its loss, what it needs for that, and what it has left behind."""

    write: Callable[[Any], Any]
    prepare: Callable[[Any], Any] = lambda module: None
    left: Callable[[Any], Any] = lambda module: None
    optimizer: Callable[[Any], Optimizer] = functools.partial(AdamW, lr=0.01)
    refused: bool = False  # whether the replay can't do it without a trace


def keep(value: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda module: setattr(module, "kept", value(module))


def scale_rate(module: Any) -> None:
    module.optimizers().param_groups[0]["lr"] *= 0.99


def change_momentum(module: Any) -> None:
    module.optimizers().param_groups[0]["momentum"] = 0.5 + 0.4 * (module.number % 2)


def shrink_state(module: Any) -> None:
    for state in module.optimizers().state.values():
        state["exp_avg"].mul_(0.5)


def replace_state(module: Any) -> None:
    for state in module.optimizers().state.values():
        state["exp_avg"] = state["exp_avg"] * 0.5


def decay_by_hand(module: Any) -> None:
    with torch.no_grad():
        for parameter in module.optimizers().param_groups[0]["params"]:
            parameter.mul_(0.999)


def count_calls(module: Any) -> None:
    global CALLS
    CALLS += 1
    for group in module.optimizers().param_groups:
        group["lr"] = 0.01 / (1.0 + CALLS)


def count_in_classes(module: Any) -> None:
    Written.steps += 1
    Written.seen.append(1)
    Own.total += 1.0


def fill_globals(module: Any) -> None:
    HISTORY.append(1.0)
    TABLE["sum"].add_(1.0)
    TABLE["inner"].append(1)
    AVERAGE.add_(1.0)


def penalty(module: Any) -> Tensor:
    return 1e-3 * sum(parameter.square().sum() for parameter in module.held[0].param_groups[0]["params"])


def append_line(module: Any) -> None:
    with open(module.folder / "steps.txt", "a") as file:
        file.write(f"{module.number}\n")


def lines(module: Any) -> Any:
    path = module.folder / "steps.txt"
    text = path.read_text() if path.exists() else None
    path.unlink(missing_ok=True)
    return text


def close(module: Any) -> Any:
    module.kept.close()
    return lines(module)


def counter() -> Callable[[Any], Any]:
    count, sums = 0, torch.zeros(())

    def write(module: Any) -> None:
        nonlocal count
        if module.number == 1:
            count = 0
            sums.zero_()
        count += 1
        sums.add_(1.0)
        module.optimizers().param_groups[0]["lr"] = 0.01 / (1.0 + count + float(sums))

    return write


class Stateful(Tensor):
    """A tensor with an attribute, which its own methods need."""

    @staticmethod
    def of(values: Tensor, label: str) -> Stateful:
        tensor = values.as_subclass(Stateful)
        tensor.label = label
        return tensor

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        labels = [argument.label for argument in args if isinstance(argument, cls)]
        result = super().__torch_function__(function, types, args, kwargs or {})
        return Stateful.of(result, labels[0]) if isinstance(result, Tensor) and labels else result


def use_stateful(module: Any) -> Tensor:
    module.kept.add_(1.0)
    return 0.0 * module.kept.as_subclass(Tensor).sum() * len(module.kept.label)


WRITINGS: dict[str, Writing] = {
    "scheduler stepped": Writing(lambda module: module.lr_schedulers().step()),
    "rate multiplied": Writing(scale_rate),
    "momentum changed": Writing(change_momentum, optimizer=functools.partial(SGD, lr=0.01, momentum=0.9)),
    "state in place": Writing(shrink_state, refused=True),
    "state by assignment": Writing(replace_state),
    "scheduler kept": Writing(lambda module: module.held[1].step()),
    "rate of an optimizer kept": Writing(lambda module: module.held[0].param_groups[0].update(lr=0.01 / module.number)),
    "tensor as a rate": Writing(
        lambda module: module.held[0].param_groups[0]["lr"].mul_(0.99),
        optimizer=lambda parameters: AdamW(parameters, lr=torch.tensor(0.01)),
    ),
    "weights of an optimizer's groups": Writing(decay_by_hand),
    "penalty by the optimizer's groups": Writing(penalty),
    "large buffer": Writing(
        lambda module: module.kept[module.number].add_(1.0) and None,
        keep(lambda module: torch.zeros(LARGE)),
        lambda module: module.kept[:100].tolist(),
        refused=True,
    ),
    "argparse.Namespace": Writing(
        lambda module: setattr(module.kept, "count", module.kept.count + 1),
        keep(lambda module: argparse.Namespace(count=0)),
        lambda module: module.kept.count,
    ),
    "SimpleQueue": Writing(
        lambda module: module.kept.put(module.number),
        keep(lambda module: queue.SimpleQueue()),
        lambda module: module.kept.qsize(),
        refused=True,
    ),
    "array": Writing(
        lambda module: module.kept.append(module.number),
        keep(lambda module: array.array("i")),
        lambda module: module.kept.tolist(),
    ),
    "closure": Writing(counter()),
    "object with an event": Writing(
        lambda module: (setattr(module.kept, "count", module.kept.count + 1), module.kept.rows.add_(1.0), None)[-1],
        keep(lambda module: Own()),
        lambda module: (module.kept.count, module.kept.rows.tolist()),
        refused=True,
    ),
    "file appended": Writing(append_line, left=lines, refused=True),
    "open handle": Writing(
        lambda module: module.kept.write(f"{module.number}\n") and None,
        keep(lambda module: open(module.folder / "steps.txt", "w")),  # noqa: SIM115
        close,
    ),
    "queue.Queue of the module": Writing(lambda module: JOBS.put(1), left=lambda module: JOBS.qsize()),
    "bytearray": Writing(
        lambda module: module.kept.append(module.number % 256),
        keep(lambda module: bytearray()),
        lambda module: bytes(module.kept),
    ),
    "StringIO": Writing(
        lambda module: (module.kept.write("step"), TEXT.write("step"), None)[-1],
        keep(lambda module: io.StringIO()),
        lambda module: (module.kept.getvalue(), TEXT.getvalue()),
    ),
    "class attributes": Writing(
        count_in_classes, left=lambda module: (Written.steps, Written.seen, Own.total)
    ),
    "globals": Writing(count_calls, left=lambda module: CALLS),
    "containers in globals": Writing(
        fill_globals, left=lambda module: (HISTORY, float(TABLE["sum"]), TABLE["inner"], AVERAGE.tolist())
    ),
    "lru_cache": Writing(
        lambda module: remembered(module.number).append(1),
        left=lambda module: (remembered.cache_info().misses, remembered(module.number)),
        refused=True,
    ),
    "environment": Writing(
        lambda module: os.environ.update(THERMO_TEST_STEPS=str(int(os.environ.get("THERMO_TEST_STEPS", "0")) + 1)),
        left=lambda module: os.environ.get("THERMO_TEST_STEPS"),
    ),
    "data set": Writing(
        lambda module: module.trainer.train_dataloader.dataset.tensors[1][module.number].add_(1.0) and None,
        left=lambda module: module.trainer.train_dataloader.dataset.tensors[1].tolist(),
        refused=True,
    ),
    "plain object": Writing(lambda module: None, keep(lambda module: [object()])),
    "tensor with a state of its own": Writing(
        use_stateful, keep(lambda module: Stateful.of(torch.zeros(3), "label")), lambda module: module.kept.tolist()
    ),
    "array of NumPy": Writing(
        lambda module: module.kept.__iadd__(1) is None or None,
        keep(lambda module: np.zeros(3)),
        lambda module: module.kept.tolist(),
    ),
    "bound method": Writing(
        lambda module: module.kept(1), keep(lambda module: [].append), lambda module: module.kept.__self__
    ),
}  # fmt: skip
