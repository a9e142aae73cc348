"""Networks that are odd in other ways than a state of their own train on under a monitor as they do alone."""

from __future__ import annotations

import copy
import warnings
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from integration.models import INPUTS
from integration.observers import same
from integration.test_stateful_networks import Body, trained
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from thermo_callbacks import ThermoMonitor

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*no value", "ignore:.*no transition temperature", "ignore:No Laplacian of complexity",
    "ignore:.*depends on chance", "ignore:.*must compute the same states", "ignore:Lazy modules are a new feature",
    "ignore:.*weight_norm",
)  # fmt: skip


class Spectral(Body):
    """Its power iteration writes to buffers in each forward."""

    def begin(self) -> None:
        self.layer = spectral_norm(self.layer)

    def change(self, states: Tensor) -> Tensor:
        return states


class Routing(Body):
    """Counts the load of its experts in an array, and sends a batch to the idler one."""

    def begin(self) -> None:
        self.experts = nn.ModuleList([nn.Linear(INPUTS, INPUTS) for _ in range(2)])
        self.load = np.zeros(2)

    def change(self, states: Tensor) -> Tensor:
        chosen = int(self.load.argmin())
        self.load[chosen] += len(states) + chosen
        return self.experts[chosen](states)


class Swapping(Body):
    """Replaces a child of its own in each call."""

    def begin(self) -> None:
        self.parts = nn.ModuleDict({"now": nn.Tanh()})

    def change(self, states: Tensor) -> Tensor:
        states = self.parts["now"](states)
        self.parts["now"] = nn.GELU() if isinstance(self.parts["now"], nn.Tanh) else nn.Tanh()
        return states


class Quantising(Body):
    """A codebook of moving averages, written past autograd, with a gradient straight through."""

    def begin(self) -> None:
        self.register_buffer("codes", torch.randn(4, INPUTS))

    def change(self, states: Tensor) -> Tensor:
        nearest = torch.cdist(states.detach(), self.codes).argmin(1)
        codes = self.codes[nearest]
        self.codes.data[nearest] = 0.9 * codes + 0.1 * states.detach()
        return states + (codes - states).detach()


class Skipping(Body):
    """Leaves a layer out by chance, from numpy's stream."""

    def change(self, states: Tensor) -> Tensor:
        return states if np.random.rand() < 0.5 else torch.tanh(states)  # noqa: NPY002  the global stream is the point


class Banking(Body):
    """The output depends on those of the last three calls."""

    def begin(self) -> None:
        self.bank: deque[Tensor] = deque(maxlen=3)

    def change(self, states: Tensor) -> Tensor:
        past = torch.stack([*self.bank, torch.zeros(INPUTS, dtype=states.dtype)]).mean(0)
        self.bank.append(states.detach().mean(0))
        return states - past


class Hooking(Body):
    """Registers a hook on its child in each call, and removes it."""

    def change(self, states: Tensor) -> Tensor:
        found: list[Tensor] = []
        handle = self.layer.register_forward_hook(lambda _, __, output: found.append(output))
        self.layer(states)
        handle.remove()
        return states + found[0]


class Normalising(Body):
    """Its weight is an attribute, made anew by a hook before each call."""

    def begin(self) -> None:
        with warnings.catch_warnings(action="ignore"):
            self.layer = torch.nn.utils.weight_norm(self.layer)

    def change(self, states: Tensor) -> Tensor:
        return states


class Taught(Body):
    """Follows a teacher that is no part of the module, and that it moves along."""

    def begin(self) -> None:
        self.teacher = [copy.deepcopy(self.layer).double().requires_grad_(False)]

    def change(self, states: Tensor) -> Tensor:
        teacher = self.teacher[0]
        with torch.no_grad():
            teacher.weight.lerp_(self.layer.weight, 0.1)
        return states + 0.1 * teacher(states.detach())


def lazy() -> nn.Module:
    """Its first layer learns its size from the first batch."""
    net = nn.Sequential(nn.LazyLinear(INPUTS), nn.Tanh(), nn.Linear(INPUTS, 1))
    net(torch.zeros(2, INPUTS))
    return net


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "spectral norm": Spectral,
    "lazy layer": lazy,
    "experts by load": Routing,
    "child swapped": Swapping,
    "codebook": Quantising,
    "stochastic depth": Skipping,
    "memory bank": Banking,
    "hook in forward": Hooking,
    "weight norm by a hook": Normalising,
    "teacher outside": Taught,
}


QUICK = {"spectral norm", "experts by load", "child swapped", "weight norm by a hook"}
CASES = [
    pytest.param(build, id=name, marks=[] if name in QUICK else pytest.mark.slow) for name, build in NETWORKS.items()
]


@pytest.mark.parametrize("build", CASES)
def test_training_does_not_notice(build: Callable[[], nn.Module]) -> None:
    def run(*monitors: Any) -> dict[str, Any]:
        np.random.seed(0)  # noqa: NPY002
        return trained(build, list(monitors)) | {"numpy": np.random.rand()}  # noqa: NPY002

    monitor = ThermoMonitor("full", 8, curvature_every_n_steps=5)
    alone, watched = run(), run(monitor)
    assert alone.keys() == watched.keys()
    assert [place for place in alone if not same(alone[place], watched[place])] == []
    assert "thermo/laplacian" in monitor.latest()
