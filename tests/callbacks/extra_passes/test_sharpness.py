"""Sharpness, stability margin and the resolved balance, through a Trainer."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from integration.models import RecordingLogger, quiet_trainer
from lightning.pytorch import LightningModule, seed_everything
from sklearn.datasets import load_digits, load_wine
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer, RAdam
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from thermo_callbacks import EntropyMonitor, ThermoMonitor

pytestmark = pytest.mark.filterwarnings("ignore:.*no value", "ignore:.*no transition temperature")
BALANCE = ("entropy_production", "entropy_rate", "resolved_share", "second_law")


def wine(copies: int = 1) -> TensorDataset:
    data = load_wine()
    inputs = torch.tensor(data.data, dtype=torch.float32)
    inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    return TensorDataset(inputs.repeat(1, copies), torch.tensor(data.target))


def digits() -> TensorDataset:
    data = load_digits()
    return TensorDataset(torch.tensor(data.data / 16.0, dtype=torch.float32), torch.tensor(data.target))


class Classifier(LightningModule):
    def __init__(self, net: nn.Module, make: Callable[[Any], Any]) -> None:
        super().__init__()
        self.net, self._make = net, make

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        return self._make(self.parameters())


class LangevinSGD(Optimizer):
    """Descent, and kicks of its own."""

    def __init__(self, parameters: Any, lr: float, temperature: float) -> None:
        super().__init__(parameters, {"lr": lr, "temperature": temperature})
        self._generator = torch.Generator().manual_seed(0)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        with torch.enable_grad():
            loss = None if closure is None else closure()
        for group in self.param_groups:
            size = math.sqrt(2.0 * group["lr"] * group["temperature"])
            for parameter in group["params"]:
                kick = torch.randn(parameter.shape, generator=self._generator)
                parameter.add_(-group["lr"] * parameter.grad + size * kick)
        return loss


def train(
    net: nn.Module, make: Callable[[Any], Any], data: TensorDataset, *, steps: int, monitor: Any, batch: int = 16
) -> RecordingLogger:
    seed_everything(0, verbose=False)
    logger = RecordingLogger()
    loader = DataLoader(data, batch, sampler=RandomSampler(data, replacement=True, num_samples=steps * batch))
    quiet_trainer(callbacks=monitor, logger=logger).fit(Classifier(net, make), loader)
    return logger


def monitor_of(window: int, every: int) -> EntropyMonitor:
    return EntropyMonitor(window, steps_between_windows=0, curvature_every_n_steps=every)


def pooled(logger: RecordingLogger, skip: int) -> tuple[float, float]:
    """Production over destruction of the resolved directions of all windows but the first, and its standard error."""
    rows = [row for _, row in logger.thermo_rows if "thermo/entropy_production" in row][skip:]
    rows = [row for row in rows if not math.isnan(row["thermo/entropy_production"])]
    assert len(rows) >= 4
    production = sum(row["thermo/entropy_production"] for row in rows)
    destruction = production - sum(row["thermo/entropy_rate"] for row in rows)
    return production / destruction, math.hypot(*(row["thermo/entropy_rate_stderr"] for row in rows)) / destruction


@pytest.mark.parametrize("copies", [pytest.param(1, marks=pytest.mark.slow), 6])
def test_wine_in_equilibrium_also_with_columns_copied(copies: int) -> None:
    net = nn.Linear(13 * copies, 3)
    make = partial(SGD, lr=0.9 / copies, weight_decay=0.05 * copies)
    ratio, error = pooled(train(net, make, wine(copies), steps=1000, monitor=monitor_of(100, 200)), 2)
    assert abs(ratio - 1.0) < 3.0 * error + 0.05
    assert error < 0.3


CASES = {
    "logistic regression": (lambda: nn.Linear(64, 10), partial(SGD, lr=0.4, weight_decay=0.01)),
    "logistic regression, momentum": (
        lambda: nn.Linear(64, 10),
        partial(SGD, lr=0.15, momentum=0.6, weight_decay=0.01),
    ),
    "MLP": (
        lambda: nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 10)),
        partial(SGD, lr=0.3, weight_decay=0.01),
    ),
    "Langevin": (lambda: nn.Linear(64, 10), partial(LangevinSGD, lr=0.4, temperature=0.01)),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in {"MLP", "Langevin"} else pytest.mark.slow) for name in CASES]
)
def test_stiff_directions_balance(name: str) -> None:
    build, make = CASES[name]
    seed_everything(1, verbose=False)
    logger = train(build(), make, digits(), steps=1000, monitor=monitor_of(100, 200), batch=64)
    # the first pass comes before a window has measured how far an optimizer of one's own moves: it has no balance
    ratio, error = pooled(logger, 3 if name == "Langevin" else 4)
    assert abs(ratio - 1.0) < 3.0 * error + 0.05
    assert error < 0.3


def test_values_of_adam() -> None:
    net = nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 10))
    logger = train(net, partial(AdamW, lr=3e-3), digits(), steps=300, monitor=monitor_of(50, 100), batch=64)
    assert all(0.05 < value < 20.0 for value in logger.series("thermo/sharpness"))
    margins, errors = (logger.series(f"thermo/stability_margin{end}") for end in ("", "_stderr"))
    assert all(0.0 < error < margin < 1.0 for margin, error in zip(margins, errors, strict=True))
    shares = logger.series("thermo/resolved_share")
    assert shares
    assert all(0.0 <= share < 1.5 for share in shares)


def test_where_a_window_resolves_nothing_it_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "thermo_callbacks"):
        logger = train(
            nn.Linear(64, 10), partial(SGD, lr=1e-3), digits(), steps=60, monitor=monitor_of(8, 10), batch=64
        )
    told = [text for text in caplog.messages if "relaxes 5 times within its 8 steps" in text]
    assert [text.partition(": none of the")[0] for text in told] == [
        "no value (NaN) for thermo/entropy_production in a window"
    ]
    assert all(math.isnan(value) for name in BALANCE[:2] for value in logger.series(f"thermo/{name}"))
    assert logger.series("thermo/resolved_share")
    assert set(logger.series("thermo/resolved_share")) == {0.0}  # none of the destruction, and that is known


def test_an_optimizer_that_does_not_tell_its_mobility_has_a_sharpness_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("INFO", "thermo_callbacks"):
        logger = train(
            nn.Linear(64, 10), partial(RAdam, lr=1e-3), digits(), steps=60, monitor=monitor_of(8, 10), batch=64
        )
    assert "no value (NaN) for thermo/stability_margin: RAdam does not tell how far" in caplog.text
    assert all(value > 0.0 for value in logger.series("thermo/sharpness"))
    assert all(math.isnan(value) for value in logger.series("thermo/stability_margin"))
    assert not logger.series("thermo/entropy_rate")


def test_a_learning_rate_that_drops_within_a_window_leaves_it_without_a_balance(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def make(parameters: Any) -> Any:
        optimizer = SGD(parameters, lr=0.5)
        drop = torch.optim.lr_scheduler.MultiStepLR(optimizer, [150], 0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": drop, "interval": "step"}}

    with caplog.at_level("INFO", "thermo_callbacks"):
        logger = train(nn.Linear(64, 10), make, digits(), steps=200, monitor=monitor_of(40, 40), batch=64)
    assert "the learning rate changed by more than a tenth within the window" in caplog.text
    known = [not math.isnan(value) for value in logger.series("thermo/entropy_production")]
    assert known[:2] == [True, False]  # of steps 80 to 120, and 120 to 160


def test_a_fault_switches_off_sharpness_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from thermo_callbacks.probes.curvature.eigenvectors import EigenvectorProbe

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no room")

    monkeypatch.setattr(EigenvectorProbe, "directions", fail)
    monitor = ThermoMonitor("full", 8, steps_between_windows=0, curvature_every_n_steps=8)
    with pytest.warns(UserWarning, match="measurement of sharpness is switched off .*no room"):
        logger = train(nn.Linear(64, 10), partial(SGD, lr=0.1), digits(), steps=40, monitor=monitor)
    assert len(logger.series("thermo/laplacian")) > 2
    assert not logger.series("thermo/sharpness")


@pytest.mark.parametrize("make", [partial(SGD, lr=0.1, momentum=0.5), partial(AdamW, lr=1e-3)])
def test_training_is_the_same_with_and_without(make: Any) -> None:
    weights = []
    for callbacks in ([], [monitor_of(8, 8)]):
        seed_everything(3, verbose=False)
        net = nn.Sequential(nn.Linear(64, 8), nn.Dropout(0.2), nn.Tanh(), nn.Linear(8, 10))
        train(net, make, digits(), steps=60, monitor=callbacks)
        weights.append([parameter.detach().clone() for parameter in net.parameters()] + [torch.get_rng_state()])
    assert all(torch.equal(one, other) for one, other in zip(*weights, strict=True))


def test_reasons_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "thermo_callbacks"):
        train(nn.Linear(64, 10), partial(SGD, lr=1e-4), digits(), steps=100, monitor=monitor_of(8, 10))
    assert sum("thermo/entropy_production" in text for text in caplog.messages) == 1
