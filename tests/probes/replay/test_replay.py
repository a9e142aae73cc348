"""A replayed training step leaves nothing behind, whatever the step does."""

from __future__ import annotations

import queue
import random
import threading
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchmetrics import CatMetric, MeanMetric

from thermo_callbacks.probes.replay import Replay


class Counter:
    """An object of a user's own class."""

    def __init__(self) -> None:
        self.count, self.sums = 0, torch.zeros(2)


@dataclass(slots=True)
class Slotted:
    total: float
    seen: list[int]


class Labelled(list[int]):
    """A container of a user's own class, with an attribute outside of its dictionary."""

    __slots__ = ("label",)


class Notes(list[bool]):
    """A list that can be referred to weakly."""


class Module(nn.Module):
    """As much of a LightningModule as a replay needs, with everything that a step may change."""

    def __init__(self, effect: Callable[[Any, Any], Any] = lambda module, batch: None) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
        self.follower = nn.Linear(3, 4).requires_grad_(False)
        self.extra = nn.Parameter(torch.ones(()))
        self.register_buffer("ring", torch.zeros(4))
        self.metric, self.all_values = MeanMetric(), CatMetric()
        self.metric.update(1.0)
        self.all_values.update(torch.ones(2))
        self.average, self.history = torch.zeros(2), [torch.zeros(1), 1]
        self.recent, self.names = deque([1, 2, 3], maxlen=3), {"a", "b"}
        self.table: dict[str, Any] = {"first": torch.zeros(1), "inner": {"list": [1, 2]}}
        self.ordered, self.counts = OrderedDict(a=1, b=2), defaultdict(int, c=3)
        self.pair = (torch.zeros(1), [4])
        self.array, self.bytes = np.zeros(3), bytearray(b"abc")
        self.jobs: queue.Queue[Any] = queue.Queue()
        self.jobs.put(torch.zeros(1))
        self.object, self.slotted, self.space = Counter(), Slotted(0.0, [1]), SimpleNamespace(value=torch.zeros(1))
        self.hidden = [nn.BatchNorm1d(3)]  # kept out of the module tree
        self.random, self.generator = random.Random(1), torch.Generator().manual_seed(1)
        self.numpy, self.legacy = np.random.default_rng(1), np.random.RandomState(1)
        self.nothing: list[int] = []
        self.labelled = Labelled([1])
        self.labelled.label = "old"
        self.lines: list[Any] = []
        self._trainer = Trainer()
        self.effect = effect

    @property
    def logger(self) -> Any:
        return self._trainer.loggers[0]

    def log(self, *values: Any, **_: Any) -> None:
        self.lines.append(values)

    def log_dict(self, values: Any, **_: Any) -> None:
        self.lines.append(values)

    def print(self, *values: Any) -> None:
        raise AssertionError("printed during a replay")

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        inputs, targets = batch["data"]
        loss = (self.net(inputs) * self.extra - targets).square().mean()
        self.effect(self, batch)
        return loss


class Logger:
    """Remembers that it was used."""

    name = "remembering"

    def __init__(self) -> None:
        self.lines: list[Any] = []

    @property
    def experiment(self) -> Any:
        raise AssertionError("an experiment was made during a replay")

    def log_metrics(self, values: Any) -> None:
        self.lines.append(values)


class Trainer:
    """What a step can reach of a Trainer, whose inside is not looked into."""

    def __init__(self) -> None:
        self.loggers, self.should_stop = [Logger()], False
        self.lock = threading.Lock()


def make_batch() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(8)
    return {
        "data": (torch.randn(6, 3, generator=generator), torch.randn(6, 1, generator=generator)),
        "more": [torch.zeros(2), "text"],
        "object": Counter(),
    }


STATES: dict[type, Callable[[Any], Any]] = {
    set: sorted,
    bytearray: bytes,
    np.ndarray: lambda array: array.tolist(),
    random.Random: lambda generator: generator.getstate(),
    torch.Generator: lambda generator: generator.get_state().tolist(),
    np.random.Generator: lambda generator: repr(generator.bit_generator.state),
    np.random.RandomState: lambda generator: repr(generator.get_state()),
    queue.Queue: lambda jobs: (jobs.unfinished_tasks, picture(jobs.queue)),
    Slotted: lambda slotted: (slotted.total, picture(slotted.seen)),
}


