"""The metrics as cases with their functional twins, and bursts of ragged layers to feed both with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from oracles import normal
from torch import Tensor
from torch.nn.functional import pad
from torch.testing import assert_close

from thermo_callbacks import functional, metrics
from thermo_callbacks.functional import Estimate, momentum_response
from thermo_callbacks.functional.energy import heat_sums
from thermo_callbacks.functional.window.drift import drift_sums
from thermo_callbacks.functional.window.einstein import einstein_temperature_sums
from thermo_callbacks.functional.window.estimates import LayerEstimates
from thermo_callbacks.functional.window.noise import gradient_power_sums, noise_scale_sums
from thermo_callbacks.functional.window.statistics import WindowStatistics
from thermo_callbacks.functional.window.streaming import CHUNK, StreamingWindow
from thermo_callbacks.functional.window.temperature import (
    equilibrium_ratio_sums,
    kinetic_temperature_sums,
    virial_temperature_sums,
)
from thermo_callbacks.metrics.base import LayerMetric

WATCHED = (1, 7, 255, 256, 257, 300)  # coordinates seen of each layer: on both sides of a chunk's end
SIZES = (1, 50, 255, 1000, 257, 4000)  # all coordinates of each layer: some layers are seen whole, some in part
STEPS = 20
BATCH_SIZE = 8


class WindowSteps(NamedTuple):
    """Consecutive steps; each field holds one window [W, n] for each layer."""

    parameters: list[Tensor]  # before each step
    displacements: list[Tensor]
    gradients: list[Tensor]

    @property
    def watched(self) -> list[int]:
        """Coordinates of each layer."""
        return [layer.shape[1] for layer in self.gradients]

    @property
    def mobility(self) -> list[Tensor]:
        """Displacement per unit of gradient, [n] for each layer; coordinates differ, and layers of other sizes."""
        return [0.1 + 0.1 * normal(count, seed=count).abs() for count in self.watched]

    def layer(self, index: int) -> WindowSteps:
        """One layer alone."""
        return WindowSteps(*([field[index]] for field in self))

    def rest(self, *layers: int) -> WindowSteps:
        """The same steps in which some layers had no gradient and did not move."""
        fields = [[0.0 * x if i in layers else x for i, x in enumerate(field)] for field in self[1:]]
        return WindowSteps(self.parameters, *fields)

    def at(self, steps: Tensor) -> WindowSteps:
        """Some of the steps, by index or by mask."""
        return WindowSteps(*([layer[steps] for layer in field] for field in self))

    def stretches(self) -> list[tuple[int, int]]:
        """Where each layer stands in the rows."""
        ends = [sum(-(-n // CHUNK) * CHUNK for n in self.watched[:layer]) for layer in range(len(self.watched))]
        return [(start, start + n) for start, n in zip(ends, self.watched, strict=True)]

    def rows(self) -> Tensor:
        """What StreamingWindow.update() takes at each step: [W, 3, n], every layer padded to whole chunks."""
        flat = [torch.cat([pad(layer, (0, -layer.shape[1] % CHUNK)) for layer in field], 1) for field in self]
        return torch.stack([flat[0], flat[2], flat[1]], 1)  # parameters, gradients, displacements


def window_steps(
    seed: int, *, watched: Sequence[int] = WATCHED, steps: int = STEPS, offset: float = 0.0
) -> WindowSteps:
    """Steps down a slope, with noise in gradients and moves; ``offset`` lies on all parameters."""
    noise = [normal(3, steps, count, seed=100 * seed + index) for index, count in enumerate(watched)]
    # some coordinates are hotter than others, so that it matters which are seen
    amplitudes = [(1.0 + index) * torch.linspace(0.2, 2.0, count).double() for index, count in enumerate(watched)]
    gradients = [amplitude * (0.7 + layer[0]) for amplitude, layer in zip(amplitudes, noise, strict=True)]
    displacements = [-0.1 * slopes + 0.05 * layer[1] for slopes, layer in zip(gradients, noise, strict=True)]
    starts = [offset + layer[2, :1] for layer in noise]
    parameters = [start + moves.cumsum(0) - moves for start, moves in zip(starts, displacements, strict=True)]
    return WindowSteps(parameters, displacements, gradients)


def empty_window(
    watched: Sequence[int] = WATCHED, *, steps: int = STEPS, dtype: torch.dtype = torch.float64, sampled: bool = True
) -> StreamingWindow:
    """A window before its first step."""
    chunk_layers = torch.arange(len(watched)).repeat_interleave(torch.tensor([-(-n // CHUNK) for n in watched]))
    device = torch.device("cpu")
    return StreamingWindow(chunk_layers, len(watched), length=steps, device=device, dtype=dtype, sampled=sampled)


def watch(
    steps: WindowSteps,
    sizes: Sequence[int],
    *,
    momentum: float = 0.0,
    nesterov: bool = False,
    missing: Sequence[int] = (),
    unknown: Sequence[int] = (),
) -> WindowStatistics:
    """Statistics of steps that were watched one by one.

    The layers ``missing`` had no gradient in any of them, and of the layers ``unknown`` the mobility is not known.
    """
    window = empty_window(steps.watched, steps=len(steps.gradients[0]))
    mobility = torch.cat([pad(layer, (0, -len(layer) % CHUNK), value=1.0) for layer in steps.mobility])
    for layer, (start, stop) in enumerate(steps.stretches()):
        if layer in unknown:
            mobility[start:stop] = torch.nan
    for rows in steps.rest(*missing).rows():
        window.update(rows, momentum, momentum_response(momentum, nesterov=nesterov).factor, mobility)
    present = torch.tensor([layer not in missing for layer in range(len(sizes))]).double()
    decays = torch.full_like(present, momentum)
    return window.layer_sums().statistics(
        present * torch.tensor(steps.watched), present * torch.tensor(sizes), decays, batch_size=BATCH_SIZE
    )


def assert_same_estimate(actual: Estimate, expected: Estimate) -> None:
    """Values, errors and degrees of freedom agree, NaN with NaN."""
    for value, reference in zip(actual, expected, strict=True):
        assert_close(value, reference, rtol=1e-10, atol=0.0, equal_nan=True)


def added(sums: Iterable[Any]) -> Any:
    """Sums of several windows."""
    each = list(sums)
    return type(each[0])(*(sum(column) for column in zip(*each, strict=True)))


class MetricCase(NamedTuple):
    """A metric, the functions it is the twin of, the arguments of both, and the options it is built with."""

    name: str
    metric: type[LayerMetric]
    function: Callable[..., Tensor]  # of arrays
    sums: Callable[[WindowStatistics], Any]  # of a window's statistics
    arguments: tuple[str, ...]
    options: dict[str, Any]

    def build(self, sizes: Sequence[int] | None = SIZES) -> Any:
        """A fresh metric."""
        return self.metric(sizes, **self.options)

    def feed(self, steps: WindowSteps) -> dict[str, Any]:
        """Arguments of update()."""
        known = {**steps._asdict(), "mobility": steps.mobility, "batch_size": BATCH_SIZE}
        return {name: known[name] for name in self.arguments}

    def feed_layer(self, steps: WindowSteps, layer: int) -> dict[str, Any]:
        """Arguments of update() for one layer, without lists."""
        return {name: given[layer] if isinstance(given, list) else given for name, given in self.feed(steps).items()}

    def value(self, steps: WindowSteps, layer: int) -> Tensor:
        """The function's value of one layer."""
        return self.function(**self.feed_layer(steps, layer), **self.options)

    def watch(
        self, steps: WindowSteps, sizes: Sequence[int] = SIZES, *, missing: Sequence[int] = ()
    ) -> WindowStatistics:
        """Statistics of the same steps, watched one by one."""
        return watch(steps, sizes, missing=missing, **self.options)

    def estimates(self, *windows: WindowStatistics) -> LayerEstimates:
        """The functions' estimates of windows that were watched step by step."""
        estimates: LayerEstimates = added(map(self.sums, windows)).estimate()
        return estimates


