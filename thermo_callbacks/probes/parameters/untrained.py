"""Parameters of a model that are not trained, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from torch import nn
from torch.optim import Optimizer

from thermo_callbacks.catalog.untrained import (
    FORGOTTEN,
    FROZEN,
    NO_GRADIENT,
    RATE_ZERO,
    STANDSTILL,
    ZERO_GRADIENT,
)
from thermo_callbacks.functional.window.statistics import WindowStatistics
from thermo_callbacks.probes.layers import layer_parameters
from thermo_callbacks.probes.parameters.stated import parameters_of
from thermo_callbacks.probes.real_numbers import real_count


class Untrained(NamedTuple):
    """Parameters of one layer that are not trained, for one reason."""

    layer: str
    parameters: tuple[str, ...]  # their own names; empty: all of the layer
    size: int  # weights that they hold
    reason: str

    @property
    def label(self) -> str:
        """The layer, with the names of its parameters where they are not all."""
        return f"{self.layer} ({', '.join(self.parameters)})" if self.parameters else self.layer


class Training(NamedTuple):
    """What of a model is trained."""

    size: int  # all weights of the layers
    untrained: list[Untrained]

    @property
    def untrained_share(self) -> float:
        """Share of the weights that are not trained; NaN of none."""
        return sum(each.size for each in self.untrained) / self.size if self.size else float("nan")


def find_untrained(
    model: nn.Module, optimizers: Iterable[Optimizer], patterns: Sequence[str] | None, seen: Mapping[int, str]
) -> Training:
    """Find the parameters that are not trained, layer by layer.

    Args:
        model: The model.
        optimizers: All that train it.
        patterns: Glob patterns of the layers to look at; None for all.
        seen: Reason of each parameter, by identity, that could be trained and was not.

    Returns:
        Those that require no gradient, those that no optimizer holds, and those that were seen.

    Example:
        >>> from torch import nn, optim
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
        >>> _ = model[0].requires_grad_(False)
        >>> find_untrained(model, [optim.SGD([model[1].weight], lr=0.1)], None, {}).untrained
        [Untrained(layer='0', parameters=(), size=9, reason='frozen'),
         Untrained(layer='1', parameters=('bias',), size=1, reason='in no optimizer')]
    """
    held = {id(p) for optimizer in optimizers for p in parameters_of(optimizer)}
    own_names = {id(p): name.rpartition(".")[2] for name, p in model.named_parameters()}
    size, found = 0, []
    for layer, owned in layer_parameters(model, patterns, frozen=True).items():
        size += sum(real_count(parameter) for parameter in owned)
        by_reason: dict[str, list[nn.Parameter]] = {}
        for parameter in owned:
            if reason := _reason(parameter, held, seen):
                by_reason.setdefault(reason, []).append(parameter)
        for reason, those in by_reason.items():
            names = () if len(those) == len(owned) else tuple(own_names[id(parameter)] for parameter in those)
            found.append(Untrained(layer, names, sum(real_count(parameter) for parameter in those), reason))
    return Training(size, found)


def _reason(parameter: nn.Parameter, held: set[int], seen: Mapping[int, str]) -> str:
    """Why a parameter is not trained; empty if it is, as far as is known."""
    if not parameter.requires_grad:
        return FROZEN
    return seen.get(id(parameter), "") if id(parameter) in held else FORGOTTEN


def seen_untrained(
    layers: Mapping[str, Sequence[nn.Parameter]], window: WindowStatistics, *, idle: set[int], resting: set[int]
) -> dict[int, str]:
    """Why parameters were not trained in a window that watched their layers, by identity."""
    # idle: those without a gradient in any step; resting: those with a learning rate of zero in all
    still = (window.displacement_square == 0).all(0).tolist()
    flat = ((window.mean_gradient_square == 0) & (window.gradient_square == 0).all(0)).tolist()
    reasons: dict[int, str] = {}
    for owned, stands, is_flat in zip(layers.values(), still, flat, strict=True):
        unmoved = (ZERO_GRADIENT if is_flat else STANDSTILL) if window.steps and stands else ""
        for parameter in map(id, owned):
            reason = NO_GRADIENT if parameter in idle else RATE_ZERO if parameter in resting else unmoved
            if reason:
                reasons[parameter] = reason
    return reasons
