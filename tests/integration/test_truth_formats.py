"""Logged values are those of the functions on training by hand, whatever form the numbers have."""

from __future__ import annotations

import pytest
import torch
from integration.by_hand import assert_logged, batch_by_batch, layers_of
from integration.models import BATCH_SIZE, Regression, fit, loader, momentum_sgd, perceptron
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from thermo_callbacks import ThermoMonitor

# windows of 8 noisy steps show no signal now and then
pytestmark = pytest.mark.filterwarnings("ignore:.*noise_scale")
WINDOW = 8


@pytest.mark.parametrize("sample", [None, 30], ids=["all coordinates", "a sample"])
def test_memory_format_makes_no_difference(sample: int | None) -> None:
    def convolution(memory_format: torch.memory_format) -> Regression:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            layers = [nn.Conv2d(3, 4, 2), nn.Tanh(), nn.Flatten(), nn.Linear(4, 1)]
            return Regression(nn.Sequential(*layers).double().to(memory_format=memory_format), momentum_sgd)

    generator = torch.Generator().manual_seed(2)
    images = torch.randn(16 * BATCH_SIZE, 3, 2, 2, generator=generator, dtype=torch.float64)
    targets = torch.randn(16 * BATCH_SIZE, 1, generator=generator, dtype=torch.float64)
    batches = DataLoader(TensorDataset(images, targets), batch_size=BATCH_SIZE)
    plain, last = (
        fit(
            convolution(kind), ThermoMonitor("light", window=WINDOW, steps_between_windows=0, sample=sample), batches
        ).thermo_rows
        for kind in (torch.contiguous_format, torch.channels_last)
    )
    assert not convolution(torch.channels_last).net[0].weight.is_contiguous()
    for (_, expected), (_, actual) in zip(plain, last, strict=True):
        assert_logged(actual, expected, relative=1e-8)


def test_half_precision_modules_are_measured_in_single_precision() -> None:
    monitor = ThermoMonitor("light", window=WINDOW, steps_between_windows=0)
    logger = fit(Regression(perceptron(dtype=torch.float32)), monitor, WINDOW, precision="bf16-true")
    [(_, row)] = logger.thermo_rows
    module = Regression(perceptron(dtype=torch.bfloat16))
    batches = [[part.bfloat16() for part in batch] for batch in loader(WINDOW)]
    steps = batch_by_batch(module, layers_of(module), batches)
    assert_logged(row, steps.record(0, WINDOW, BATCH_SIZE), relative=1e-4)


def test_single_precision_module() -> None:
    batches = loader(16, dtype=torch.float32)
    rows = fit(
        Regression(perceptron(dtype=torch.float32), momentum_sgd),
        ThermoMonitor("light", window=WINDOW, steps_between_windows=0),
        batches,
    )
    module = Regression(perceptron(dtype=torch.float32), momentum_sgd)
    steps = batch_by_batch(module, layers_of(module), batches, momentum=0.9)
    for index, (_, row) in enumerate(rows.thermo_rows):
        record = steps.record(index * WINDOW, (index + 1) * WINDOW, BATCH_SIZE)
        assert_logged(row, {tag: value for tag, value in record.items() if "noise_scale" not in tag}, relative=1e-4)
