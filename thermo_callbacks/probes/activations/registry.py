"""Registry of activation functions and modules, and of the dimension of features."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss
from torchmetrics import Metric

Function = Callable[..., Any]


class Activation(NamedTuple):
    """An activation function, by its own name (``relu``) and that of the module that does the same (``ReLU``)."""

    name: str
    kind: str


_KINDS = {
    "relu": "ReLU",
    "relu6": "ReLU6",
    "leaky_relu": "LeakyReLU",
    "prelu": "PReLU",
    "rrelu": "RReLU",
    "threshold": "Threshold",
    "elu": "ELU",
    "selu": "SELU",
    "celu": "CELU",
    "gelu": "GELU",
    "silu": "SiLU",
    "mish": "Mish",
    "hardswish": "Hardswish",
    "tanh": "Tanh",
    "hardtanh": "Hardtanh",
    "softsign": "Softsign",
    "sigmoid": "Sigmoid",
    "expit": "Sigmoid",
    "hardsigmoid": "Hardsigmoid",
    "log_sigmoid": "LogSigmoid",
    "logsigmoid": "LogSigmoid",  # the same function in another place: the last name is the one that it gets
    "softplus": "Softplus",
    "tanhshrink": "Tanhshrink",
    "softshrink": "Softshrink",
    "hardshrink": "Hardshrink",
}
_PLACES = (nn.functional, torch, Tensor, torch.special, torch._C._nn)

ACTIVATION_MODULES: tuple[type[nn.Module], ...] = tuple(getattr(nn, kind) for kind in dict.fromkeys(_KINDS.values()))
"""The modules that call one of the functions and do nothing else."""

ELEMENTWISE = tuple(kind for kind in ACTIVATION_MODULES if kind not in {nn.PReLU, nn.RReLU})
"""Those without parameters and chance."""

SILENT = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
"""Nothing but the identity in evaluation mode."""

OPAQUE_MODULES: tuple[type[nn.Module], ...] = (Metric, _Loss)
"""Modules whose calls don't belong to the network: they judge its outputs."""

FUSED_MODULES: tuple[type[nn.Module], ...] = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)
"""Modules that take a fused path in evaluation, unless they see that someone is watching."""


def _everywhere(name: str) -> list[Function]:
    """A function in all its places, in-place variants included."""
    found = (getattr(place, name + suffix, None) for place in _PLACES for suffix in ("", "_"))
    return [function for function in found if callable(function)]


_BUILT_IN = {function: Activation(name, kind) for name, kind in _KINDS.items() for function in _everywhere(name)}

_CHANNELS_LAST = ("linear", "bilinear", "layer_norm", "rms_norm", "embedding", "matmul", "addmm", "bmm", "lstm", "gru")
_CHANNELS_SECOND = (
    "batch_norm",
    "group_norm",
    "instance_norm",
    *(f"conv{transposed}{dimensions}d" for transposed in ("", "_transpose") for dimensions in (1, 2, 3)),
)
FEATURE_DIMENSION: dict[Function, int] = {
    function: dimension
    for names, dimension in ((_CHANNELS_LAST, -1), (_CHANNELS_SECOND, 1))
    for name in names
    for function in _everywhere(name)
} | {Tensor.__matmul__: -1}
"""Functions that make features, and the dimension that they put them in."""


def activation_functions(activations: Iterable[Function] = ()) -> dict[Function, Activation]:
    """The functions that count as activations, further ones of torch with method and in-place variants.

    Returns:
        Function to what it is called.

    Raises:
        ValueError: If a function is not one of torch's own, so that its calls can't be seen.

    Example:
        >>> import torch
        >>> activation_functions()[torch.Tensor.relu_]
        Activation(name='relu', kind='ReLU')
        >>> activation_functions([torch.sin])[torch.Tensor.sin]
        Activation(name='sin', kind='sin')
    """
    functions = dict(_BUILT_IN)
    for function in activations:
        name = getattr(function, "__name__", repr(function))
        variants = _everywhere(name.rstrip("_"))
        # methods of tensors name no module
        of_torch = str(getattr(function, "__module__", None)).partition(".")[0] == "torch" or function in variants
        if isinstance(function, type) or not callable(function) or not of_torch:
            raise ValueError(
                f"activations must hold module classes and functions of torch, got {name}: calls of other functions "
                "can't be seen; put it into the forward of a module and give that module's class"
            )
        functions |= dict.fromkeys([function, *variants], Activation(name.strip("_"), name.strip("_")))
    return functions
