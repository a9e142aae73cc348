"""Logged values against exact ones on real data: the 442 patients of the diabetes data, all gradients known."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import pytest
import torch
from integration.models import RecordingLogger, Regression, quiet_trainer
from lightning.pytorch import Callback
from sklearn.datasets import load_diabetes
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from thermo_callbacks import TemperatureMonitor, ThermoMonitor

# near the minimum there is next to no signal
pytestmark = pytest.mark.filterwarnings("ignore:.*noise_scale")
BATCH_SIZE, LEARNING_RATE, WINDOW = 16, 0.02, 50


@lru_cache(maxsize=1)
def diabetes() -> tuple[Tensor, Tensor]:
    """Inputs [442, 10] and targets [442, 1] of mean 0 and variance 1."""
    inputs, targets = load_diabetes(return_X_y=True)
    columns = torch.cat([torch.from_numpy(inputs), torch.from_numpy(targets)[:, None]], 1)
    columns = (columns - columns.mean(0)) / columns.std(0, correction=0)
    return columns[:, :10], columns[:, 10:]


def drawn_batches(steps: int) -> DataLoader[Any]:
    """Batches of patients drawn with replacement: their gradients are independent from step to step."""
    data = TensorDataset(*diabetes())
    generator = torch.Generator().manual_seed(11)
    sampler = RandomSampler(data, replacement=True, num_samples=steps * BATCH_SIZE, generator=generator)
    return DataLoader(data, batch_size=BATCH_SIZE, sampler=sampler)


def gradients_of_all_patients(weight: Tensor) -> Tensor:
    """Gradient of each patient's squared error of a linear model, ``[442, 10]``."""
    inputs, targets = diabetes()
    return 2.0 * (inputs @ weight.detach().view(-1, 1) - targets) * inputs


class ExactTemperature(Callback):
    """Exact temperature eta tr(Sigma) / 2N at the parameters of the steps; Sigma is that of a batch."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        slopes = gradients_of_all_patients(pl_module.net.weight)
        noise = slopes.var(0, correction=0).sum().item() / BATCH_SIZE
        self.values.append(LEARNING_RATE * noise / (2 * slopes.shape[1]))


def train(net: nn.Module, steps: int, sample: int | None, *callbacks: Any) -> RecordingLogger:
    module = Regression(net, lambda parameters: SGD(parameters, lr=LEARNING_RATE))
    logger = RecordingLogger()
    options: dict[str, Any] = {} if sample == 4096 else {"sample": sample}
    monitor = TemperatureMonitor(window=WINDOW, steps_between_windows=0, **options)
    quiet_trainer(callbacks=[*callbacks, monitor], logger=logger).fit(module, drawn_batches(steps))
    return logger


def linear() -> nn.Linear:
    net = nn.Linear(10, 1, bias=False, dtype=torch.float64)
    nn.init.zeros_(net.weight)
    return net


def test_temperature_of_least_squares_is_exact_within_five_percent() -> None:
    steps, burn_in = 2000, 300
    exact = ExactTemperature()
    logger = train(linear(), steps, 4096, exact)
    logged = logger.series("thermo/temperature")[burn_in // WINDOW :]
    assert len(logged) == (steps - burn_in) // WINDOW
    truth = math.fsum(exact.values[burn_in:]) / (steps - burn_in)
    assert math.fsum(logged) / len(logged) == pytest.approx(truth, rel=0.05)
    # and the error bars know how far off a window is
    inside = [
        lower <= math.fsum(exact.values[end - WINDOW + 1 : end + 1]) / WINDOW <= upper
        for end, lower, upper in (
            (step, row["thermo/temperature_lower"], row["thermo/temperature_upper"]) for step, row in logger.thermo_rows
        )
    ]
    assert 0.85 <= sum(inside) / len(inside) <= 1.0
    assert repr(train(linear(), 200, None).thermo_rows) == repr(logger.thermo_rows[: 200 // WINDOW])


def perceptron() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(10, 24), nn.Tanh(), nn.Linear(24, 1)).double()


def test_a_sample_of_coordinates_agrees_with_all() -> None:
    means = []
    for sample in (64, None):  # of 264 coordinates of the first layer
        rows = [row for _, row in train(perceptron(), 600, sample).thermo_rows[2:]]
        value = math.fsum(row["thermo_temperature/net.0"] for row in rows) / len(rows)
        variance = math.fsum(row["thermo_temperature_stderr/net.0"] ** 2 for row in rows) / len(rows) ** 2
        overall = math.fsum(row["thermo/temperature"] for row in rows) / len(rows)
        error = math.fsum(row["thermo/temperature_stderr"] ** 2 for row in rows) / len(rows) ** 2
        means.append(((value, variance), (overall, error)))
    for (sampled, its_variance), (full, own_variance) in zip(*means, strict=True):
        assert sampled != full
        assert abs(sampled - full) < 4 * math.sqrt(its_variance + own_variance)


@pytest.mark.filterwarnings("ignore:no transition")
def test_noise_scale_and_signal_share_are_exact_within_ten_percent() -> None:
    """At parameters that hardly move, where the slope stands out of the noise."""
    net = linear()
    slopes = gradients_of_all_patients(net.weight)
    signal = slopes.mean(0).square().sum().item()
    noise = slopes.var(0, correction=0).sum().item()
    module = Regression(nn.Sequential(net), lambda parameters: SGD(parameters, lr=1e-6))
    logger = RecordingLogger()
    monitor = ThermoMonitor(window=400, steps_between_windows=0, curvature_every_n_steps=40)
    quiet_trainer(callbacks=monitor, logger=logger).fit(module, drawn_batches(400))
    [row] = [row for _, row in logger.thermo_rows if "thermo/noise_scale" in row]
    assert row["thermo/noise_scale"] == pytest.approx(noise / signal, rel=0.1)
    assert row["thermo/signal_share"] == pytest.approx(signal / (signal + noise / BATCH_SIZE), rel=0.1)
    assert row["thermo_noise_scale/net.0"] == row["thermo/noise_scale"]
