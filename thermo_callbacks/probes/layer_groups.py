"""Groups of neighbouring layers, by module path: for models with too many layers to be shown one by one."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, TypeVar

import torch

from thermo_callbacks.probes.layers import ROOT

T = TypeVar("T")
Groups = dict[str, tuple[str, ...]]
"""Name of each group to the layers in it, both in order of depth."""


class Leaf(NamedTuple):
    """What is to be known of a layer to group it."""

    name: str
    weight: int = 1  # groups come out with about the same sum of these
    device: torch.device | None = None  # a group lies on one device


@dataclass
class _Node:
    """A module with what is below it; a module that owns parameters and has children is its own first child."""

    path: tuple[str, ...]
    leaves: list[Leaf] = field(default_factory=list)
    children: dict[str, _Node] = field(default_factory=dict)
    own: bool = False  # the parameters of a module itself, without those of its children

    @cached_property  # asked for once the tree is whole
    def weight(self) -> int:
        return sum(leaf.weight for leaf in self.leaves)

    @cached_property
    def whole(self) -> bool:
        """Whether it may be one group."""
        return len({leaf.device for leaf in self.leaves}) == 1


class _Run(NamedTuple):
    """Neighbours below one module that make a group."""

    nodes: list[_Node]

    @property
    def name(self) -> str:
        first, last = self.nodes[0], self.nodes[-1]
        name = ".".join(first.path) or ROOT
        return name if first is last else f"{name}-{last.path[-1]}"

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(leaf.name for node in self.nodes for leaf in node.leaves)


def group_by_path(layers: Sequence[Leaf], most: int) -> Groups:
    """Cut the tree of module paths into at most ``most`` groups of neighbours, as even as the tree allows.

    A group is a module with all that is below it (``encoder.layer.0``), or some neighbours below one module
    (``blocks.0-3``, ``norm-head``). No group is heavier than need be: the lightest limit is taken that leaves at most
    ``most`` groups. Numbered modules, as in a ``ModuleList``, are put together with neighbours where they fit; those
    with names only where there would be less than half as many groups as allowed, or one of everything, without.
    Layers of two devices are never in one group, if the number of groups allows.

    Args:
        layers: The layers in order of definition.
        most: Most groups, at least 1.

    Returns:
        The groups in order of depth; each layer is in one.

    Example:
        >>> names = ["embed", *(f"blocks.{block}.{part}" for block in range(4) for part in ("a", "b")), "head"]
        >>> list(group_by_path([Leaf(name) for name in names], 4))
        ['embed', 'blocks.0-1', 'blocks.2-3', 'head']
    """
    if not layers:
        return {}
    cuts = [_finest(_tree(layers), most, packed) for packed in (False, True)]
    cuts = [cut for cut in cuts if len(cut) <= most]
    if not cuts:  # layers of several devices, shuffled
        cuts = [_finest(_tree([leaf._replace(device=None) for leaf in layers]), most, True)]
    # whole modules read better than stretches of them, unless they are so few that much is left unsaid
    natural = [cut for cut in cuts if len(cut) > 1 and most <= 2 * len(cut)]
    return _named(natural[0] if natural else max(cuts, key=len))


def _tree(layers: Iterable[Leaf]) -> _Node:
    root = _Node(())
    for leaf in layers:
        path = () if leaf.name == ROOT else tuple(leaf.name.split("."))
        node = root
        node.leaves.append(leaf)
        for depth in range(len(path)):
            node = node.children.setdefault(path[depth], _Node(path[: depth + 1]))
            node.leaves.append(leaf)
        # a module's own parameters come before those of its children
        node.children[""] = _Node(path, [leaf], own=True)
    return root


def _finest(root: _Node, most: int, packed: bool) -> list[_Run]:
    """The cut with the lightest groups that has at most ``most``; the coarsest if none has."""
    # more weight allowed never gives more groups
    low, high = 1, max(1, root.weight)
    while low < high:
        middle = (low + high) // 2
        if len(_cut(root, middle, packed)) <= most:
            high = middle
        else:
            low = middle + 1
    return _cut(root, low, packed)


def _cut(node: _Node, heaviest: int, packed: bool) -> list[_Run]:
    """Groups of a module: itself if it is not too heavy, else those of its children, light neighbours together."""
    children = list(node.children.values())
    if node.own or (node.whole and node.weight <= heaviest):
        return [_Run([node])]
    if len(children) == 1:
        return _cut(children[0], heaviest, packed)
    runs: list[_Run] = []
    for child in children:
        found = _cut(child, heaviest, packed)
        last = runs[-1].nodes if runs else []
        alone = len(found) == 1 and found[0].nodes[0] is child
        if last and alone and _fit([*last, child], heaviest, packed):
            last.append(child)
        else:
            runs += found
    return runs


def _fit(nodes: Sequence[_Node], heaviest: int, packed: bool) -> bool:
    """Whether some neighbours and the one behind them may be one group."""
    if any(node.own for node in nodes) or len({node.path[:-1] for node in nodes}) > 1:
        return False
    if not (packed or all(node.path[-1].isdigit() for node in nodes)):
        return False
    devices = {leaf.device for node in nodes for leaf in node.leaves}
    return sum(node.weight for node in nodes) <= heaviest and len(devices) == 1


def _named(runs: Sequence[_Run]) -> Groups:
    groups: Groups = {}
    for run in runs:
        # letters that all loggers take in a tag; what is shown by itself keeps its name
        alone = run.members == (run.name,)
        name = wanted = run.name if alone else re.sub(r"[^A-Za-z0-9_\-./ ]", "_", run.name)
        number = 2
        while name in groups:
            name, number = f"{wanted}_{number}", number + 1
        groups[name] = run.members
    return groups


class LayerGroups:
    """Layers of a model in groups, or each by itself where there are none.

    A group is a layer with the parameters of all its members, so that sums over its coordinates are those of the
    members, and whatever is made of sums is exact.
    """

    def __init__(self, groups: Mapping[str, Sequence[str]] | None = None) -> None:
        self.groups: Groups = {name: tuple(members) for name, members in (groups or {}).items()}
        self._group_of = {member: name for name, members in self.groups.items() for member in members}

    def gather(self, layers: Mapping[str, list[T]]) -> dict[str, list[T]]:
        """Group to all that its members have, in their order; groups without any are left out."""
        gathered: dict[str, list[T]] = {name: [] for name in self.groups}
        for name, owned in layers.items():
            gathered.setdefault(self._group_of.get(name, name), []).extend(owned)
        return {name: owned for name, owned in gathered.items() if owned}

    def sample(self, each: int | None) -> Callable[[str], int | None]:
        """Coordinates to watch in a group by its label: as many as in its members if ``each`` were watched in these."""

        # They are drawn from all coordinates of the group alike, and not from each member apart: sums over coordinates
        # are unbiased without weights, their error is that of drawing without replacement, and the whole model is
        # watched as closely, and at the same cost, as layer by layer.
        def of(label: str) -> int | None:
            members = self.groups.get(label) or self.groups.get(label.rpartition("@")[0]) or (label,)
            return None if each is None else each * len(members)

        return of

    def state_dict(self) -> dict[str, list[str]]:
        """The groups in plain values; none where each layer is by itself."""
        return {name: list(members) for name, members in self.groups.items()}

    def holds(self, names: Collection[str]) -> bool:
        """Whether these are the layers that are grouped."""
        return set(names) == set(self._group_of)


EACH_BY_ITSELF = LayerGroups()
