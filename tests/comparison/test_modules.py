"""The module of a run, from what a person gives for it."""

from __future__ import annotations

import pytest
import torch
from comparison_models import Net, PlainNet
from lightning.pytorch import LightningModule
from torch import nn

from thermo_callbacks.comparison.activations import candidates
from thermo_callbacks.comparison.modules import activation_argument, build_module

(TANH,) = candidates(["Tanh"])


def by_place(act, width=3):
    return Net(act)


def by_name(width=3, activation=None):
    assert isinstance(activation, nn.Tanh)
    return Net(activation)


def by_keyword(*, activation):
    return Net(activation)


def without():
    return PlainNet()


@pytest.mark.parametrize("make", [by_place, by_name, by_keyword, without, PlainNet, Net, Net()])
def test_activation_gets_in_whatever_is_given(make):
    module = build_module(make, TANH)
    assert [type(each) for each in module.children() if not isinstance(each, nn.Linear)] == [nn.Tanh]


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (by_place, ""),
        (by_name, "activation"),
        (by_keyword, "activation"),
        (without, None),
        (PlainNet, None),
        (dict, ""),
    ],
)
def test_argument_that_takes_the_activation(make, argument):
    assert activation_argument(make) == argument


def test_module_that_is_given_stays_as_it_is():
    module = Net()
    built = build_module(module, TANH)
    assert isinstance(module.activation, nn.ReLU)
    assert torch.equal(built.first.weight, module.first.weight)
    assert built.first.weight is not module.first.weight


class Functional(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)


def test_module_with_functions_only_is_refused_with_the_cure():
    with pytest.raises(
        ValueError, match=r"a Functional without activation modules.*functions called in forward.*can't"
    ):
        build_module(Functional, TANH)


def test_other_modules_are_refused():
    with pytest.raises(TypeError, match=r"must give a LightningModule of lightning.pytorch, got torch.nn.*Linear"):
        build_module(lambda activation: nn.Linear(1, 1), TANH)
