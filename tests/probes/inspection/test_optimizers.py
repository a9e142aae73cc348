"""Rates and constants of optimizers, against values that are set or computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, RMSprop

from thermo_callbacks.probes.inspection.optimizers import (
    MOST_PARAMETERS,
    epsilon_share,
    layer_rates,
    learning_rate,
)


def stepped(optimizer: torch.optim.Optimizer, *gradients: float) -> torch.optim.Optimizer:
    for gradient in gradients:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.full_like(parameter, gradient)
        optimizer.step()
    return optimizer


def weights() -> nn.Parameter:
    return nn.Parameter(torch.ones(3, 2, dtype=torch.float64))


def test_the_largest_rate_is_told() -> None:
    pair = [SGD([weights()], lr=0.1), SGD([{"params": [weights()], "lr": torch.tensor(0.5)}], lr=0.2)]
    assert learning_rate(pair) == 0.5
    assert math.isnan(learning_rate([]))


@pytest.mark.parametrize("constant", [1e-8, 0.3, 10.0])
def test_the_share_of_epsilon_is_that_of_the_denominator(constant: float) -> None:
    optimizer = stepped(Adam([weights()], eps=constant, betas=(0.9, 0.99)), 0.3, 0.3, 0.3)
    assert epsilon_share([optimizer]) == pytest.approx(constant / (0.3 + constant))


def test_weights_without_a_gradient_do_not_count() -> None:
    optimizer = Adam([first := weights(), weights()], eps=1.0)
    for _ in range(2):
        first.grad = torch.tensor([[1.0, 0.0]] * 3, dtype=torch.float64)
        optimizer.step()
    assert epsilon_share([optimizer]) == pytest.approx(0.5)


def test_optimizers_without_such_a_constant_have_no_share() -> None:
    assert math.isnan(epsilon_share([stepped(SGD([weights()], lr=0.1, momentum=0.9), 1.0)]))
    assert math.isnan(epsilon_share([stepped(RMSprop([weights()]), 1.0), Adam([weights()])]))


def test_rates_of_layers_are_told_where_they_differ() -> None:
    one, other, still = weights(), weights(), weights()
    layers = {"one": [one], "other": [other], "still": [still]}
    groups = [{"params": [one]}, {"params": [other], "lr": 1.0}, {"params": [still], "lr": 0.0}]
    assert layer_rates([SGD(groups, lr=0.1)], layers) == {"one": 0.1, "other": 1.0}
    assert layer_rates([SGD([one, other, still], lr=0.1)], layers) == {}


def test_the_largest_parameters_of_an_optimizer_are_looked_at_whatever_its_groups() -> None:
    large, small = nn.Parameter(torch.ones(50)), [nn.Parameter(torch.ones(2)) for _ in range(MOST_PARAMETERS)]
    groups = [{"params": [each], "eps": 1.0} for each in small] + [{"params": [large], "eps": 0.0}]
    optimizer = Adam(groups)
    for _ in range(2):
        for parameter in (large, *small):
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    watched = 2 * (MOST_PARAMETERS - 1)  # coordinates of the small ones that have room beside the large one
    assert epsilon_share([optimizer]) == pytest.approx(0.5 * watched / (watched + 50))
