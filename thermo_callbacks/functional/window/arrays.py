"""Statistics of a window that is given as arrays of all its steps: the slow and obvious way, contrast by contrast."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from thermo_callbacks.functional.momentum import (
    AT_ONCE,
    MomentumResponse,
    innovations,
    noise_half,
    pair_contrasts,
    shared_noise,
)
from thermo_callbacks.functional.statistics import check_window, coordinate_sampling_variance, helmert_contrasts
from thermo_callbacks.functional.window.coordinate_terms import CoordinateSums, coordinate_terms
from thermo_callbacks.functional.window.statistics import WindowStatistics
from thermo_callbacks.functional.window.weight_terms import GrowthSums, growth_sampling_variance, growth_terms


@dataclass(frozen=True)
class LayerArrays:
    """A window of one layer, ``[W, n]``, and its contrasts."""

    response: MomentumResponse
    size: int | None  # all coordinates of the layer; None: those that are shown
    parameters: Any = None
    displacements: Any = None
    gradients: Any = None
    mobility: Any = None

    def __post_init__(self) -> None:
        if self.mobility is not None and tuple(self.mobility.shape) not in {(), self.displacements.shape[1:]}:
            raise ValueError(
                f"mobility must be a scalar or of shape {list(self.displacements.shape[1:])} like the coordinates, got "
                f"{tuple(self.mobility.shape)}"
            )

    @cached_property
    def kicks(self) -> Tensor:
        """Contrasts of the innovations, times the response of the optimizer, ``[K - 1, n]``."""
        moves, _ = innovations(self.displacements, self.displacements, self.response.momentum)
        return self.response.factor * self._contrasts(moves)

    def _contrasts(self, rows: Tensor) -> Tensor:
        return pair_contrasts(rows, self.response.momentum)

    @cached_property
    def pushes(self) -> Tensor:
        """Their products with contrasts of what the next gradient does not repeat, ``[K - 1, n]``."""
        _, fresh = innovations(self.gradients, self.gradients, self.response.momentum)
        return self.kicks * self._contrasts(fresh) / shared_noise(*self.response)

    @cached_property
    def driven(self) -> Tensor:
        """Minus half the products of the kicks with contrasts of the same steps' gradients, ``[K - 1, n]``."""
        same = self.gradients if self.response.momentum == 0.0 else self.gradients[1:-1]
        return -self.kicks * self._contrasts(same) / 2.0

    @property
    def slopes(self) -> Tensor:
        """Contrasts of the gradients, ``[W - 1, n]``."""
        return helmert_contrasts(self.gradients)

    def temperatures(self, half: int | None = None) -> Tensor:
        """Kinetic temperature of each coordinate, from all contrasts or half of them, ``[n]``."""
        paired = self.response.momentum > 0.0
        first = 3 if paired else 1  # step that completes the first contrast
        rows = [row for row in range(len(self.pushes)) if half in (None, noise_half(row + first, paired))]
        return -0.5 * self.pushes[rows].mean(0)

    @cached_property
    def coordinates(self) -> CoordinateSums:
        """Sums for the entropy and its error."""
        diffusion = self.mobility * self.temperatures()
        terms = coordinate_terms(self.parameters.var(0), diffusion, len(self.parameters))
        return CoordinateSums(*(term.sum() for term in terms))

    def sampling_variance(self) -> Tensor:
        """Variance of the kinetic temperature from watching a part of the coordinates; 0 from one contrast."""
        if self.size is None or len(self.pushes) < 2:
            return self.pushes.new_zeros(())
        return coordinate_sampling_variance(self.temperatures(0), self.temperatures(1), self.size)

    def weight_square(self) -> Tensor:
        """Mean squared norm of the parameters, of all coordinates."""
        square: Tensor = self.parameters.square().mean(0).sum()
        return square if self.size is None else square * (self.size / self.parameters.shape[1])

    def growth_variance(self) -> Tensor:
        """Variance of the growth of the squared norm in a step from watching a part of the coordinates."""
        squares = self.parameters.square().mean(0)
        forces = (self.parameters * self.displacements).mean(0)
        sums = GrowthSums(*(term.sum() for term in growth_terms(squares, forces)))
        watched = squares.new_tensor(len(squares))
        total = watched if self.size is None else squares.new_tensor(self.size)
        return growth_sampling_variance(sums, 2.0 * forces.sum(), squares.sum(), watched=watched, total=total)


