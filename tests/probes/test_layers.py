"""Layers under the names that the person who wrote the model knows."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from thermo_callbacks.probes.layers import canonical_name, layer_parameters

NAMES = {
    "": "root",
    "net.0": "net.0",
    "_orig_mod": "root",
    "_orig_mod.net.0": "net.0",
    "net._orig_mod.0": "net.0",
    "module": "root",
    "module.net": "net",
    "module._orig_mod.net": "net",
    "_orig_mod.module.net": "net",
    "net.module": "net.module",
    "net._fsdp_wrapped_module.0._checkpoint_wrapped_module.1": "net.0.1",
}


@pytest.mark.parametrize("name", NAMES)
def test_wrappers_leave_no_trace_in_names(name: str) -> None:
    assert canonical_name(name) == NAMES[name]


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.encoder = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3))
        self.norm = nn.BatchNorm1d(3)
        self.head = nn.Linear(3, 3, bias=False)
        self.head.weight = self.encoder[2].weight
        self.frozen = nn.Linear(3, 1).requires_grad_(False)
        self.partly = nn.Linear(3, 1)
        self.partly.bias.requires_grad_(False)


def sizes(model: nn.Module, patterns: list[str] | None = None) -> dict[str, int]:
    return {name: sum(p.numel() for p in owned) for name, owned in layer_parameters(model, patterns).items()}


ALL = {"root": 1, "encoder.0": 9, "encoder.2": 12, "norm": 6, "partly": 3}


def test_layers_own_their_trainable_parameters_once() -> None:
    model = Model()
    assert sizes(model) == ALL
    assert list(layer_parameters(model)) == list(ALL)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert sum(ALL.values()) == trainable


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")  # torch.compile's own import
def test_wrapped_models_have_the_same_layers() -> None:
    wrapped = Model()
    wrapped.encoder[0] = checkpoint_wrapper(wrapped.encoder[0])
    wrapped.norm = torch.compile(wrapped.norm)  # type: ignore[assignment]
    assert sizes(wrapped) == ALL
    assert sizes(torch.compile(Model())) == ALL  # type: ignore[arg-type]
    assert sizes(nn.DataParallel(Model())) == ALL


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["encoder.*"], ["encoder.0", "encoder.2"]),
        (["*.0", "norm"], ["encoder.0", "norm"]),
        (["encoder.[2-9]", "encoder.2"], ["encoder.2"]),
        (["root"], ["root"]),
        (["*"], list(ALL)),
        (["head", "encoder.0"], ["encoder.0"]),  # tied to another layer
        (["frozen", "encoder.0"], ["encoder.0"]),  # it may thaw
    ],
)
def test_patterns_choose_by_name(patterns: list[str], expected: list[str]) -> None:
    assert list(layer_parameters(Model(), patterns)) == expected


@pytest.mark.parametrize("pattern", ["decoder.*", "Encoder.0", "encoder", "encoder.1", ""])
def test_a_pattern_that_matches_nothing_is_named_with_the_choice(pattern: str) -> None:
    choice = ["encoder.0", "encoder.2", "frozen", "head", "norm", "partly", "root"]
    message = (
        f"layers holds the pattern {pattern!r}, which matches no layer: choose among {choice}, or use None for all"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        layer_parameters(Model(), ["norm", pattern])


def test_a_model_without_parameters_has_no_layers() -> None:
    assert layer_parameters(nn.ReLU()) == {}
