"""A network of which nothing is trained has nothing to measure, and the message says so."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from integration.models import Regression, fit
from torch import Tensor

from thermo_callbacks import ThermoMonitor


class Frozen(Regression):
    """Its loss has a gradient, and none of its parameters takes any."""

    def __init__(self) -> None:
        super().__init__()
        self.requires_grad_(False)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        inputs, targets = batch
        return self.loss((inputs.requires_grad_(), targets))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_a_network_without_a_trained_parameter_is_told_the_true_reason() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        monitor = ThermoMonitor("full", window=8, curvature_every_n_steps=4)
        logger = fit(Frozen(), monitor, 20)
    messages = [str(warning.message) for warning in caught if "switched off" in str(warning.message)]
    reason = "no parameter of the watched layers is trained: none that an optimizer holds requires a gradient"
    assert len([text for text in messages if reason in text]) == len(messages) >= 1
    assert not any("IndexError" in text or "ValueError" in text for text in messages)
    assert any("thermo/work_efficiency" in row for _, row in logger.rows)
