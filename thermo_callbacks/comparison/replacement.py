"""Replace the activations of a module."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from thermo_callbacks.probes.activations.registry import ACTIVATION_MODULES


def replace_activations(module: nn.Module, build: Callable[[], nn.Module]) -> int:
    """Replace all activation modules in a module, at any depth.

    A module is an activation if its class is one of torch.nn's elementwise activations or derives from one; that holds
    for a gate or an output that is one, too. An object that stands in several places is replaced by one object in all
    of them. Functions called in ``forward``, such as ``torch.relu``, can't be replaced.

    Returns:
        Number of different objects that were replaced.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Sequential(nn.ReLU()))
        >>> replace_activations(network, nn.Tanh)
        2
        >>> network[1], network[2][0]
        (Tanh(), Tanh())
    """
    replacements: dict[int, nn.Module] = {}
    for parent in list(module.modules()):
        for name, child in list(parent._modules.items()):  # named_children leaves out a second place of one object
            if not isinstance(child, ACTIVATION_MODULES):
                continue
            if id(child) not in replacements:
                replacements[id(child)] = build().train(child.training)
            parent._modules[name] = replacements[id(child)]
    return len(replacements)
