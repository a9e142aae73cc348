"""Layers in groups of neighbours, by module path."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

import pytest
import torch
from torch import nn

from thermo_callbacks.probes.layer_groups import EACH_BY_ITSELF, LayerGroups, Leaf, group_by_path
from thermo_callbacks.probes.layers import owned_parameters


def leaves(*names: str) -> list[Leaf]:
    return [Leaf(name) for name in names]


def blocks(count: int, parts: Sequence[str] = ("attention", "norm", "dense"), path: str = "blocks") -> list[str]:
    return [f"{path}.{block}.{part}" for block in range(count) for part in parts]


LANGUAGE = ["token", "position", *blocks(12), "norm", "head"]
NAMED = [f"fc{index}" for index in range(30)]
TREES = {
    "language model": LANGUAGE,
    "flat": [str(index) for index in range(60)],
    "named": NAMED,
    "below one module": [f"model.net.{name}" for name in LANGUAGE],
    "root too": ["root", *LANGUAGE],
    "owners": ["net", *(f"net.{block}{part}" for block in range(20) for part in ("", ".out"))],
    "two towers": [*blocks(10, path="image.blocks"), *blocks(6, path="text.blocks"), "head"],
}
CUTS = [  # tree, most groups, groups
    ("language model", 10, ["token", "position", *(f"blocks.{2 * k}-{2 * k + 1}" for k in range(6)), "norm", "head"]),
    ("language model", 16, ["token", "position", *(f"blocks.{k}" for k in range(12)), "norm", "head"]),
    ("language model", 6, ["token", "position", "blocks.0-5", "blocks.6-11", "norm", "head"]),
    ("language model", 3, ["token-position", "blocks", "norm-head"]),
    ("flat", 16, [f"{4 * k}-{4 * k + 3}" for k in range(15)]),
    ("named", 10, [f"fc{3 * k}-fc{3 * k + 2}" for k in range(10)]),
    ("below one module", 3, ["model.net.token-position", "model.net.blocks", "model.net.norm-head"]),
    ("two towers", 4, ["image.blocks.0-5", "image.blocks.6-9", "text", "head"]),
    ("owners", 5, ["net", "net.0-4", "net.5-9", "net.10-14", "net.15-19"]),
]


@pytest.mark.parametrize(("tree", "most", "expected"), CUTS)
def test_groups_read_like_the_model(tree: str, most: int, expected: list[str]) -> None:
    assert list(group_by_path(leaves(*TREES[tree]), most)) == expected


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("most", [2, 4, 7, 9, 16])
def test_each_layer_is_in_one_group_of_neighbours(tree: str, most: int) -> None:
    names = TREES[tree]
    groups = group_by_path(leaves(*names), most)
    assert [name for members in groups.values() for name in members] == names
    assert 1 < len(groups) <= most  # never one of everything
    assert all(re.fullmatch(r"[A-Za-z0-9_\-./ ]+", name) for name in groups)
    assert groups == group_by_path(leaves(*names), most)
    finer = max(map(len, group_by_path(leaves(*names), 16).values()))
    assert finer <= max(map(len, groups.values()))


def test_few_layers_are_groups_of_their_own() -> None:
    names = ["embed", "net.0", "net.2", "head"]
    assert group_by_path(leaves(*names), 4) == {name: (name,) for name in names}
    assert group_by_path([], 4) == {}


def test_names_hold_letters_that_loggers_take() -> None:
    names = ["experts.a:b.0", "experts.a:b.1", "experts.c(d).0", "experts.c(d).1", "head#2"]
    assert list(group_by_path(leaves(*names), 3)) == ["experts.a_b", "experts.c_d_", "head#2"]
    alike = ["net.a:b.0", "net.a:b.1", "net.a;b.0", "net.a;b.1"]
    assert list(group_by_path(leaves(*alike), 2)) == ["net.a_b", "net.a_b_2"]


def test_a_group_lies_on_one_device() -> None:
    devices = [torch.device("meta" if index < 10 else "cpu") for index in range(40)]
    layers = [Leaf(f"blocks.{index}", device=device) for index, device in enumerate(devices)]
    groups = group_by_path(layers, 4)
    of = dict(zip((leaf.name for leaf in layers), devices, strict=True))
    assert [len({of[name] for name in members}) for members in groups.values()] == [1] * len(groups)
    assert 2 <= len(groups) <= 4
    shuffled = [leaf._replace(device=devices[7 * index % 40]) for index, leaf in enumerate(layers)]
    assert 2 <= len(group_by_path(shuffled, 4)) <= 4


def test_heavier_layers_have_smaller_groups() -> None:
    layers = [*(Leaf(f"backbone.{index}", 2) for index in range(100)), Leaf("head.0", 100), Leaf("head.2", 100)]
    groups = group_by_path(layers, 6)
    assert list(groups) == [*(f"backbone.{25 * k}-{25 * k + 24}" for k in range(4)), "head.0", "head.2"]


def test_a_large_tree_is_cut_in_no_time() -> None:
    names = blocks(200, [f"part{index}.{side}" for index in range(5) for side in "ab"])
    start = time.perf_counter()
    groups = group_by_path(leaves(*names), 16)
    assert time.perf_counter() - start < 5.0  # 0.2 where nothing else runs
    assert len(groups) == 16


class TestLayerGroups:
    GROUPS = LayerGroups({"body": ["a", "b"], "head": ["c"]})

    def test_what_members_have_is_gathered(self) -> None:
        assert self.GROUPS.gather({"a": [1, 2], "c": [5], "b": [3]}) == {"body": [1, 2, 3], "head": [5]}
        assert self.GROUPS.gather({"c": [5], "new": [7]}) == {"head": [5], "new": [7]}
        assert EACH_BY_ITSELF.gather({"a": [1], "b": []}) == {"a": [1]}

    def test_a_sample_is_that_of_all_members(self) -> None:
        sample = self.GROUPS.sample(100)
        assert [sample(label) for label in ("body", "body@SGD-0", "head", "other", "other@SGD")] == [
            *(200, 200, 100, 100, 100)
        ]
        assert self.GROUPS.sample(None)("body") is None

    def test_they_know_whose_they_are(self) -> None:
        assert self.GROUPS.holds(["c", "b", "a"])
        assert not self.GROUPS.holds(["a", "b"])
        assert LayerGroups(self.GROUPS.state_dict()).groups == self.GROUPS.groups


def test_owned_parameters_are_those_of_all_layers_frozen_or_not() -> None:
    model = nn.Sequential(
        nn.Linear(2, 3), nn.Linear(3, 3).requires_grad_(False), nn.ReLU(), nn.Linear(3, 3, bias=False)
    )
    model[3].weight = model[1].weight
    assert {name: len(owned) for name, owned in owned_parameters(model).items()} == {"0": 2, "1": 2, "3": 0}
