"""Activations that a person names."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn

from thermo_callbacks.comparison.activations import NAMES, Candidate, candidates, known_name


def square(z):
    return z * z


class Softmaxish(nn.Module):
    def forward(self, z):
        return z.softmax(-1)


class Scaled(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor


@pytest.mark.parametrize("name", NAMES)
def test_each_known_name_builds_its_module_in_any_spelling(name):
    (candidate,) = candidates([name.upper()])
    assert candidate.name == name
    assert type(candidate.build()) is getattr(nn, name)
    assert candidate.build() is not candidate.build()


def test_names_are_elementwise():
    assert {"ReLU", "GELU", "SELU", "Identity"} <= set(NAMES)
    assert not {"Softmax", "GLU", "MultiheadAttention", "Threshold"} & set(NAMES)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (nn.Tanh, "Tanh"),
        (nn.LeakyReLU(), "LeakyReLU"),
        (nn.LeakyReLU(0.2), "LeakyReLU(negative_slope=0.2)"),
        (nn.ReLU(), "ReLU"),
        (square, "square"),
        (torch.sin, "sin"),
        (lambda z: z, "lambda"),
    ],
)
def test_kinds_of_activations(given, name):
    (candidate,) = candidates([given])
    assert candidate.name == name
    z = torch.linspace(-2, 2, 5)
    expected = given()(z) if isinstance(given, type) else given(z)
    assert torch.equal(candidate.build()(z), expected)


def test_mapping_gives_names_that_folders_can_have():
    assert [each.name for each in candidates({"a b/c": nn.ReLU, "x": nn.ReLU(inplace=True)})] == ["a_b_c", "x"]


def test_module_that_is_given_is_copied():
    given = nn.PReLU(init=0.3)
    (candidate,) = candidates([given])
    built = candidate.build()
    built.weight.data.fill_(9.0)
    assert given.weight.item() == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("given", "engine"),
    [("ReLU", "passive"), ("SELU", "driven"), (square, "driven"), (torch.sin, "passive"), (Softmaxish, "")],
)
def test_engine_is_decided_from_the_function(given, engine):
    assert candidates([given])[0].engine() == engine


def test_function_is_named_where_the_module_is_printed():
    assert repr(candidates([square])[0].build()) == "ElementwiseFunction(square)"


@pytest.mark.parametrize(
    ("name", "cure"),
    [("GLU", "GELU"), ("leakyrelo", "LeakyReLU"), ("swish", "Hardswish"), ("qqq", "choose from ReLU, ")],
)
def test_unknown_name_is_refused_with_close_ones(name, cure):
    with pytest.raises(ValueError, match=f"activations holds '{name}', which is no activation of torch.nn: .*{cure}"):
        known_name(name)


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ("ReLU", TypeError, r"activations must be a list such as \['ReLU', 'Tanh'\], got the text 'ReLU'"),
        ([], ValueError, "activations must hold at least one activation such as 'ReLU', got none"),
        ([3.0], TypeError, "activations may hold names, module classes, modules and functions, got 3.0"),
        ([dict], TypeError, "activations may hold classes of modules, got the class dict"),
        (
            [Scaled],
            ValueError,
            r"holds the class Scaled, which can't be built without arguments .*: give a module, Scaled",
        ),
        (
            ["ReLU", nn.ReLU()],
            ValueError,
            "activations must have different names, got ReLU more than once: give a mapping",
        ),
        ({"a": nn.ReLU, "A": nn.Tanh}, ValueError, "different names, got A, a more than once"),
    ],
)
def test_what_cannot_be_used_is_refused(given, kind, message):
    with pytest.raises(kind, match=message):
        candidates(given)


def test_candidate_can_be_sent_to_another_process():
    assert pickle.loads(pickle.dumps(Candidate("Tanh", nn.Tanh))).build()(torch.zeros(1)).item() == 0.0
