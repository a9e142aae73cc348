"""Networks with a state of their own, whose `forward` writes to it, train on under a monitor as they do alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from integration.models import INPUTS, Regression, loader, quiet_trainer
from integration.observers import leaves, same
from torch import Tensor, nn
from torch.optim import AdamW
from torchmetrics import MeanMetric

from thermo_callbacks import ThermoMonitor

# short runs of small networks: now and then something has no value
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*no value", "ignore:.*no transition temperature", "ignore:No Laplacian of complexity"
)


class Body(nn.Module):
    """A layer, what the cases below do with its output, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(INPUTS, INPUTS)
        self.head = nn.Linear(INPUTS, 1)
        self.seen: list[Any] = []
        self.begin()

    def begin(self) -> None:
        """Make the state."""

    def change(self, states: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.change(self.layer(x))))


class Counting(Body):
    """Numbers its calls, and its output depends on the number."""

    def begin(self) -> None:
        self.calls = 0

    def change(self, states: Tensor) -> Tensor:
        self.calls += 1
        return states * (1.0 + 0.01 * self.calls)


class Remembering(Body):
    """Carries a hidden state from call to call."""

    def begin(self) -> None:
        self.hidden: Tensor | None = None

    def change(self, states: Tensor) -> Tensor:
        mean = states.mean(0, keepdim=True)
        self.hidden = mean.detach() if self.hidden is None else 0.9 * self.hidden + 0.1 * mean.detach()
        return states + self.hidden


class Drawing(Body):
    """Draws noise from a generator of its own."""

    def begin(self) -> None:
        self.generator = torch.Generator().manual_seed(7)

    def change(self, states: Tensor) -> Tensor:
        return states + 0.1 * torch.randn(states.shape[1:], generator=self.generator, dtype=states.dtype)


class WritingFrozen(Body):
    """Writes to a parameter that is not trained, as a running average does."""

    def begin(self) -> None:
        self.center = nn.Parameter(torch.zeros(INPUTS), requires_grad=False)

    def change(self, states: Tensor) -> Tensor:
        self.center.mul_(0.9).add_(states.detach().mean(0), alpha=0.1)
        return states - self.center


class WritingTrained(Body):
    """Scales its own weight down where that is too large, as spectral constraints do."""

    def change(self, states: Tensor) -> Tensor:
        with torch.no_grad():
            self.head.weight.mul_(0.999)
        return states


class ReplacingData(Body):
    """Sets the data of a trained parameter."""

    def change(self, states: Tensor) -> Tensor:
        self.head.weight.data = self.head.weight.data * 0.999
        return states


class Metering(Body):
    """Updates a metric, and uses its value."""

    def begin(self) -> None:
        self.metric = MeanMetric().set_dtype(torch.float64)

    def change(self, states: Tensor) -> Tensor:
        self.metric.update(states.detach().square())
        return states / (1.0 + self.metric.compute())


class Caching(Body):
    """Keeps a table for each shape that it has met, at most two of them."""

    def begin(self) -> None:
        self.tables: dict[tuple[int, ...], Tensor] = {}
        self.misses = 0

    def change(self, states: Tensor) -> Tensor:
        if (shape := tuple(states.shape)) not in self.tables:
            if len(self.tables) == 2:
                self.tables.clear()
            self.misses += 1
            self.tables[shape] = torch.full(states.shape[1:], 0.1 * self.misses, dtype=states.dtype)
        return states + self.tables[shape]


class Branching(Body):
    """Does something else in training than in evaluation, to its state too."""

    def begin(self) -> None:
        self.register_buffer("scale", torch.ones(()))
        self.evaluations = 0

    def change(self, states: Tensor) -> Tensor:
        if self.training:
            self.scale.mul_(0.99)
            return states * self.scale * (1 + self.evaluations)
        self.evaluations += 1
        return states


class Wearing(Body):
    """Raises when it has been called more often than it is in training."""

    def begin(self) -> None:
        self.left = 40

    def change(self, states: Tensor) -> Tensor:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("worn out")
        return states


class Replacing(Body):
    """Makes a new layer of its old one at each call."""

    def begin(self) -> None:
        self.register_buffer("shift", torch.zeros(INPUTS))

    def change(self, states: Tensor) -> Tensor:
        self.shift = self.shift + 0.01
        self.seen = [*self.seen[-3:], float(self.shift[0])]
        return states + self.shift


class CountingActivation(nn.Tanh):
    """An activation that counts."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x) * (1.0 + 0.001 * self.calls)


def chain() -> nn.Module:
    """A chain of layers that counts in an activation."""
    return nn.Sequential(nn.Linear(INPUTS, INPUTS), CountingActivation(), nn.Linear(INPUTS, 1))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "counter": Counting,
    "hidden state": Remembering,
    "generator": Drawing,
    "frozen parameter": WritingFrozen,
    "trained parameter": WritingTrained,
    "data of a parameter": ReplacingData,
    "metric": Metering,
    "cache by shape": Caching,
    "branch on training": Branching,
    "raises after 40 calls": Wearing,
    "buffer made anew": Replacing,
    "counter in the activation of a chain": chain,
}


def left_of(module: nn.Module) -> dict[str, Any]:
    """State of all modules that is no parameter and no buffer."""
    kept = ("calls", "hidden", "tables", "misses", "evaluations", "left", "seen")
    state = {f"{n}.{k}": getattr(m, k) for n, m in module.named_modules() for k in kept if hasattr(m, k)}
    state |= {f"{n}.rng": m.generator.get_state() for n, m in module.named_modules() if hasattr(m, "generator")}
    return state | {f"{n}.mean": m.mean_value for n, m in module.named_modules() if isinstance(m, MeanMetric)}


def trained(build: Callable[[], nn.Module], monitors: list[Any]) -> dict[str, Any]:
    """What is left of 40 steps of training."""
    torch.manual_seed(0)
    module = Regression(build().double(), partial(AdamW, lr=0.01))
    trainer = quiet_trainer(callbacks=monitors)
    trainer.fit(module, loader(40))
    left = {
        "state_dict": dict(module.state_dict()),
        "optimizer": trainer.optimizers[0].state_dict(),
        "state": left_of(module),
        "modes": {name: part.training for name, part in module.named_modules()},
        "streams": torch.get_rng_state(),
        "steps": trainer.global_step,
    }
    return dict(leaves(left))


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_training_does_not_notice(build: Callable[[], nn.Module]) -> None:
    alone = trained(build, [])
    monitor = ThermoMonitor("full", 8, curvature_every_n_steps=5)
    watched = trained(build, [monitor])
    assert alone.keys() == watched.keys()
    assert [place for place in alone if not same(alone[place], watched[place])] == []
    assert {"thermo/laplacian", "thermo/complexity"} <= monitor.latest().keys()
