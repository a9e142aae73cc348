"""Parameters and gradients along a few directions, at each watched step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from thermo_callbacks.functional.momentum import MomentumResponse
from thermo_callbacks.functional.window.linear_motion import Motion
from thermo_callbacks.probes.real_numbers import as_real, real_count


class WatchedDirections(NamedTuple):
    """Directions of preconditioned parameters, and what an extra pass knows of each.

    Attributes:
        places: Vectors that parameters and displacements are projected on, u over the root of the preconditioner,
            ``[k, n]``.
        slopes: Vectors that gradients are projected on, u times that root, ``[k, n]``.
        curvatures: Curvature along each, in units of the preconditioned loss, float64 on the CPU, ``[k]``.
        curvature_stderr: Its standard error, ``[k]``.
        decays: Share that decoupled weight decay takes along each in a step, ``[k]``.
        motion: The optimizer's step, at this learning rate.
        rate: Largest learning rate.
    """

    places: Tensor
    slopes: Tensor
    curvatures: Tensor
    curvature_stderr: Tensor
    decays: Tensor
    motion: Motion
    rate: float

    def state_dict(self) -> dict[str, Any]:
        """Tensors on the CPU and plain values."""
        tensors = {name: getattr(self, name).detach().cpu().clone() for name in _TENSORS}
        step, response, nesterov, _ = self.motion
        return {**tensors, "rate": self.rate, "motion": [step, *response, nesterov]}

    @classmethod
    def of_state(cls, state: dict[str, Any], device: torch.device) -> WatchedDirections:
        """Directions that :meth:`state_dict` was taken of."""
        step, momentum, factor, nesterov = state["motion"]
        motion = Motion(step, MomentumResponse(momentum, factor), nesterov)
        tensors = {name: state[name].to(device if name in _TENSORS[:2] else "cpu") for name in _TENSORS}
        return cls(**tensors, motion=motion, rate=state["rate"])


_TENSORS = ("places", "slopes", "curvatures", "curvature_stderr", "decays")


class ProjectionProbe:
    """Reads parameters, gradients and displacements along some directions: dot products, and no wait for the device."""

    def __init__(self, parameters: Sequence[nn.Parameter], directions: WatchedDirections) -> None:
        self._parameters = tuple(parameters)
        sizes = [real_count(parameter) for parameter in parameters]
        self._places = torch.split(directions.places, sizes, 1)
        self._slopes = torch.split(directions.slopes, sizes, 1)
        self.row = directions.places.new_zeros(3, len(directions.places))

    def before_step(self, scale: Tensor | float) -> None:
        """Read positions, and gradients times ``scale``, that of the mean loss."""
        self.row[0] = self._positions()
        slope = torch.zeros_like(self.row[1])
        for parameter, vectors in zip(self._parameters, self._slopes, strict=True):
            if parameter.grad is not None:
                slope = slope + vectors @ _flat(parameter.grad, vectors)
        self.row[1] = slope * scale

    def after_step(self) -> Tensor:
        """Positions before the step, gradients and displacements, ``[3, k]``."""
        self.row[2] = self._positions() - self.row[0]
        return self.row

    def _positions(self) -> Tensor:
        place = torch.zeros_like(self.row[0])
        for parameter, vectors in zip(self._parameters, self._places, strict=True):
            place = place + vectors @ _flat(parameter, vectors)
        return place


def _flat(tensor: Tensor, vectors: Tensor) -> Tensor:
    """All numbers of a tensor in a row."""
    tensor = as_real(tensor.detach())
    return (tensor if tensor.layout == torch.strided else tensor.to_dense()).reshape(-1).to(vectors.dtype)
