"""Another activation in the place of a module's own."""

from __future__ import annotations

import torch
from torch import nn

from thermo_callbacks.comparison.replacement import replace_activations


class OwnReLU(nn.ReLU):
    pass


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared = nn.GELU()
        self.blocks = nn.ModuleList(
            [nn.Sequential(nn.Linear(2, 2), self.shared), nn.Sequential(self.shared, nn.SiLU())]
        )
        self.gates = nn.ModuleDict({"own": OwnReLU(), "softmax": nn.Softmax(-1), "drop": nn.Dropout()})
        self.again = self.shared
        self.nothing = None
        self.register_module("empty", None)

    def forward(self, z):
        return self.again(self.blocks[1](self.blocks[0](z)))


def test_all_activations_are_replaced_at_any_depth():
    module = Nested()
    assert replace_activations(module, nn.Tanh) == 3
    kinds = [type(each).__name__ for each in module.modules()]
    assert kinds.count("Tanh") == 3
    assert {"Softmax", "Dropout", "Linear"} <= set(kinds)
    assert not {"GELU", "SiLU", "OwnReLU"} & set(kinds)


def test_shared_object_is_replaced_by_one_object():
    module = Nested()
    replace_activations(module, nn.Tanh)
    assert module.shared is module.again is module.blocks[0][1] is module.blocks[1][0]
    assert module.blocks[1][1] is not module.shared


def test_replacements_are_what_is_called():
    module = Nested()
    replace_activations(module, nn.Identity)
    z = torch.ones(1, 2)
    assert torch.equal(module(z), module.blocks[0][0](z))


def test_parameters_of_replacements_are_trained():
    module = Nested()
    before = len(list(module.parameters()))
    replace_activations(module, nn.PReLU)
    assert len(list(module.parameters())) == before + 3


def test_mode_is_kept():
    module = Nested().eval()
    replace_activations(module, nn.RReLU)
    assert not module.shared.training


def test_nothing_to_replace():
    assert replace_activations(nn.Sequential(nn.Linear(1, 1), nn.Softmax(-1)), nn.ReLU) == 0
