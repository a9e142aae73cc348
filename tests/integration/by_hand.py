"""Training in plain torch, written down step by step, and what the functions say about the steps written down."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from thermo_callbacks import functional

Layers = Mapping[str, Sequence[nn.Parameter]]
Batches = Iterable[Any]
Loss = Callable[[Any], Tensor]


@dataclass
class Steps:
    """Parameters before each step, gradient of the mean loss, and displacement, of the layers of one optimizer."""

    layers: Layers
    momentum: float = 0.0
    nesterov: bool = False
    sign: float = 1.0  # -1 where the optimizer climbs
    parameters: list[dict[str, Tensor]] = field(default_factory=list)
    gradients: list[dict[str, Tensor]] = field(default_factory=list)
    displacements: list[dict[str, Tensor]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def _flat(self, value: Callable[[nn.Parameter], Tensor | None]) -> dict[str, Tensor]:
        flat = {}
        for name, owned in self.layers.items():
            values = [(parameter, value(parameter)) for parameter in owned]
            dense = [torch.zeros_like(p) if v is None else v.to_dense() for p, v in values]
            flat[name] = torch.cat([v.detach().flatten() for v in dense]).double()
        return flat

    def before(self, loss: Tensor) -> None:
        """Take down parameters, and gradients of ``loss``."""
        owned = [parameter for layer in self.layers.values() for parameter in layer]
        slopes = torch.autograd.grad(loss, owned, retain_graph=True, allow_unused=True)
        self.before_with(loss, dict(zip(owned, slopes, strict=True)))

    def before_with(self, loss: Tensor, slopes: Mapping[nn.Parameter, Tensor | None]) -> None:
        """Take down parameters and gradients."""
        self.parameters.append(self._flat(lambda parameter: parameter))
        gradients = self._flat(slopes.__getitem__)
        self.gradients.append({name: self.sign * gradient for name, gradient in gradients.items()})
        self.losses.append(loss.item())

    def after(self) -> None:
        """Take down the displacement."""
        now, before = self._flat(lambda parameter: parameter), self.parameters[-1]
        self.displacements.append({name: now[name] - before[name] for name in now})

    def window(self, start: int, stop: int, names: Sequence[str] | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """q, D and g of some steps and layers, each ``[W, n]``."""
        names = list(self.layers) if names is None else names
        columns = (self.parameters, self.displacements, self.gradients)
        q, d, g = (
            torch.stack([torch.cat([row[name] for name in names]) for row in rows[start:stop]]) for rows in columns
        )
        return q, d, g

    def temperature(self, start: int, stop: int, names: Sequence[str] | None = None) -> Tensor:
        """Kinetic temperature of some steps and layers."""
        _, d, g = self.window(start, stop, names)
        return functional.kinetic_temperature(d, g, self.momentum, nesterov=self.nesterov)

    def heat(self, start: int, stop: int, names: Sequence[str] | None = None) -> float:
        """Heat of some steps and layers."""
        _, d, g = self.window(start, stop, names)
        return functional.heat(d, g).item()

    def record(self, start: int, stop: int, batch_size: int) -> dict[str, float]:
        """What a window of these steps is to be logged as; ``start`` 0 is the first watched step of the run."""
        q, d, g = self.window(start, stop)
        values: dict[str, Any] = {
            "thermo/temperature": self.temperature(start, stop),
            "thermo/virial_temperature": functional.virial_temperature(q, g),
            "thermo/drift_share": functional.drift_share(q, d, self.momentum),
            "thermo/drift_p_value": functional.drift_p_value(q, d, self.momentum),
            "thermo/heat": self.heat(0, stop),
            "thermo/internal_energy": self.sign * math.fsum(self.losses[start:stop]) / (stop - start),
        }
        for name in self.layers:
            q, d, g = self.window(start, stop, [name])
            values[f"thermo_temperature/{name}"] = self.temperature(start, stop, [name])
            values[f"thermo_drift_share/{name}"] = functional.drift_share(q, d, self.momentum)
            _, d, g = self.window(0, stop, [name])
            values[f"thermo_heat/{name}"] = functional.heat(d, g)
        return {tag: float(value) for tag, value in values.items()}


def layers_of(module: Any, *indices: int) -> dict[str, list[nn.Parameter]]:
    """Layers of a module whose ``net`` is a sequence; without indices those of a perceptron."""
    return {f"net.{index}": list(module.net[index].parameters()) for index in indices or (0, 2)}


def grouped(batches: Sequence[Any], accumulate: int, epochs: int) -> list[list[Any]]:
    """Batches of each step; an epoch's last step may have fewer."""
    starts = range(0, len(batches), accumulate)
    return [list(batches[start : start + accumulate]) for start in starts] * epochs


def train(
    steps: Steps,
    optimizer: Optimizer,
    loss: Loss,
    groups: Sequence[Sequence[Any]],
    *,
    accumulate: int = 1,
    clip: float = 0.0,
) -> Steps:
    """Train as Lightning documents it: each loss divided by the batches planned for a step, then clip, then step."""
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for group in groups:
        optimizer.zero_grad()
        steps.before(torch.stack([loss(batch) for batch in group]).mean())
        for batch in group:
            (loss(batch) / accumulate).backward()
        if clip:
            nn.utils.clip_grad_norm_(trained, clip)
        optimizer.step()
        steps.after()
    return steps


def batch_by_batch(module: Any, layers: Layers, batches: Batches, momentum: float = 0.0) -> Steps:
    """Train a module with its own optimizer, one batch a step."""
    steps = Steps(layers, momentum)
    return train(steps, module.configure_optimizers(), module.loss, [[batch] for batch in batches])


def train_with_closure(steps: Steps, optimizer: LBFGS, loss: Loss, batches: Batches) -> Steps:
    """Train with an optimizer that evaluates the loss several times a step.

    The first evaluation's gradient is written down, and the last one's loss, which is the one that Lightning hands out.
    """
    for batch in batches:
        steps.before(loss(batch))

        def closure(batch: Any = batch) -> Tensor:
            optimizer.zero_grad()
            value = loss(batch)
            value.backward()
            steps.losses[-1] = value.item()
            return value

        optimizer.step(closure)
        steps.after()
    return steps


def assert_logged(actual: Mapping[str, float], expected: Mapping[str, float], relative: float = 1e-9) -> None:
    """Every expected value was logged, up to rounding."""
    for tag, value in expected.items():
        both_missing = math.isnan(actual[tag]) and math.isnan(value)
        # an excess of nothing is what rounding leaves
        floor = 1e-9 if "excess" in tag else 0.0
        near = math.isclose(actual[tag], value, rel_tol=relative, abs_tol=floor)
        assert both_missing or near, (tag, actual[tag], value)
