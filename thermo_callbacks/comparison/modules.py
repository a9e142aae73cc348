"""Build the module of a run from a module, a class or a function."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from thermo_callbacks.callbacks.lightning_names import NAMESPACE, LightningModule
from thermo_callbacks.comparison.activations import Candidate
from thermo_callbacks.comparison.replacement import replace_activations

MakeModule = Callable[..., LightningModule] | type[LightningModule] | LightningModule


def build_module(make_module: MakeModule, candidate: Candidate) -> LightningModule:
    """Build the module of a run with an activation.

    Args:
        make_module: Something that takes an activation, in its first argument without a default or in one named
            ``activation``; or else a class, a function without arguments, or a module, whose activations are replaced.
        candidate: The activation.

    Returns:
        A new module.

    Raises:
        TypeError: If ``make_module`` gives anything but a module of ``lightning.pytorch`` (``pytorch_lightning`` where
            that alone is installed).
        ValueError: If there is no activation module to replace.
    """
    takes = None if isinstance(make_module, LightningModule) else activation_argument(make_module)
    module = build_with(make_module, None if takes is None else candidate.build())
    if takes is None and not replace_activations(module, candidate.build):
        raise ValueError(
            f"make_module gave a {type(module).__name__} without activation modules, so nothing can be replaced: "
            "functions called in forward, such as torch.relu, can't be; give a function that takes the activation and "
            "returns the module"
        )
    return module


def build_with(make_module: MakeModule, activation: nn.Module | None) -> LightningModule:
    """Build a module with this very activation, or None where it takes none."""
    if isinstance(make_module, LightningModule):
        return copy.deepcopy(make_module)
    takes = activation_argument(make_module)
    named = {takes: activation} if takes else {}
    module: Any = make_module(activation) if takes == "" else make_module(**named)
    if not isinstance(module, LightningModule):
        kind = type(module)
        raise TypeError(
            f"make_module must give a LightningModule of {NAMESPACE}, got {kind.__module__}.{kind.__qualname__}"
        )
    return module


def activation_argument(make_module: Callable[..., Any]) -> str | None:
    """Find the argument that takes the activation.

    Returns:
        Its name; empty for one that is given by its place; None if there is no such argument.

    Example:
        >>> activation_argument(lambda act, width=8: ...), activation_argument(lambda width=8: ...)
        ('', None)
        >>> activation_argument(lambda width=8, activation=None: ...)
        'activation'
    """
    try:
        parameters = inspect.signature(make_module).parameters
    except (TypeError, ValueError):  # something built in
        return ""
    by_name = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    if "activation" in parameters and parameters["activation"].kind in by_name:
        return "activation"
    for parameter in parameters.values():
        if parameter.kind in {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}:
            return "" if parameter.default is inspect.Parameter.empty else None
    return None
