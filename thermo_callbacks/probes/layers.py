"""Layers of a model: the modules that own trainable parameters, under names that wrappers do not change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.parameter import is_lazy

from thermo_callbacks.probes.sharding import reshard

_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
ROOT = "root"
"""Name of the layer that the model itself is, if it owns parameters directly."""


def canonical_name(name: str) -> str:
    """Module name as the user wrote it, without what ``torch.compile``, FSDP, checkpointing and DDP insert.

    Returns:
        The name without wrapper parts; ``"root"`` for the model itself.

    Example:
        >>> canonical_name("module.net._orig_mod.0")
        'net.0'
        >>> canonical_name("")
        'root'
    """
    parts = [part for part in name.split(".") if part not in _WRAPPERS]
    if parts and parts[0] == "module":  # DDP and DataParallel wrap the whole model and nothing inside it
        parts = parts[1:]
    return ".".join(parts) or ROOT


def layer_parameters(
    model: nn.Module, patterns: Sequence[str] | None = None, *, frozen: bool = False
) -> dict[str, list[nn.Parameter]]:
    """Trainable parameters of each layer, in order of definition; a tied parameter belongs to its first owner.

    With ``frozen``, also those that require no gradient.

    Returns:
        Layer name to the parameters that the layer owns directly and that require a gradient; layers whose names match
        one of the glob patterns, or all.

    Raises:
        ValueError: If a pattern matches no layer with parameters.

    Example:
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1, bias=False))
        >>> {name: len(parameters) for name, parameters in layer_parameters(model).items()}
        {'0': 2, '2': 1}
    """
    layers = owned_parameters(model)
    if patterns is not None:
        _check_patterns(patterns, set(layers))
        layers = {
            name: owned for name, owned in layers.items() if any(fnmatchcase(name, pattern) for pattern in patterns)
        }
    trainable = {
        name: [parameter for parameter in owned if frozen or parameter.requires_grad] for name, owned in layers.items()
    }
    return {name: owned for name, owned in trainable.items() if owned}


def owned_parameters(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Parameters of each layer, trainable or not; none for a layer whose parameters are all tied to an earlier one."""
    reshard(model)
    layers: dict[str, list[nn.Parameter]] = {}
    seen: set[int] = set()
    for module_name, module in model.named_modules():
        name = canonical_name(module_name)
        for parameter in module.parameters(recurse=False):
            owned = layers.setdefault(name, [])
            if id(parameter) not in seen and not _is_empty(parameter):
                seen.add(id(parameter))
                owned.append(parameter)
    return layers


def _is_empty(parameter: nn.Parameter) -> bool:
    """Whether a parameter has no elements: it is no coordinate of anything, and never moves."""
    return not is_lazy(parameter) and parameter.numel() == 0


def _check_patterns(patterns: Iterable[str], names: set[str]) -> None:
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(
                f"layers holds the pattern {pattern!r}, which matches no layer: choose among {sorted(names)}, or use "
                "None for all"
            )
