"""Diagonal preconditioner, motion and edge of stability of an optimizer, from its own settings and state."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

from thermo_callbacks.functional.stability import stability_threshold
from thermo_callbacks.functional.window.linear_motion import Motion
from thermo_callbacks.probes.parameters.optimizers import MobilityOf, group_momentum, parameter_mobility
from thermo_callbacks.probes.parameters.stated import gradient_sign, group_rate, largest_rate, stated_decay
from thermo_callbacks.probes.real_numbers import as_real

_KNOWN = (SGD, Adam, AdamW, RMSprop, Adagrad)


class Preconditioning(NamedTuple):
    """How an optimizer multiplies gradients and weights now, parameter by parameter.

    Attributes:
        motion: Its step in preconditioned coordinates, without decoupled weight decay.
        rate: Largest learning rate, which the preconditioner is relative to.
        preconditioner: M of each parameter, a tensor of its shape or one number; NaN where it is not known.
        coupled_decay: What weight decay adds to the curvature of each parameter.
        decoupled_decay: Share of each parameter that weight decay takes in a step.
        averaged: Whether its buffer averages gradients.
        reason: Why there is no edge of stability; empty if there is one.
    """

    motion: Motion
    rate: float
    preconditioner: Sequence[Tensor | float]
    coupled_decay: Sequence[float]
    decoupled_decay: Sequence[float]
    averaged: bool
    reason: str

    @property
    def known(self) -> bool:
        """Whether the preconditioner of every parameter is known."""
        return not any(isinstance(value, float) and math.isnan(value) for value in self.preconditioner)

    @property
    def uniform(self) -> bool:
        """Whether all parameters have one preconditioner and one decay: then the plain Hessian's eigenvectors do."""
        numbers = {value for value in self.preconditioner if isinstance(value, float)}
        tensors = any(isinstance(value, Tensor) for value in self.preconditioner)
        return not tensors and len(numbers) == len(set(self.coupled_decay)) == 1

    def root(self, parameters: Sequence[nn.Parameter]) -> Tensor:
        """Root of the preconditioner of all coordinates in one row."""
        return _row(self.preconditioner, parameters).sqrt()

    def coupled_row(self, parameters: Sequence[nn.Parameter]) -> Tensor:
        """Coupled weight decay of all coordinates in one row."""
        return _row(self.coupled_decay, parameters)

    def decoupled_along(self, vectors: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
        """Share that decoupled weight decay takes along each unit vector in a step."""
        return vectors.square() @ _row(self.decoupled_decay, parameters).to(vectors.dtype)

    def threshold(self, decoupled_decay: float = 0.0) -> float:
        """Edge of stability of the preconditioned Hessian; NaN where it is not known."""
        if self.reason:
            return math.nan
        return stability_threshold(
            self.rate,
            self.motion.response.momentum,
            nesterov=self.motion.nesterov,
            averaged=self.averaged,
            decoupled_decay=decoupled_decay,
        )


def read_preconditioning(
    optimizer: Optimizer,
    parameters: Sequence[nn.Parameter],
    watch: Callable[[Tensor], Tensor],
    mobility: MobilityOf = parameter_mobility,
) -> Preconditioning:
    """How an optimizer multiplies the gradients of these parameters now; ``watch`` picks what is held of a tensor."""
    # mobility: what the state says, or what windows have measured of an optimizer that is not taken at its word
    owners = {parameter: group for group in optimizer.param_groups for parameter in group["params"]}
    groups = list({id(owners[parameter]): owners[parameter] for parameter in parameters}.values())
    responses = [group_momentum(optimizer, group) for group in groups]
    nesterov = [bool(group.get("nesterov", False)) for group in groups]
    averaged = "momentum" not in groups[0] and "betas" in groups[0]
    rate = largest_rate(groups)
    response = responses[0]
    one_kind = len(set(responses)) == 1 and len(set(nesterov)) == 1 and all(map(_descends, groups))
    step = rate * (1.0 - response.momentum) if averaged else rate
    coupled, decoupled = zip(*(_decays(optimizer, owners[parameter]) for parameter in parameters), strict=True)
    summed = 1.0 - response.momentum if "momentum" in groups[0] else 1.0
    preconditioner = [
        _preconditioner(mobility(optimizer, owners[parameter], parameter, watch), summed / rate)
        if one_kind and rate
        else math.nan
        for parameter in parameters
    ]
    motion = Motion(step, response, nesterov[0])
    found = Preconditioning(motion, rate, preconditioner, coupled, decoupled, averaged, "")
    return found._replace(reason=_reason(optimizer, found, one_kind))


def _reason(optimizer: Optimizer, found: Preconditioning, one_kind: bool) -> str:
    """Why there is no edge of stability."""
    name = type(optimizer).__name__
    if not one_kind:
        return f"the parameter groups of {name} have different momenta, or climb the loss"
    if not found.rate:
        return "the learning rate is zero, at which nothing moves"
    if not found.known:
        return f"{name} does not tell how far it moves a weight per unit of gradient"
    if not isinstance(optimizer, _KNOWN):
        return f"the edge of stability of {name} is not known here: it is for SGD, Adam, AdamW, RMSprop and Adagrad"
    return ""


def _preconditioner(mobility: Tensor | float, factor: float) -> Tensor | float:
    """Displacement per unit of gradient, without the buffer's sum, over the largest learning rate."""
    relative = mobility * factor
    return relative if isinstance(relative, Tensor) else float(relative)


def _descends(group: dict[str, Any]) -> bool:
    return gradient_sign(group) > 0.0


def _decays(optimizer: Optimizer, group: dict[str, Any]) -> tuple[float, float]:
    """Coupled weight decay, and the share that decoupled weight decay takes in a step."""
    decay = stated_decay(group)
    if group.get("decoupled_weight_decay", isinstance(optimizer, AdamW)):  # AdamW marks its groups, but did not always
        return 0.0, group_rate(group) * decay
    return decay, 0.0


def _row(values: Sequence[Tensor | float], parameters: Sequence[nn.Parameter]) -> Tensor:
    """One row of the values of all coordinates, of single precision at least."""
    dtype = torch.promote_types(torch.float32, parameters[0].dtype.to_real())
    rows = [
        torch.as_tensor(value, dtype=dtype, device=parameter.device).detach().expand(_shape(parameter)).reshape(-1)
        for value, parameter in zip(values, parameters, strict=True)
    ]
    return torch.cat(rows)


def _shape(parameter: nn.Parameter) -> torch.Size:
    return as_real(parameter.detach()).shape
