"""What is read off a run besides its steps, through a Trainer, against values computed by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from integration.models import Regression, loader, perceptron, quiet_trainer
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.optim import SGD, Adam
from torch.utils.data import DataLoader, TensorDataset

from thermo_callbacks import ThermoMonitor
from thermo_callbacks.callbacks.inspection.inspection import Inspection
from thermo_callbacks.functional.batches import batch_likeness

pytestmark = pytest.mark.filterwarnings("ignore:no value")
WINDOW = 8


def watched(module: Any, batches: Any, **settings: Any) -> ThermoMonitor:
    monitor = ThermoMonitor("light", WINDOW, steps_between_windows=0)
    quiet_trainer(callbacks=[monitor], **settings).fit(module, batches)
    return monitor


def test_values_are_those_of_the_batches() -> None:
    batches = loader(WINDOW)
    found = watched(Regression(), batches).latest()
    inputs, targets = (torch.stack(part) for part in zip(*batches, strict=True))
    joined = torch.cat([inputs, targets], 2)
    expected = batch_likeness(joined.mean(1), joined.var(1), 4)
    assert found["thermo/batch_likeness"] == pytest.approx(expected, rel=1e-5)
    size = (inputs.mean(1).square() + inputs.var(1)).mean().sqrt()
    assert found["thermo/input_size"] == pytest.approx(float(size), rel=1e-5)
    assert found["thermo/broken_batches"] == 0.0
    assert found["thermo/input_shift"] == 0.0  # it is what later windows are compared with


def test_a_shift_is_found_between_windows() -> None:
    inputs, targets = torch.randn(64, 5).double(), torch.randn(64, 1).double()
    inputs[32:] += 3.0
    found = watched(Regression(), DataLoader(TensorDataset(inputs, targets), 4)).latest()
    assert found["thermo/input_shift"] == pytest.approx(3.0, rel=0.2)


@pytest.mark.filterwarnings("ignore:the run has diverged")
def test_broken_inputs_are_counted() -> None:
    inputs, targets = torch.randn(32, 5).double(), torch.randn(32, 1).double()
    inputs[5, 2] = torch.nan
    monitor = watched(Regression(), DataLoader(TensorDataset(inputs, targets), 4))
    assert monitor.latest()["thermo/broken_batches"] == pytest.approx(1 / WINDOW)
    [finding] = monitor.findings()
    assert (finding.cause, finding.severity, finding.confidence) == ("broken data", "critical", 1.0)


def test_the_rate_is_that_of_the_schedule_and_epsilon_that_of_adam() -> None:
    class Scheduled(Regression):
        def configure_optimizers(self) -> Any:
            optimizer = Adam(self.net.parameters(), lr=0.1, eps=1e3)
            return [optimizer], [{"scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5), "interval": "step"}]

    found = watched(Scheduled(), loader(WINDOW)).latest()
    assert found["thermo/learning_rate"] == pytest.approx(0.1 * 0.5**WINDOW)
    assert found["thermo/epsilon_share"] > 0.99
    assert "thermo/epsilon_share" not in watched(Regression(), loader(WINDOW)).latest()


class Kept(Regression):
    """Sets no gradient to zero."""

    def optimizer_zero_grad(self, *_: Any) -> None:
        pass


class Zeros(Regression):
    """Sets gradients to zero in place, so that they are there and hold nothing."""

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Any) -> None:
        optimizer.zero_grad(set_to_none=False)


@pytest.mark.parametrize(("kind", "low", "high"), [(Kept, 0.1, 10.0), (Zeros, 0.0, 0.0), (Regression, 0.0, 0.0)])
def test_kept_gradients_are_those_before_the_backward_pass(kind: type[Regression], low: float, high: float) -> None:
    assert low <= watched(kind(), loader(2 * WINDOW)).latest()["thermo/kept_gradient"] <= high


def test_accumulation_keeps_no_gradient_from_step_to_step() -> None:
    monitor = watched(Regression(), loader(4 * WINDOW), accumulate_grad_batches=2)
    assert monitor.latest()["thermo/kept_gradient"] == 0.0
    assert monitor.findings() == []


def facts(module: Any, **settings: Any) -> dict[str, Any]:
    monitor = watched(module, loader(WINDOW), **settings)
    return dict(monitor._inspection.facts)


class Summed(Regression):
    def loss(self, batch: Any) -> Tensor:
        inputs, targets = batch
        return mse_loss(self.net(inputs), targets, reduction="sum")


def net(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers).double()


def eval_norm() -> Regression:
    class Evaluated(Regression):
        def on_train_start(self) -> None:
            self.net[1].eval()

    return Evaluated(net(nn.Linear(5, 3), nn.BatchNorm1d(3), nn.Linear(3, 1)))


def frozen() -> Regression:
    inner = net(nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1))
    inner[2].requires_grad_(False)
    return Regression(inner, lambda parameters: SGD([each for each in parameters if each.requires_grad], 0.05))


def by_layer() -> Regression:
    inner = perceptron()
    groups = [{"params": inner[0].parameters()}, {"params": inner[2].parameters(), "lr": 0.5}]
    return Regression(inner, lambda _: SGD(groups, lr=0.05))


def test_facts_are_those_that_are_there() -> None:
    assert facts(Regression()) == {"bounded_activations": ["net.1"]}
    assert facts(Summed())["loss_is_summed"]
    assert facts(Summed(), accumulate_grad_batches=2)["loss_is_summed"]
    assert facts(eval_norm()) == {"uncalibrated_norms": ["net.1"]}
    assert facts(frozen()) == {"bounded_activations": ["net.1"], "frozen_between": ["net.2"]}
    assert facts(Regression(net(nn.BatchNorm1d(5), nn.Linear(5, 1)))) == {"normalises_first": True}
    assert facts(by_layer())["layer_rates"] == {"net.0": 0.05, "net.2": 0.5}
    assert facts(Regression(net(nn.Linear(5, 3), nn.Dropout(0.9), nn.Linear(3, 1))))["dropout"] == {"net.1": 0.9}


def test_a_fault_costs_the_inspection_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr("thermo_callbacks.callbacks.inspection.inspection.epsilon_share", broken)
    told = (
        "The inspection of ThermoMonitor is switched off .*RuntimeError while reading optimizers and modules: planted"
    )
    with pytest.warns(UserWarning, match=told):
        found = watched(Regression(), loader(2 * WINDOW)).latest()
    assert math.isfinite(found["thermo/temperature"])
    assert "thermo/input_size" not in found


def test_a_resumed_run_reads_what_an_unbroken_one_reads(tmp_path: Any) -> None:
    tags = [f"thermo/{name}" for name in ("kept_gradient", "batch_likeness", "input_size", "input_shift")]
    whole, part, rest = (ThermoMonitor("light", WINDOW, steps_between_windows=0) for _ in range(3))
    batches = loader(WINDOW + WINDOW // 2)  # an epoch ends within a window
    quiet_trainer(callbacks=[whole], max_epochs=2).fit(Regression(), batches)
    broken = quiet_trainer(callbacks=[part])
    broken.fit(Regression(), batches)
    broken.save_checkpoint(tmp_path / "half.ckpt")
    trainer = quiet_trainer(callbacks=[rest], max_epochs=2)
    trainer.fit(Regression(), batches, ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert {tag: rest.latest()[tag] for tag in tags} == {tag: whole.latest()[tag] for tag in tags}


def test_an_empty_state_is_a_fresh_start() -> None:
    inspection = Inspection("one")
    inspection.load_state_dict({})
    assert inspection.facts == {}
