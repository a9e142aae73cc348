"""Transition temperature of a training run, from its initial state to now, by the entropy of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from thermo_callbacks.functional import transition_temperature
from thermo_callbacks.probes.parameters.weights import (
    Choices,
    EntropyChange,
    Layers,
    TensorEntropy,
    entropy_change,
    weight_entropies,
)

EARLY = 16
"""Losses that the error of the first one is read from: their scatter changes as training goes on."""
RESOLVED = 2.0
"""Standard errors that an entropy must have changed by for a temperature to say anything."""

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
    those of the process's own batches, where parameters are sharded the mean over all.

    Args:
        sample: Elements looked at in each parameter tensor; None for all.
        seed: Seed of their choice.
    """

    def __init__(self, *, sample: int | None = 4096, seed: int = 0) -> None:
        self._sample, self._seed = sample, seed
        self._choices: Choices = {}
        self._energy: tuple[float, float] | None = None  # initial loss and the variance of a batch's loss
        self._start: dict[str, _Start] = {}
        self._left_out: list[str] = []

    @property
    def left_out(self) -> list[str]:
        """Layer and shape of the tensors without an entropy, at the start or when last looked at."""
        return list(self._left_out)

    def start(self, layers: Layers, heat: Mapping[str, float] | None = None) -> None:
        """Record the initial state of layers that are not known yet.

        Args:
            layers: Layer name to its parameters.
            heat: Cumulative heat of each layer so far; None: none.
        """
        unknown = {
            name: parameters
            for name, parameters in layers.items()
            if name not in self._start
            or [tensor.size for tensor in self._start[name].tensors] != [p.numel() for p in parameters]
        }
        for name, tensors in self._measure(unknown).items():
            self._start[name] = _Start(tensors, (heat or {}).get(name, 0.0))

    def close_window(
        self, layers: Layers, *, losses: Tensor | None, heat: Mapping[str, float], warn_once: WarnOnce
    ) -> dict[str, float]:
        """Temperatures from the initial state to the end of a window.

        Args:
            layers: Layer name to its parameters; layers that are new start here.
            losses: Loss of each step of the window, NaN where it is not known, ``[W]``; the first window's first is
                that of the initial state. None where there is no one loss that all optimizers lower.
            heat: Cumulative heat :math:`Q_l` of each layer.
            warn_once: Called with a topic and a sentence about what has no value.

        Returns:
            Tag to value: ``thermo/transition_temperature`` and its ``_stderr``, unless ``losses`` is None, and
            ``thermo_transition_temperature/<layer>`` for the layers that had an entropy at the start.
        """
        self.start(layers, heat)
        now = self._measure(layers)
        changes = {name: entropy_change(self._start[name].tensors, tensors) for name, tensors in now.items()}
        self._note_left_out(layers, now)
        record = {} if losses is None else self._global(losses, changes.values(), warn_once)
        missing = []
        for name, change in changes.items():
            if not any(math.isfinite(tensor.entropy) for tensor in self._start[name].tensors):
                continue  # nothing in it will ever have a temperature
            released = self._start[name].heat - heat[name] if name in heat else math.nan
            value = _temperature(released, change)
            record[f"thermo_transition_temperature/{name}"] = value
            if math.isnan(value):
                missing.append(name)
        if missing:
            warn_once(
                "transition_temperature of layers",
                f"no transition temperature (NaN) for {', '.join(missing[:3])}: the entropy of the weights has not "
                "changed beyond its error, has become infinite (equal weights), or the heat is not known.",
            )
        return record

    def _measure(self, layers: Layers) -> dict[str, list[TensorEntropy]]:
        return weight_entropies(layers, sample=self._sample, seed=self._seed, choices=self._choices)

    def _note_left_out(self, layers: Layers, now: Mapping[str, Sequence[TensorEntropy]]) -> None:
        self._left_out = [
            f"{name} {list(parameter.shape)}"
            for name, parameters in layers.items()
            for parameter, first, second in zip(parameters, self._start[name].tensors, now[name], strict=True)
            if not (math.isfinite(first.entropy) and math.isfinite(second.entropy))
        ]

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
        released = energy - float(finite.mean())  # the mean of nothing is NaN
        value = _temperature(released, change)
        stderr = math.nan
        if math.isnan(value):
            warn_once(
                "transition_temperature",
                "no transition temperature (NaN) in a window: no loss is known, no layer's weights have an entropy, or "
                "their entropy has not changed beyond its error.",
            )
        else:
            variance += _scatter(finite) / finite.numel() + value**2 * change.variance
            stderr = math.sqrt(variance) / abs(change.value)
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
        """Go on from the initial state of the run that wrote the checkpoint.

        Args:
            state: What :meth:`state_dict` returned.
            device: Device of the model.

        Returns:
            False if it was taken with another sample of the coordinates, and was left alone.
        """
        if (state["sample"], state["seed"]) != (self._sample, self._seed):
            return False
        self._energy = None if state["energy"] is None else tuple(state["energy"])
        self._start = {}
        for name, layer in state["layers"].items():
            kept = [None if part is None else part.to(device) for part in layer["surprisals"]]
            parts = zip(layer["sizes"], layer["entropies"], kept, strict=True)
            self._start[name] = _Start([TensorEntropy(*part) for part in parts], layer["heat"])
        return True


def _temperature(released: float, change: EntropyChange) -> float:
    """Energy over entropy, NaN where the change of entropy does not stand out of its error."""
    if change.variance and abs(change.value) <= RESOLVED * math.sqrt(change.variance):
        return math.nan
    values = torch.tensor([released, 0.0, change.value, 0.0], dtype=torch.float64)
    return float(transition_temperature(*values))


def _scatter(losses: Tensor) -> float:
    """Variance of single losses about a line, from their second differences; NaN for fewer than three."""
    return float(losses.diff(n=2).square().mean()) / 6.0 if losses.numel() > 2 else math.nan
