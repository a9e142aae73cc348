"""Modes of a network's modules that spoil a run without an error."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd


def uncalibrated_norms(model: nn.Module) -> list[str]:
    """Batch normalisation in eval mode whose statistics were never measured: it normalises with 0 and 1.

    Asking how many batches it has seen waits for the device.

    Returns:
        Names of these modules.

    Example:
        >>> net = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2))
        >>> _ = net[1].eval()
        >>> uncalibrated_norms(net)
        ['1']
    """
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm)
        and not module.training
        and module.num_batches_tracked is not None
        and int(module.num_batches_tracked) == 0
    ]


def bounded_activations(model: nn.Module) -> list[str]:
    """Activations with two flat ends, which saturate and don't die.

    Returns:
        Names of these modules.

    Example:
        >>> bounded_activations(nn.Sequential(nn.Tanh(), nn.ReLU()))
        ['0']
    """
    kinds = (nn.Tanh, nn.Sigmoid, nn.Softsign, nn.Hardsigmoid, nn.Hardtanh)
    # ReLU6 is a Hardtanh by inheritance, and has but one end that kills
    modules = model.named_modules()
    return [name for name, module in modules if isinstance(module, kinds) and not isinstance(module, nn.ReLU6)]


def normalises_first(model: nn.Module) -> bool:
    """Whether the first module with weights normalises, so that the size of the inputs does not matter.

    Returns:
        Whether it does, in the order in which modules were registered.

    Example:
        >>> normalises_first(nn.Sequential(nn.LayerNorm(2), nn.Linear(2, 2)))
        True
    """
    kinds = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
    modules = (each for each in model.modules() if next(each.parameters(recurse=False), None) is not None)
    return isinstance(next(modules, None), kinds)


def frozen_between(model: nn.Module) -> list[str]:
    """Frozen layers with trained ones before and behind them, in the order of the modules.

    Returns:
        Names of the modules whose own parameters are all frozen.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
        >>> _ = net[1].requires_grad_(False)
        >>> frozen_between(net)
        ['1']
    """
    trained = {
        name: any(each.requires_grad for each in module.parameters(recurse=False))
        for name, module in model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    }
    names = list(trained)
    places = [place for place, name in enumerate(names) if trained[name]]
    inner = range(places[0], places[-1]) if places else range(0)
    return [names[place] for place in inner if not trained[names[place]]]


def dropout_rates(model: nn.Module) -> dict[str, float]:
    """Dropout that is on, and what share of the values each sets to zero.

    Returns:
        Name of the module to its share.

    Example:
        >>> dropout_rates(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.25), nn.Dropout(0.0)))
        {'1': 0.25}
    """
    found: dict[str, Any] = {
        name: module.p
        for name, module in model.named_modules()
        if isinstance(module, (_DropoutNd, nn.AlphaDropout)) and module.training
    }
    return {name: float(share) for name, share in found.items() if share}
