"""Layers that each optimizer of a run trains, under the names that their values are logged under."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from thermo_callbacks.probes.layer_groups import EACH_BY_ITSELF, LayerGroups, Leaf, group_by_path
from thermo_callbacks.probes.layers import layer_parameters, owned_parameters
from thermo_callbacks.probes.parameters.stated import parameters_of


def trained_layers(
    pl_module: Any,
    optimizers: Sequence[Any],
    optimizer: Optimizer,
    patterns: Sequence[str] | None,
    groups: LayerGroups = EACH_BY_ITSELF,
    *,
    besides: Collection[int] = (),
) -> dict[str, list[nn.Parameter]]:
    """Layer or group to the parameters that one optimizer trains, and those of its own with identities ``besides``."""
    # a layer that is shared out between optimizers (matrices to one, biases to another) is a layer of each, named
    # after it
    trained = _trained(optimizer)
    elsewhere = set().union(*(_trained(other) for other in optimizers if other is not optimizer))
    layers: dict[str, list[nn.Parameter]] = {}
    able = layer_parameters(pl_module, patterns, frozen=bool(besides))
    able = {name: [p for p in owned if p.requires_grad or id(p) in besides] for name, owned in able.items()}
    for name, owned in groups.gather({name: owned for name, owned in able.items() if owned}).items():
        shared = any(id(parameter) in elsewhere for parameter in owned)
        label = f"{name}@{_name_of(optimizer, optimizers)}" if shared else name
        own = [parameter for parameter in owned if id(parameter) in trained]
        if own:
            layers[label] = own
    return layers


class TurnsOfTraining:
    """Knows the parameters that have frozen and thawed again: they are to be watched also where they are frozen now.

    A window begins with the layers that are trained at its first step. Of those that take turns from step to step it
    would miss what they do later in it.
    """

    def __init__(self) -> None:
        self._trained: set[int] = set()
        self._rested: set[int] = set()  # after they had been trained
        self._turning: set[int] = set()

    def look(self, optimizer: Optimizer) -> set[int]:
        """Take in which parameters of an optimizer are trained now; identities of those that take turns."""
        owned = {id(p): p.requires_grad for p in parameters_of(optimizer)}
        now = {key for key, trained in owned.items() if trained}
        self._turning |= self._rested & now
        self._rested |= self._trained & (owned.keys() - now)
        self._trained |= now
        return self._turning & owned.keys()


def group_layers(pl_module: Any, optimizers: Sequence[Any], most: int) -> LayerGroups:
    """Groups of a model's layers that make at most ``most`` labels, none where its layers make no more one by one."""
    # Frozen layers have groups too, so that no name changes when they thaw. Where fewer layers are trained at the start
    # than not, these get half of the groups: they are what the run is about. A group that is shared out between
    # optimizers has a label for each.
    owned = {name: parameters for name, parameters in owned_parameters(pl_module).items() if parameters}
    owners = [_trained(optimizer) for optimizer in optimizers]
    each = {name: (name,) for name in owned}
    if _labels(each.values(), owned, owners) <= most:
        return EACH_BY_ITSELF
    everything = set().union(*owners)
    trained = {
        name
        for name, parameters in owned.items()
        if any(parameter.requires_grad and id(parameter) in everything for parameter in parameters)
    }
    frozen = len(owned) - len(trained)
    weights = (frozen, len(trained)) if 0 < len(trained) < frozen else (1, 1)
    leaves = [Leaf(name, weights[name not in trained], parameters[0].device) for name, parameters in owned.items()]
    for count in range(most, 1, -1):
        groups = group_by_path(leaves, count)
        if _labels(groups.values(), owned, owners) <= most:
            break
    return LayerGroups(groups)


def most_labels(pl_module: Any, optimizers: Sequence[Any], groups: LayerGroups) -> int:
    """Labels that there can be in a run, also when all layers have thawed."""
    owned = {name: parameters for name, parameters in owned_parameters(pl_module).items() if parameters}
    gathered = groups.gather({name: [name] for name in owned})
    return _labels(gathered.values(), owned, [_trained(optimizer) for optimizer in optimizers])


def _labels(groups: Iterable[Sequence[str]], owned: dict[str, list[nn.Parameter]], owners: Sequence[set[int]]) -> int:
    """Labels of groups, one for each optimizer that has a parameter of it, and one for a group that none has."""
    count = 0
    for members in groups:
        inside = {id(parameter) for name in members for parameter in owned[name]}
        count += max(1, sum(bool(inside & trained) for trained in owners))
    return count


def _name_of(optimizer: Optimizer, optimizers: Sequence[Any]) -> str:
    """Class of an optimizer, with its number where several have the same."""
    name = type(optimizer).__name__
    alike = [other for other in optimizers if type(other).__name__ == name]
    return name if len(alike) == 1 else f"{name}-{optimizers.index(optimizer)}"


def _trained(optimizer: Optimizer) -> set[int]:
    """Identities of the parameters in an optimizer's groups."""
    return set(map(id, parameters_of(optimizer)))
