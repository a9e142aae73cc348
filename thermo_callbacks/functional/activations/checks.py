"""An activation as a function of single numbers: evaluated and differentiated in float64, refused if it is none."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

Activation = Callable[[Tensor], Tensor]

PROBE_POINTS = (-30.0, -2.5, -1.0, -0.3, 0.0, 0.3, 1.0, 2.5, 30.0)


def scalar_function(activation: Activation) -> Activation:
    """The activation as a checked function of float64 tensors on the CPU that leaves its argument alone."""
    # a module is copied in evaluation mode, so that neither its parameters nor its mode nor its hooks are touched;
    # to be evaluated outside of inference mode, since the copy is made to be differentiated
    if isinstance(activation, type):
        raise ValueError(
            f"activation must be a function or a module, got the class {activation.__name__}: give an instance, "
            f"{activation.__name__}()"
        )
    if not callable(activation):
        raise ValueError(f"activation must be a function or a module, got {activation!r}")
    evaluated = _double_copy(activation) if isinstance(activation, nn.Module) else activation

    def function(points: Tensor) -> Tensor:
        return evaluated(points.clone())  # in-place activations write into the clone

    points = torch.tensor(PROBE_POINTS, dtype=torch.float64, device="cpu")
    values = function(points)
    if not isinstance(values, Tensor) or values.shape != points.shape or not values.is_floating_point():
        found = f"{values.dtype} of shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values)
        raise ValueError(
            f"activation must give a floating-point tensor of its input's shape {tuple(points.shape)}, got {found}"
        )
    alone = torch.cat([function(points[place : place + 1]) for place in range(len(points))])
    # vectorised and single evaluation may differ by rounding
    if not torch.allclose(alone, values, rtol=1e-6, atol=1e-6, equal_nan=True):
        raise ValueError(
            f"activation must give an element the same value in any company, got {values.tolist()} for "
            f"{points.tolist()} together and {alone.tolist()} one by one: it mixes elements or is random"
        )
    return function


def slopes(function: Activation, points: Tensor) -> Tensor:
    """Derivative of an elementwise function at points, as autograd gives it: 0 where no gradient comes back."""
    leaf = points.clone().requires_grad_()
    values = function(leaf)
    if not values.requires_grad:
        return torch.zeros_like(points)
    (slope,) = torch.autograd.grad(values.sum(), leaf, allow_unused=True)
    return torch.zeros_like(points) if slope is None else slope


def _double_copy(module: nn.Module) -> nn.Module:
    """Copy without hooks: a copied hook would drag along a copy of whatever it belongs to."""
    without_hooks = {
        id(value): type(value)()
        for part in module.modules()
        for name, value in vars(part).items()
        if "_hooks" in name and isinstance(value, Mapping)
    }
    return copy.deepcopy(module, without_hooks).to(device="cpu", dtype=torch.float64).eval()
