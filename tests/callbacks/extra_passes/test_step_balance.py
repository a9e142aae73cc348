"""Step efficiency, transfer and heat shares of a run, against a plain loop over the same batches."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from integration.models import Regression, loader, momentum_sgd, perceptron, quiet_trainer, sgd
from lightning.pytorch import Callback
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from thermo_callbacks import ThermoMonitor
from thermo_callbacks.callbacks.extra_passes.step_balance import FADING

pytestmark = pytest.mark.filterwarnings("ignore:.*thermo/rugh_temperature:UserWarning", "ignore:no transition")
STEPS = 26
PASSES = [8, 16, 24]


class Kept(Callback):
    """Rows of the monitor, by the step that they were logged at."""

    def __init__(self, monitor: ThermoMonitor) -> None:
        self._monitor, self.rows = monitor, {}

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        values = self._monitor.latest()
        if "thermo/step_efficiency" in values:
            self.rows[batch_idx] = values


def logged(module: Regression, *, accumulate: int = 1, **options: Any) -> dict[int, dict[str, float]]:
    monitor = ThermoMonitor(window=8, steps_between_windows=0, curvature_every_n_steps=8, **options)
    kept = Kept(monitor)
    quiet_trainer(callbacks=[monitor, kept], accumulate_grad_batches=accumulate).fit(module, loader(STEPS * accumulate))
    return kept.rows


def loss_of(net: nn.Module, batches: Iterable[Any]) -> Tensor:
    return torch.stack([mse_loss(net(inputs), targets) for inputs, targets in batches]).mean()


def by_hand(make: Any, accumulate: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Heat by layer, work on the own batches and on the next one, at each step that is measured."""
    net = perceptron()
    optimizer = make(net.parameters())
    batches = list(loader(STEPS * accumulate))
    found = []
    for step in range(STEPS - 1):
        own, fresh = batches[step * accumulate : (step + 1) * accumulate], [batches[(step + 1) * accumulate]]
        before = copy.deepcopy(net)
        optimizer.zero_grad()
        loss_of(net, own).backward()
        optimizer.step()
        heat = torch.stack([
            sum((p.grad * (p - q)).sum() for p, q in zip(net[k].parameters(), before[k].parameters(), strict=True))
            for k in (0, 2)
        ])  # fmt: skip
        works = [loss_of(net, some) - loss_of(before, some) for some in (own, fresh)]
        if step in PASSES:
            found.append((heat.detach(), *(work.detach() for work in works)))
    return found


@pytest.mark.parametrize(("make", "accumulate"), [(sgd, 1), (momentum_sgd, 1), (sgd, 2)])
def test_values_are_those_of_a_plain_loop(make: Any, accumulate: int) -> None:
    rows = logged(Regression(optimizer=make), accumulate=accumulate)
    heats, owns, freshes = zip(*by_hand(make, accumulate), strict=True)
    weights = torch.tensor([FADING**k for k in range(len(PASSES))][::-1], dtype=torch.float64)
    heat = (torch.stack(heats) * weights[:, None]).sum(0)
    last = rows[max(rows)]
    for name, works in (("efficiency", owns), ("transfer", freshes)):
        expected = (torch.stack(works) * weights).sum() / heat.sum()
        assert last[f"thermo/step_{name}"] == pytest.approx(expected.item(), rel=1e-9)
    for layer, part in zip(("net.0", "net.2"), heat, strict=True):
        assert last[f"thermo_heat_share/{layer}"] == pytest.approx((part / heat.sum()).item(), rel=1e-9)


def test_one_pass_has_no_error_and_three_have_one() -> None:
    rows = logged(Regression())
    first, last = rows[min(rows)], rows[max(rows)]
    assert first["thermo/step_efficiency_stderr"] != first["thermo/step_efficiency_stderr"]
    assert 0.0 < last["thermo/step_efficiency_stderr"] < 0.2


class Dropping(Regression):
    """Each evaluation draws another mask, the replays of a pass all the same one."""

    def __init__(self) -> None:
        super().__init__(nn.Sequential(*perceptron(), nn.Dropout(0.5)))


def test_dropout_does_not_blur_the_works() -> None:
    rows = logged(Dropping())
    # with masks of their own the two losses would differ by far more than the step makes
    assert all(0.5 < row["thermo/step_efficiency"] < 1.1 for row in rows.values())


class Squashing(Regression):
    """Writes to its batch, as some do to normalise it."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        batch[0].mul_(0.5)
        return self.loss(batch)


def test_a_step_that_writes_to_its_batch_is_measured_on_what_it_was_given() -> None:
    rows = logged(Squashing())
    assert rows[max(rows)]["thermo/step_efficiency"] == pytest.approx(1.0, abs=0.1)


class Bare(Regression):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(self.loss(batch))
        optimizer.step()


def test_manual_optimization_with_its_loss_reads_the_same() -> None:
    automatic = logged(Regression())
    manual = logged(Bare(), loss_fn=lambda module, batch: module.loss(batch))
    for tag in ("thermo/step_efficiency", "thermo/step_transfer", "thermo/noise_scale"):
        assert manual[max(manual)][tag] == pytest.approx(automatic[max(automatic)][tag], rel=1e-9)