_MOVED = ("displacements", "gradients")
_KINETIC = (metrics.KineticTemperature, functional.kinetic_temperature, kinetic_temperature_sums, _MOVED)
_EINSTEIN = (
    metrics.EinsteinTemperature,
    functional.einstein_temperature,
    einstein_temperature_sums,
    ("displacements", "mobility"),
)
_DRIFT = (metrics.DriftShare, functional.drift_share, drift_sums, ("parameters", "displacements"))
CASES = (
    MetricCase("kinetic", *_KINETIC, {}),
    MetricCase("kinetic-momentum", *_KINETIC, {"momentum": 0.9}),
    MetricCase("kinetic-nesterov", *_KINETIC, {"momentum": 0.9, "nesterov": True}),
    MetricCase(
        "virial",
        metrics.VirialTemperature,
        functional.virial_temperature,
        virial_temperature_sums,
        ("parameters", "gradients"),
        {},
    ),
    MetricCase("einstein", *_EINSTEIN, {}),
    MetricCase("einstein-momentum", *_EINSTEIN, {"momentum": 0.9}),
    MetricCase("drift", *_DRIFT, {}),
    MetricCase("drift-momentum", *_DRIFT, {"momentum": 0.9}),
    MetricCase(
        "equilibrium-ratio",
        metrics.EquilibriumRatio,
        functional.equilibrium_ratio,
        equilibrium_ratio_sums,
        ("parameters", "displacements"),
        {},
    ),
    MetricCase(
        "noise-scale",
        metrics.GradientNoiseScale,
        functional.gradient_noise_scale,
        noise_scale_sums,
        ("gradients", "batch_size"),
        {},
    ),
    MetricCase("signal-share", metrics.SignalShare, functional.signal_share, gradient_power_sums, ("gradients",), {}),
    MetricCase("heat", metrics.LayerHeat, functional.heat, heat_sums, _MOVED, {}),
)
