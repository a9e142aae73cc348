"""Where a function or a method is compiled, nothing is compiled anew, and training is bit for bit what it is alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from integration.models import HIDDEN, INPUTS, Regression, TwoOptimizers, loader, quiet_trainer
from integration.observers import leaves, same
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.nn.functional import mse_loss, relu
from torch.optim import AdamW

from thermo_callbacks import ThermoMonitor, WorkEfficiencyMonitor

# the last one is what torch's compiler says of itself
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*no value",
    "ignore:.*no transition temperature",
    "ignore:No Laplacian of complexity",
    "ignore:The .grad attribute of a Tensor that is not a leaf",
)


def block(x: Tensor, weight: Tensor) -> Tensor:
    return relu(x @ weight)


class Functional(nn.Module):
    """Calls a function of its own, whose activation is a function too."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(INPUTS, HIDDEN, dtype=torch.float64))
        self.head = nn.Linear(HIDDEN, 1, dtype=torch.float64)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.function(x, self.weight)))


class Method(nn.Module):
    """Its forward is compiled when an object is made."""

    def __init__(self, backend: str) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1)).double()
        self.forward = torch.compile(self.run, backend=backend)  # type: ignore[method-assign]

    def run(self, x: Tensor) -> Tensor:
        return self.net(x)


def decorated(backend: str) -> nn.Module:
    """Of a class whose forward is compiled for all."""

    class Decorated(Functional):
        @torch.compile(backend=backend)
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)

    return Decorated(block)


class CompiledLoss(Regression):
    """The step calls a compiled function that is in no module."""

    def __init__(self, backend: str) -> None:
        super().__init__(optimizer=partial(AdamW, lr=0.01))
        self.loss_of = torch.compile(lambda out, target: mse_loss(torch.sigmoid(out), target), backend=backend)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.loss_of(self.net(batch[0]), batch[1])


class CompiledStep(Regression):
    """The training step is compiled."""

    def __init__(self, backend: str) -> None:
        super().__init__(optimizer=partial(AdamW, lr=0.01))
        self.training_step = torch.compile(self.loss_of, backend=backend)  # type: ignore[method-assign]

    def loss_of(self, batch: Any, batch_idx: int) -> Any:
        return self.loss(batch)


class SometimesCompiled(CompiledLoss):
    """Its compiled function is called for the first time in a step that is looked at."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.loss(batch) if batch_idx < 8 else super().training_step(batch, batch_idx)


def regression(net: Callable[[str], nn.Module], backend: str) -> Regression:
    return Regression(net(backend), partial(AdamW, lr=0.01))


MODULES: dict[str, Callable[[str], Regression]] = {
    "function": partial(regression, lambda backend: Functional(torch.compile(block, backend=backend))),
    "bound method": partial(regression, Method),
    "decorated forward": partial(regression, decorated),
    "function of the step": CompiledLoss,
    "training step": CompiledStep,
    "function that comes later": SometimesCompiled,
}


def trained(build: Callable[[str], Regression], backend: str, *monitors: Any) -> tuple[dict[str, Any], int]:
    """What is left of 24 steps of training, and how many graphs were compiled."""
    torch._dynamo.reset()
    counters.clear()
    torch.manual_seed(0)
    module = build(backend)
    trainer = quiet_trainer(callbacks=list(monitors))
    trainer.fit(module, loader(24))
    left = {"state_dict": dict(module.state_dict()), "optimizers": [o.state_dict() for o in trainer.optimizers]}
    return dict(leaves(left)), counters["stats"]["unique_graphs"]


@pytest.mark.parametrize("build", MODULES.values(), ids=MODULES)
def test_nothing_is_compiled_anew(build: Callable[[str], Regression]) -> None:
    alone, graphs = trained(build, "aot_eager")
    monitor = ThermoMonitor("full", 8, curvature_every_n_steps=4)
    watched, as_many = trained(build, "aot_eager", monitor)
    assert as_many == graphs > 0
    assert [place for place in alone if not same(alone[place], watched[place])] == []
    assert {"thermo/work_efficiency", "thermo/laplacian"} <= monitor.latest().keys()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_default_backend_gives_the_same_bits() -> None:
    try:
        torch.compile(block)(torch.ones(2, 2), torch.ones(2, 2))
    except Exception as fault:
        pytest.skip(f"the default backend does not compile on this machine: {type(fault).__name__}")
    alone, graphs = trained(MODULES["function"], "inductor")
    watched, as_many = trained(MODULES["function"], "inductor", ThermoMonitor("full", 8, curvature_every_n_steps=4))
    assert as_many == graphs > 0
    assert [place for place in alone if not same(alone[place], watched[place])] == []


class ByHand(TwoOptimizers):
    """Steps by hand, and calls a compiled function."""

    def __init__(self, backend: str) -> None:
        super().__init__()
        self.loss_of = torch.compile(mse_loss, backend=backend)

    def loss(self, batch: Any) -> Tensor:
        return self.loss_of(self.net(batch[0]), batch[1])


@pytest.mark.filterwarnings("ignore:.*steps its optimizers by hand")
def test_by_hand_there_is_no_replay_and_no_activation_is_measured() -> None:
    alone, graphs = trained(ByHand, "aot_eager")
    monitor = ThermoMonitor("standard", 8, curvature_every_n_steps=4)
    watched, as_many = trained(ByHand, "aot_eager", monitor)
    assert as_many == graphs > 0
    assert [place for place in alone if not same(alone[place], watched[place])] == []
    assert "thermo/work_efficiency" not in monitor.latest()


def test_by_hand_activations_are_measured_where_nothing_compiled_was_called() -> None:
    monitor = WorkEfficiencyMonitor(4)

    def build(backend: str) -> TwoOptimizers:
        torch.compile(block, backend=backend)  # somebody's, as a library makes them when it is imported
        return TwoOptimizers()

    _, graphs = trained(build, "aot_eager", monitor)
    assert graphs == 0
    assert "thermo/work_efficiency" in monitor.latest()


def test_activations_are_those_of_the_function_that_is_not_compiled() -> None:
    values = []
    for function in (block, torch.compile(block, backend="aot_eager")):
        monitor = WorkEfficiencyMonitor(4)
        trained(lambda _, function=function: Regression(Functional(function)), "", monitor)
        values.append(monitor.latest())
    plain, compiled = values
    assert {"thermo_work_efficiency/net.relu", "thermo_work_efficiency/net.tanh"} <= plain.keys() == compiled.keys()
    assert compiled == pytest.approx(plain, rel=1e-9, nan_ok=True)
