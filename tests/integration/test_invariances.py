"""What must not matter, and what must be nothing, as logged through a Trainer."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from integration.by_hand import assert_logged
from integration.models import BATCH_SIZE, INPUTS, OF_BATCHES, Regression, fit, loader, momentum_sgd, perceptron
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Adam
from torch.utils.data import DataLoader, TensorDataset

from thermo_callbacks import ThermoMonitor

# windows of 8 noisy steps show no signal now and then
pytestmark = pytest.mark.filterwarnings("ignore:.*noise_scale")
WINDOW, BATCHES = 8, 24
FACTOR = 37.0


class Scaled(Regression):
    """The loss in another unit."""

    def __init__(self, factor: float, optimizer: Any) -> None:
        super().__init__(optimizer=optimizer)
        self._factor = factor

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self._factor * self.loss(batch)


def dimension(tag: str) -> int:
    """Powers of the unit of the loss in a value."""
    names = ("ratio", "noise_scale", "share", "drift", "skipped", "weight_norm", "weight_growth", "excess", "findings")
    return 0 if tag in OF_BATCHES | {"thermo/kept_gradient"} or any(name in tag for name in names) else 1


SCALED = {
    "sgd": (lambda p: SGD(p, lr=0.02, momentum=0.9), lambda p: SGD(p, lr=0.02 / FACTOR, momentum=0.9)),
    "adam": (lambda p: Adam(p, lr=0.01, eps=1e-30), lambda p: Adam(p, lr=0.01, eps=1e-30)),
}


@pytest.mark.parametrize("name", SCALED)
def test_the_unit_of_the_loss_is_the_unit_of_temperature(name: str) -> None:
    plain, rescaled = SCALED[name]
    expected = fit(Scaled(1.0, plain), ThermoMonitor("light", window=WINDOW, steps_between_windows=0), BATCHES)
    actual = fit(Scaled(FACTOR, rescaled), ThermoMonitor("light", window=WINDOW, steps_between_windows=0), BATCHES)
    assert len(expected.thermo_rows) == BATCHES // WINDOW
    for (_, one), (_, other) in zip(expected.thermo_rows, actual.thermo_rows, strict=True):
        assert one.keys() == other.keys()
        residual = one.pop("thermo/first_law_residual") * FACTOR  # a small difference of larger numbers
        assert other.pop("thermo/first_law_residual") == pytest.approx(residual, rel=1e-6, abs=1e-9)
        for constant in ("learning_rate", "epsilon_share"):  # in the unit that was chosen
            assert one.pop(f"thermo/{constant}", 0.0) >= other.pop(f"thermo/{constant}", 0.0) / FACTOR
        assert_logged(other, {tag: value * FACTOR ** dimension(tag) for tag, value in one.items()}, relative=1e-8)


@pytest.mark.parametrize("parts", [2, 4])
def test_a_batch_in_parts_is_the_batch(parts: int) -> None:
    whole = fit(
        Regression(optimizer=momentum_sgd), ThermoMonitor("light", window=WINDOW, steps_between_windows=3), BATCHES
    )
    small = loader(BATCHES * parts, BATCH_SIZE // parts)
    options = {"accumulate_grad_batches": parts}
    in_parts = fit(
        Regression(optimizer=momentum_sgd),
        ThermoMonitor("light", window=WINDOW, steps_between_windows=3),
        small,
        **options,
    )
    assert len(whole.thermo_rows) == 2
    for (step, expected), (same_step, actual) in zip(whole.thermo_rows, in_parts.thermo_rows, strict=True):
        assert step == same_step
        assert_logged(actual, {tag: expected[tag] for tag in expected.keys() - OF_BATCHES}, relative=1e-8)


@pytest.mark.filterwarnings("ignore:no value")
def test_a_constant_gradient_has_no_noise() -> None:
    class Slope(Regression):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return torch.stack([parameter.sum() for parameter in self.parameters()]).sum()

    row = fit(
        Slope(), ThermoMonitor("light", window=WINDOW, steps_between_windows=0), 2 * WINDOW, accumulate_grad_batches=2
    ).thermo_rows[0][1]
    assert row["thermo/temperature"] == row["thermo/temperature_stderr"] == 0.0
    assert row["thermo/noise_scale"] == pytest.approx(0.0, abs=1e-9)
    assert row["thermo/signal_share"] == pytest.approx(1.0, rel=1e-12)
    coordinates = sum(parameter.numel() for parameter in Slope().parameters())
    assert row["thermo/heat"] == pytest.approx(-0.05 * coordinates * WINDOW, rel=1e-12)
    energy = row["thermo/internal_energy"]
    start = sum(parameter.sum().item() for parameter in Slope().parameters())
    assert energy == pytest.approx(start - 0.05 * coordinates * (WINDOW - 1) / 2, rel=1e-12)


class RandomLabels(Regression):
    """There is nothing to learn from labels that are drawn anew at each step."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(INPUTS, 3, dtype=torch.float64), lambda p: SGD(p, lr=1e-3))
        nn.init.zeros_(self.net.weight)
        nn.init.zeros_(self.net.bias)
        self._labels = torch.Generator().manual_seed(2)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        [inputs] = batch
        labels = torch.randint(3, (len(inputs),), generator=self._labels)
        return cross_entropy(self.net(inputs), labels)


