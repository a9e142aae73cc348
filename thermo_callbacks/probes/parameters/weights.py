"""Entropy of the weights of a live model, by layer, and its decrease since an earlier time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from thermo_callbacks.functional.spacings import entropy_of, surprisals
from thermo_callbacks.probes.parameters.coordinates import choose_coordinates
from thermo_callbacks.probes.real_numbers import as_real, real_count
from thermo_callbacks.probes.sharding import is_distributed, local_part, part_of, sum_over_processes
from thermo_callbacks.probes.together import Together

FEWEST = 5  # values that show a density

STACKED = 65_536  # elements up to which tensors of one size are sorted together: larger ones would take memory

Layers = Mapping[str, Sequence[nn.Parameter]]
Choices = dict[tuple[str, int, torch.device], Tensor | None]
_Key = tuple[str, int]  # layer and place in it


class TensorEntropy(NamedTuple):
    """Entropy of one parameter tensor."""

    size: int
    entropy: float  # of one element, in nats; minus infinity with a point mass, NaN for fewer than 5 elements
    surprisals: Tensor | None  # -ln of the density at the sampled elements, [n]; None where all are read


class EntropyChange(NamedTuple):
    """Decrease of a layer's entropy."""

    value: float  # then minus now, in nats; NaN if no tensor of the layer has an entropy at both times
    variance: float  # square of its standard error, from sampling coordinates


@torch.no_grad()
def weight_entropies(
    layers: Layers,
    *,
    sample: int | None = 4096,
    seed: int = 0,
    choices: Choices | None = None,
    together: Together | None = None,
) -> dict[str, list[TensorEntropy]]:
    r"""Entropy of each parameter tensor of each layer.

    The entropy of a layer is :math:`S_l = \sum_k N_k h(q_k)` over its tensors k, with h the entropy of the distribution
    of a tensor's elements (:func:`~thermo_callbacks.functional.vasicek_entropy`): weights and biases are variables of
    different kinds. A tensor that is constant or has a point mass (biases that start at zero, the ones of a
    normalisation layer) has none.

    Returns:
        Layer name to the entropies of its tensors, in their order.

    Raises:
        ValueError: If ``sample`` is below 5.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> weight = nn.Parameter(torch.linspace(0, 2, 10_001))  # uniform from 0 to 2: h = ln 2, but for the ends
        >>> entropies = weight_entropies({"layer": [weight, nn.Parameter(torch.zeros(8))]})["layer"]
        >>> print(f"{entropies[0].entropy:.1f} {entropies[1].entropy}")
        0.7 -inf
    """
    if sample is not None and sample < FEWEST:
        raise ValueError(f"sample must be at least {FEWEST} elements to show a density, or None for all, got {sample}")
    kept: Choices = {} if choices is None else choices  # for later calls: drawing one takes as long as the rest
    sampled = {
        (name, index): _sampled(parameter, f"{name}/{index}", sample, seed, kept)
        for name, parameters in layers.items()
        for index, parameter in enumerate(parameters)
    }
    sampled |= _brought_together(
        {place: sampled[place] for place in sampled if is_distributed(layers[place[0]][place[1]])}, together
    )
    entropies, contributions = _measure(sampled)
    return {
        name: [
            TensorEntropy(
                real_count(parameter),
                entropies.get((name, index), math.nan),
                contributions[name, index] if sampled[name, index].numel() < real_count(parameter) else None,
            )
            for index, parameter in enumerate(parameters)
        ]
        for name, parameters in layers.items()
    }


def _sampled(parameter: nn.Parameter, label: str, sample: int | None, seed: int, kept: Choices) -> Tensor:
    """Sampled elements, flat; zeros for those that another process holds."""
    place = (label, real_count(parameter), parameter.device)
    if place not in kept:
        choice = choose_coordinates(real_count(parameter), sample, seed=seed, layer=label)
        kept[place] = None if choice is None else torch.from_numpy(choice).to(parameter.device)
    index, values = kept[place], as_real(local_part(parameter.detach()))
    if is_distributed(parameter):
        part = part_of(parameter, label)
        chosen = np.arange(real_count(parameter)) if index is None else index.cpu().numpy()
        where, here = (torch.from_numpy(found).to(values.device) for found in part.find(chosen))
        elements = values.new_zeros(len(chosen))
        return elements.index_copy_(0, where, torch.take(values, here)) if part.counted else elements
    return values.reshape(-1) if index is None else torch.take(values, index)


def _brought_together(elements: Mapping[_Key, Tensor], together: Together | None) -> dict[_Key, Tensor]:
    """Elements of sharded parameters, from all processes, each of which must call this."""
    if not elements:
        return {}
    packed = torch.cat([values.double() for values in elements.values()])
    if together is not None:
        together.point()
    pieces = torch.split(sum_over_processes(packed, packed.device), [values.numel() for values in elements.values()])
    return {place: piece.to(values) for (place, values), piece in zip(elements.items(), pieces, strict=True)}


def _measure(sampled: Mapping[_Key, Tensor]) -> tuple[dict[_Key, float], dict[_Key, Tensor]]:
    """Entropies and surprisals of the tensors that show a density, with few calls and one wait for each device."""
    groups: dict[Any, list[_Key]] = {}
    for key, values in sampled.items():
        if values.numel() >= FEWEST:
            together = None if values.numel() <= STACKED else key
            groups.setdefault((values.numel(), values.dtype, values.device, together), []).append(key)
    contributions: dict[_Key, Tensor] = {}
    waiting: dict[torch.device, tuple[list[_Key], list[Tensor]]] = {}
    for (_, _, device, _), keys in groups.items():
        found = surprisals(torch.stack([sampled[key] for key in keys]))
        contributions |= zip(keys, found, strict=True)
        names, columns = waiting.setdefault(device, ([], []))
        names.extend(keys)
        columns.append(entropy_of(found).double())
    entropies: dict[_Key, float] = {}
    for names, columns in waiting.values():
        entropies |= zip(names, torch.cat(columns).tolist(), strict=True)
    return entropies, contributions


def entropy_change(then: Sequence[TensorEntropy], now: Sequence[TensorEntropy]) -> EntropyChange:
    """Decrease of a layer's entropy, over those of its tensors that have an entropy at both times."""
    # the same elements are read both times, and the error is that of their changes: far smaller than that of either
    # entropy as long as the weights move little
    value, variance, counted = 0.0, 0.0, False
    for first, second in zip(then, now, strict=True):
        if not (math.isfinite(first.entropy) and math.isfinite(second.entropy)):
            continue
        counted = True
        value += first.size * (first.entropy - second.entropy)
        if first.surprisals is not None and second.surprisals is not None:
            moved = (first.surprisals - second.surprisals).double()
            watched = moved.numel()
            variance += first.size**2 * (1.0 - watched / first.size) * float(moved.var()) / watched
    return EntropyChange(value if counted else math.nan, variance)
