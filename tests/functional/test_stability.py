"""The edge of stability of each optimizer, by simulating it on both sides."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn, optim

from thermo_callbacks.functional import stability_threshold
from thermo_callbacks.probes.parameters.preconditioning import read_preconditioning

LR = 0.01
KEEPS = {optim.Adam: 0.999, optim.AdamW: 0.999, optim.RMSprop: 0.99}
"""What a step leaves of the second moment, before it divides by it."""
MAKERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "SGD": lambda p: optim.SGD(p, lr=LR),
    "SGD, decay": lambda p: optim.SGD(p, lr=LR, weight_decay=5.0),
    "momentum": lambda p: optim.SGD(p, lr=LR, momentum=0.9),
    "momentum, decay": lambda p: optim.SGD(p, lr=LR, momentum=0.5, weight_decay=5.0),
    "dampening": lambda p: optim.SGD(p, lr=LR, momentum=0.5, dampening=0.5),
    "Nesterov": lambda p: optim.SGD(p, lr=LR, momentum=0.9, nesterov=True),
    "Nesterov, decay": lambda p: optim.SGD(p, lr=LR, momentum=0.5, nesterov=True, weight_decay=5.0),
    "Adam": lambda p: optim.Adam(p, lr=LR, betas=(0.9, 0.999)),
    "Adam, decay": lambda p: optim.Adam(p, lr=LR, betas=(0.5, 0.999), weight_decay=5.0),
    "AdamW": lambda p: optim.AdamW(p, lr=LR, betas=(0.9, 0.999), weight_decay=20.0),
    "RMSprop": lambda p: optim.RMSprop(p, lr=LR),
    "RMSprop, momentum": lambda p: optim.RMSprop(p, lr=LR, momentum=0.5),
    "Adagrad": lambda p: optim.Adagrad(p, lr=LR),
}


def growth(make: Callable[[Any], optim.Optimizer], share: float) -> float:
    """By what a weight's swing grows in 750 steps at a share of the edge, with the preconditioner held still."""
    parameter = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = make([parameter])
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()  # fills the state
    moments = ("exp_avg_sq", "square_avg", "sum")
    state = optimizer.state[parameter]
    held = next((name for name in moments if name in state), None)
    curvature = math.nan
    parameter.data.fill_(1e-100)  # so small that its gradients do not change the preconditioner
    swing: list[float] = []
    for name in ("momentum_buffer", "exp_avg"):
        if name in state:
            state[name].zero_()
    for step in range(1500):
        if held is not None:
            state[held].fill_(1.0 / KEEPS.get(type(optimizer), 1.0))
        if "step" in state:
            state["step"].fill_(1e7)  # corrections of the start are over
        if not step:
            seen = read_preconditioning(optimizer, [parameter], lambda tensor: tensor)
            assert not seen.reason
            root = float(seen.root([parameter]))
            threshold = seen.threshold(seen.decoupled_decay[0])
            curvature = share * threshold / root**2 - seen.coupled_decay[0]
        parameter.grad = curvature * parameter.detach()
        optimizer.step()
        swing.append(abs(parameter.item()))
    return max(swing[1450:]) / max(swing[700:750])


@pytest.mark.parametrize("name", MAKERS)
def test_converges_just_below_and_diverges_just_above(name: str) -> None:
    assert growth(MAKERS[name], 0.99) < 0.9
    assert growth(MAKERS[name], 1.01) > 1.1


def test_formulas() -> None:
    assert stability_threshold(0.5) == 4.0
    assert stability_threshold(0.5, 0.9) == pytest.approx(2.0 * 1.9 / 0.5)
    assert stability_threshold(0.5, 0.9, nesterov=True) == pytest.approx(2.0 * 1.9 / (0.5 * 2.8))
    assert stability_threshold(0.5, 0.9, averaged=True) == pytest.approx(38.0 / 0.5)
    assert stability_threshold(0.5, 0.9, averaged=True, decoupled_decay=0.2) == pytest.approx(0.9 * 76.0)


def test_no_value() -> None:
    assert stability_threshold(0.0) == math.inf
    assert math.isnan(stability_threshold(0.1, 0.9, nesterov=True, averaged=True))
    with pytest.raises(ValueError, match=r"^momentum must lie in \[0, 1\), got 1.0"):
        stability_threshold(0.1, 1.0)