def test_random_labels_have_no_signal() -> None:
    inputs = torch.randn(64, INPUTS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    batches = DataLoader(TensorDataset(inputs), batch_size=8)
    monitor = ThermoMonitor("light", window=40, steps_between_windows=0)
    logger = fit(RandomLabels(), monitor, batches, max_epochs=100, accumulate_grad_batches=2)
    shares, errors = logger.series("thermo/signal_share"), logger.series("thermo/signal_share_stderr")
    assert len(shares) == 10
    assert all(abs(share) < 4 * error < 0.6 for share, error in zip(shares, errors, strict=True))
    assert math.isnan(logger.series("thermo/noise_scale_upper")[-1])  # no upper end


class FullBatch(Regression):
    """Descent down one smooth loss."""

    def __init__(self, lr: float) -> None:
        super().__init__(perceptron(seed=3), lambda p: SGD(p, lr=lr))


def descend(lr: float, window: int, rest: int, steps: int) -> tuple[list[dict[str, float]], list[float]]:
    """Rows of a run on one batch of everything, and the loss before each step."""
    batch = next(iter(loader(1, 32)))
    everything = DataLoader(TensorDataset(*(part.repeat(steps, 1) for part in batch)), batch_size=32)
    logger = fit(FullBatch(lr), ThermoMonitor("light", window=window, steps_between_windows=rest), everything)
    module = FullBatch(lr)
    optimizer = module.configure_optimizers()
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = module.loss(batch)
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    return [row for _, row in logger.thermo_rows], losses


def test_first_law_residual_shrinks_in_proportion_to_the_learning_rate() -> None:
    """Over the same stretch of time, the learning rate times the steps; windows of equal length in time."""
    residuals, changes = [], []
    for halvings in range(3):
        rows, _ = descend(0.04 / 2**halvings, 8 * 2**halvings, 0, 96 * 2**halvings)
        residuals.append(rows[-1]["thermo/first_law_residual"])
        changes.append(rows[-1]["thermo/internal_energy"] - rows[0]["thermo/internal_energy"])
    assert abs(residuals[0]) < 0.05 * abs(changes[0])
    for larger, smaller in itertools.pairwise(residuals):
        assert larger / smaller == pytest.approx(2.0, rel=0.1)


def test_heat_of_a_smooth_run_survives_rest() -> None:
    exact, losses = descend(0.005, 8, 0, 208)
    rested, _ = descend(0.005, 8, 12, 208)
    assert len(exact) == 26
    assert len(rested) == 11
    assert losses[-1] < 0.9 * losses[0]
    last = rested[-1]
    assert last["thermo/heat"] == pytest.approx(exact[-1]["thermo/heat"], rel=0.02)
    for name in ("net.0", "net.2"):
        assert last[f"thermo_heat/{name}"] == pytest.approx(exact[-1][f"thermo_heat/{name}"], rel=0.02)
    change = math.fsum(losses[200:]) / 8 - math.fsum(losses[:8]) / 8
    assert last["thermo/internal_energy"] - rested[0]["thermo/internal_energy"] == pytest.approx(change, rel=1e-9)
    assert abs(last["thermo/first_law_residual"]) < 0.05 * abs(change)
