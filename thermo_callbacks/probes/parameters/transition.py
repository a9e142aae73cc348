"""Transition temperature of a training run, from its initial state to now, by the entropy of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional.transition import StateMoments, resolved_temperature, temperature_estimate
from thermo_callbacks.probes.parameters.weights import (
    Choices,
    EntropyChange,
    Layers,
    TensorEntropy,
    entropy_change,
    weight_entropies,
)
from thermo_callbacks.probes.real_numbers import real_count
from thermo_callbacks.probes.together import Together

EARLY = 16
"""Losses that the error of the first one is read from: their scatter changes as training goes on."""

WarnOnce = Callable[[str, str], None]


class _Start(NamedTuple):
    """A layer when it was first seen."""

    tensors: list[TensorEntropy]
    heat: float


class TypeOneTransition:
    r"""Transition temperature of a training run, initialised to now, by the entropy of the weights.

    .. math:: T = \frac{E_0 - E_1}{\sum_l (S_l(0) - S_l(1))}, \qquad T_l = \frac{-Q_l}{S_l(0) - S_l(1)}

    with :math:`E_0` the loss of the first step, :math:`E_1` the mean loss of the window that has ended, :math:`Q_l` the
    cumulative heat of layer l, and :math:`S_l` the entropy of its weights (:func:`weight_entropies`). Unit: that of the
    loss. Negative where the loss has fallen while the weights spread out, as they do when they grow.

    Error: :math:`E_0` is the loss of a single batch, since later ones belong to other states; its variance is read off
    the second differences of the first losses, which a steady fall leaves alone. To it come the scatter of the window's
    losses and the sampling of coordinates; the heat's error is not known here. With several processes the losses are
    the mean over all.

    Attributes:
        together: The block in which all processes are, where parameters are sharded and it is asked to measure.
    """

    def __init__(self, *, sample: int | None = 4096, seed: int = 0) -> None:
        self._sample, self._seed = sample, seed
        self._choices: Choices = {}
        self._energy: tuple[float, float] | None = None  # initial loss and the variance of a batch's loss
        self._start: dict[str, _Start] = {}
        self.together: Together | None = None

    def start(self, layers: Layers, heat: Mapping[str, float] | None = None) -> None:
        """Record the initial state of layers that are not known yet, with their cumulative heat so far."""
        unknown = {
            name: parameters
            for name, parameters in layers.items()
            if name not in self._start
            or [tensor.size for tensor in self._start[name].tensors] != [real_count(p) for p in parameters]
        }
        for name, tensors in self._measure(unknown).items():
            self._start[name] = _Start(tensors, (heat or {}).get(name, 0.0))

    def close_window(
        self,
        layers: Layers,
        *,
        losses: Tensor | None,
        heat: Mapping[str, float],
        warn_once: WarnOnce,
        by_layer: bool = True,
    ) -> dict[str, float]:
        """Temperatures by tag, from the initial state to the end of a window; new layers start here."""
        # heat is cumulative; losses are those of each step, NaN where not known, the first window's first that of the
        # initial state; None where there is no one loss that all optimizers lower
        self.start(layers, heat)
        now = self._measure(layers)
        changes = {name: entropy_change(self._start[name].tensors, tensors) for name, tensors in now.items()}
        record = {} if losses is None else self._global(losses, changes.values(), warn_once)
        if not by_layer:
            return record
        # a layer without an entropy at the start will never have a temperature
        able = [name for name in changes if any(math.isfinite(one.entropy) for one in self._start[name].tensors)]
        released = [self._start[name].heat - heat[name] if name in heat else math.nan for name in able]
        values = resolved_temperature(
            _column(released),
            _column([changes[name].value for name in able]),
            _column([changes[name].variance for name in able]),
        ).tolist()
        missing = [name for name, value in zip(able, values, strict=True) if math.isnan(value)]
        if missing:
            warn_once(
                "transition_temperature of layers",
                f"no transition temperature (NaN) for {', '.join(missing[:3])}: the entropy of the weights has not "
                "changed beyond its error, has become infinite (equal weights), or the heat is not known.",
            )
        named = zip(able, values, strict=True)
        return record | {f"thermo_transition_temperature/{name}": value for name, value in named}

    def _measure(self, layers: Layers) -> dict[str, list[TensorEntropy]]:
        return weight_entropies(
            layers, sample=self._sample, seed=self._seed, choices=self._choices, together=self.together
        )

    def _global(self, losses: Tensor, changes: Iterable[EntropyChange], warn_once: WarnOnce) -> dict[str, float]:
        finite = losses.detach().double().cpu()
        finite = finite[finite.isfinite()]
        if self._energy is None and finite.numel():
            self._energy = (float(finite[0]), _scatter(finite[:EARLY]))
        known = [change for change in changes if not math.isnan(change.value)]
        change = EntropyChange(
            math.fsum(part.value for part in known) if known else math.nan, math.fsum(part.variance for part in known)
        )
        energy, variance = (math.nan, math.nan) if self._energy is None else self._energy
        count = finite.new_tensor(finite.numel())
        window = _scatter(finite) / max(1, finite.numel())
        estimate = temperature_estimate(
            StateMoments(_column([energy, change.value]), _column([variance, change.variance]).diag(), count),
            StateMoments(_column([float(finite.mean()), 0.0]), _column([window, 0.0]).diag(), count),
        )
        if estimate.value.isnan():
            warn_once(
                "transition_temperature",
                "no transition temperature (NaN) in a window: no loss is known, no layer's weights have an entropy, or "
                "their entropy has not changed beyond its error.",
            )
        value, stderr = float(estimate.value), float(estimate.stderr)
        return {"thermo/transition_temperature": value, "thermo/transition_temperature_stderr": stderr}

    def state_dict(self) -> dict[str, Any]:
        """The initial state in CPU tensors and plain values, for a checkpoint."""
        layers = {
            name: {
                "heat": start.heat,
                "sizes": [tensor.size for tensor in start.tensors],
                "entropies": [tensor.entropy for tensor in start.tensors],
                "surprisals": [
                    None if tensor.surprisals is None else tensor.surprisals.cpu().clone() for tensor in start.tensors
                ],
            }
            for name, start in self._start.items()
        }
        return {"energy": self._energy, "sample": self._sample, "seed": self._seed, "layers": layers}

    def load_state_dict(self, state: dict[str, Any], device: torch.device | str = "cpu") -> bool:
        """Go on from a saved initial state; False, and nothing done, if its sample was another one."""
        if (state["sample"], state["seed"]) != (self._sample, self._seed):
            return False
        self._energy = None if state["energy"] is None else tuple(state["energy"])
        self._start = {}
        for name, layer in state["layers"].items():
            kept = [None if part is None else part.to(device) for part in layer["surprisals"]]
            parts = zip(layer["sizes"], layer["entropies"], kept, strict=True)
            self._start[name] = _Start([TensorEntropy(*part) for part in parts], layer["heat"])
        return True


def _column(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _scatter(losses: Tensor) -> float:
    """Variance of single losses about a line, from their second differences; NaN for fewer than three."""
    return float(losses.diff(n=2).square().mean()) / 6.0 if losses.numel() > 2 else math.nan