def picture(value: Any, seen: dict[int, Any] | None = None) -> Any:
    """Identity and contents of everything that can be reached, as plain values: the second implementation."""
    seen = {} if seen is None else seen
    if id(value) in seen:
        return id(value)
    seen[id(value)] = value
    if isinstance(value, Tensor):
        numbers = value.detach().clone().nan_to_num(7e33).tolist() if value.numel() else []
        gradient = None if value.grad is None else value.grad.tolist()
        return id(value), value.data_ptr(), value._version, value.requires_grad, gradient, numbers
    if isinstance(value, Mapping):
        return id(value), [(key, picture(item, seen)) for key, item in value.items()]
    if isinstance(value, (list, tuple, deque)):
        return id(value), [picture(item, seen) for item in value], getattr(value, "label", None)
    for kind, state in STATES.items():
        if isinstance(value, kind):
            return id(value), state(value)
    if isinstance(value, (nn.Module, Counter, SimpleNamespace, Logger, Trainer)):
        return id(value), picture(vars(value), seen)
    return value if isinstance(value, (int, float, str, bool, type(None))) else id(value)


def streams() -> tuple[Any, ...]:
    return random.getstate(), repr(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002


def replayed(module: Any, batch: Any, **options: Any) -> list[Tensor]:
    """Loss and gradients of one replay at shifted parameters."""
    values = {p: (p.detach() + 0.1).requires_grad_() for p in module.parameters() if p.requires_grad}
    with Replay(module, **options).loss(values, batch, 5) as loss:
        return [loss.value.detach(), *torch.autograd.grad(loss.value, list(values.values()), allow_unused=True)]


def grow_follower(module: Any, batch: Any) -> None:
    with torch.no_grad():
        for mine, theirs in zip(module.follower.parameters(), module.net[0].parameters(), strict=True):
            mine.mul_(0.9).add_(theirs, alpha=0.1)


def register(module: Any, batch: Any) -> None:
    module.net[0].register_forward_hook(lambda *_: None)
    module.net[3].register_buffer("late", torch.ones(1))
    module.add_module("late", nn.Linear(1, 1))


EFFECTS: dict[str, Callable[[Any, Any], Any]] = {
    "nothing": lambda module, batch: None,
    "metric": lambda module, batch: (module.metric.update(2.0), module.metric.compute()),
    "metric's forward": lambda module, batch: module.metric(3.0),
    "metric's reset": lambda module, batch: (module.metric.reset(), module.all_values.reset()),
    "list state of a metric": lambda module, batch: module.all_values.update(torch.ones(3)),
    "average in place": lambda module, batch: module.average.add_(1.0),
    "average by .data": lambda module, batch: module.average.data.fill_(2.0),
    "average by assignment": lambda module, batch: setattr(module, "average", module.average + 1),
    "tensor's memory": lambda module, batch: setattr(module.average, "data", torch.ones(5)),
    "buffer in place": lambda module, batch: module.ring.add_(1),
    "buffer by assignment": lambda module, batch: setattr(module, "ring", torch.ones(2)),
    "buffer taken away": lambda module, batch: delattr(module, "ring"),
    "list": lambda module, batch: (module.history.append(2), module.history[0].add_(1)),
    "empty list": lambda module, batch: module.nothing.append(1),
    "list by assignment": lambda module, batch: setattr(module, "history", []),
    "deque": lambda module, batch: module.recent.append(4),
    "set": lambda module, batch: module.names.symmetric_difference_update({"b", "c"}),
    "dict": lambda module, batch: module.table.update(first=torch.ones(1), new=1),
    "dict inside": lambda module, batch: module.table["inner"]["list"].append(3),
    "ordered dict": lambda module, batch: module.ordered.move_to_end("a"),
    "counts": lambda module, batch: module.counts.__getitem__("d"),
    "tuple": lambda module, batch: (module.pair[0].add_(1), module.pair[1].append(1)),
    "array": lambda module, batch: module.array.__iadd__(1),
    "bytes": lambda module, batch: module.bytes.extend(b"d"),
    "queue": lambda module, batch: (module.jobs.get_nowait().add_(1), module.jobs.put(2)),
    "object": lambda module, batch: (setattr(module.object, "count", 1), module.object.sums.add_(1)),
    "slots": lambda module, batch: (setattr(module.slotted, "total", 1.0), module.slotted.seen.append(2)),
    "slots of a list": lambda module, batch: setattr(module.labelled, "label", "new"),
    "namespace": lambda module, batch: (module.space.value.add_(1), setattr(module.space, "new", 1)),
    "hidden module": lambda module, batch: module.hidden[0](torch.randn(4, 3)),
    "following network": grow_follower,
    "parameter in place": lambda module, batch: module.extra.data.clamp_(0.0, 0.5),
    "parameter by assignment": lambda module, batch: setattr(module, "extra", nn.Parameter(torch.zeros(2))),
    "requires_grad": lambda module, batch: module.follower.requires_grad_(True),
    "training mode": lambda module, batch: module.eval(),
    "hooks, buffers, modules": register,
    "attribute that is new": lambda module, batch: setattr(module, "new", torch.ones(1)),
    "attribute taken away": lambda module, batch: delattr(module, "average"),
    "log": lambda module, batch: (module.log("a", 1), module.log_dict({"b": 2}), module.print("c")),
    "loggers": lambda module, batch: module.logger.experiment.add_scalar("a", 1) and module.logger.log_metrics({}),
    "stopping": lambda module, batch: setattr(module._trainer, "should_stop", True),
    "random streams": lambda module, batch: (random.random(), np.random.rand(), torch.rand(1)),  # noqa: NPY002
    "seeds": lambda module, batch: (random.seed(0), np.random.seed(0), torch.manual_seed(0)),  # noqa: NPY002
    "generators": lambda module, batch: (
        module.random.random(), module.numpy.random(), module.legacy.rand(),
        torch.rand(1, generator=module.generator),
    ),
    "batch in place": lambda module, batch: batch["data"][1].add_(1),
    "batch's containers": lambda module, batch: (batch["more"].clear(), batch.pop("object")),
    "batch's objects": lambda module, batch: (batch["object"].sums.add_(1), setattr(batch["object"], "count", 2)),
}  # fmt: skip


@pytest.mark.parametrize("fails", [False, True], ids=["returns", "fails"])
@pytest.mark.parametrize("name", EFFECTS)
def test_everything_is_as_before(name: str, fails: bool) -> None:
    def effect(module: Any, batch: Any) -> None:
        before_effect = picture(module)
        EFFECTS[name](module, batch)
        noted().append(name == "nothing" or before_effect != picture(module))
        if fails:
            raise KeyError("inside the step")

    happened = Notes()
    noted = weakref.ref(happened)  # what a closure itself holds is put back
    module, batch = Module(effect), make_batch()
    module.extra.grad = torch.full((), 3.0)
    before = (picture(module), picture(batch), streams())
    try:
        replayed(module, batch)
    except KeyError:
        assert fails
    assert happened == [True] or name in {"log", "loggers", "stopping", "random streams", "seeds"} | {
        effect for effect in EFFECTS if effect.startswith("batch")
    }
    assert (picture(module), picture(batch), streams()) == before


def test_a_silent_logger_passes_for_its_original() -> None:
    module = Module()
    logger = module.logger
    looks = []

    def look(net: Any, batch: Any) -> Tensor:
        looks.append((isinstance(net.logger, Logger), net.logger.name, net.logger is logger))
        with net.logger.experiment.span("a") as span:
            span.set(1)
        return net.extra * 1.0

    with Replay(module, look).loss({}, None):
        pass
    assert looks == [(True, "remembering", False)]
    assert module.logger is logger
