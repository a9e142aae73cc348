"""Layers that each optimizer of a run trains, under the names that their values are logged under."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from thermo_callbacks.probes.layers import layer_parameters


def trained_layers(
    pl_module: Any, optimizers: Sequence[Any], optimizer: Optimizer, patterns: Sequence[str] | None
) -> dict[str, list[nn.Parameter]]:
    """Layer name to the parameters that one optimizer trains."""
    # a layer that is shared out between optimizers (matrices to one, biases to another) is a layer of each, named
    # after it
    trained = _trained(optimizer)
    elsewhere = set().union(*(_trained(other) for other in optimizers if other is not optimizer))
    layers: dict[str, list[nn.Parameter]] = {}
    for name, owned in layer_parameters(pl_module, patterns).items():
        shared = any(id(parameter) in elsewhere for parameter in owned)
        label = f"{name}@{_name_of(optimizer, optimizers)}" if shared else name
        own = [parameter for parameter in owned if id(parameter) in trained]
        if own:
            layers[label] = own
    return layers


def _name_of(optimizer: Optimizer, optimizers: Sequence[Any]) -> str:
    """Class of an optimizer, with its number where several have the same."""
    name = type(optimizer).__name__
    alike = [other for other in optimizers if type(other).__name__ == name]
    return name if len(alike) == 1 else f"{name}-{optimizers.index(optimizer)}"


def _trained(optimizer: Optimizer) -> set[int]:
    """Identities of the parameters in an optimizer's groups."""
    return {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