_SUMS: dict[str, Callable[[LayerArrays], Tensor]] = {
    "innovation_gradient": lambda layer: layer.pushes.sum(1),
    "innovation_square": lambda layer: (layer.kicks.square() / layer.mobility).sum(1),
    "excess_power": lambda layer: (layer.kicks.square() / layer.mobility / 2.0 - layer.driven).sum(1),
    "driven_power": lambda layer: layer.driven.sum(1),
    "position_gradient": lambda layer: (helmert_contrasts(layer.parameters) * layer.slopes).sum(1),
    "gradient_square": lambda layer: layer.slopes.square().sum(1),
    "position_displacement": lambda layer: (layer.parameters * layer.displacements).sum(1),
    "gradient_displacement": lambda layer: (layer.gradients * layer.displacements).sum(1),
    "displacement_square": lambda layer: layer.displacements.square().sum(1),
    "mean_gradient_square": lambda layer: layer.gradients.mean(0).square().sum(),
    "temperature_sampling_variance": LayerArrays.sampling_variance,
    "weight_square": LayerArrays.weight_square,
    "growth_sampling_variance": LayerArrays.growth_variance,
    # arrays know of no weight decay but that which a function is given
    "decay_square": lambda layer: layer.displacements.new_zeros(()),
    "decay_displacement": lambda layer: layer.displacements.new_zeros(()),
}


class ArrayWindow(WindowStatistics):
    """Statistics of a window as arrays, in their precision; each sum is made when an estimate asks for it."""

    _layers: list[LayerArrays]
    _steps: int

    def __init__(
        self,
        fewest: int,  # steps for which what is to be estimated exists
        *,
        parameters: Sequence[Tensor] | None = None,  # before each step, [W, n] for each layer, like the next two
        displacements: Sequence[Tensor] | None = None,
        gradients: Sequence[Tensor] | None = None,
        mobility: Sequence[Tensor] | None = None,  # displacement per unit of gradient, a scalar or [n]
        response: MomentumResponse = AT_ONCE,
        sizes: Sequence[int] | None = None,  # all coordinates of each layer; None: those that are shown
        batch_size: float = math.nan,
    ) -> None:
        given = {"parameters": parameters, "displacements": displacements, "gradients": gradients}
        windows = {name: layers for name, layers in given.items() if layers is not None}
        some = next(iter(windows.values()))
        layers = []
        for index in range(len(some)):
            arrays = {name: columns[index] for name, columns in windows.items()}
            check_window(fewest, **arrays)
            size = None if sizes is None else sizes[index]
            layers.append(LayerArrays(response, size, mobility=mobility and mobility[index], **arrays))
        watched = [layer.shape[1] for layer in some]
        # the dataclass is frozen, and its other fields are left to __getattr__
        self.__dict__.update(
            _layers=layers,
            _steps=len(some[0]),
            watched=some[0].new_tensor(watched),
            sizes=some[0].new_tensor(watched if sizes is None else sizes),
            momentum=torch.full((len(some),), response.momentum, dtype=torch.float64),
            batch_size=batch_size,
            skipped=0,
        )

    def __getattr__(self, name: str) -> Tensor:
        """A sum of all layers that is asked for the first time."""
        if name in CoordinateSums._fields:
            columns = [getattr(layer.coordinates, name) for layer in self._layers]
        elif name in _SUMS:
            columns = [_SUMS[name](layer) for layer in self._layers]
        else:
            raise AttributeError(name)
        self.__dict__[name] = total = torch.stack(columns, -1)
        return total

    @property
    def steps(self) -> int:
        """Steps W in the window."""
        return self._steps
