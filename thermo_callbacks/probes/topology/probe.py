"""Read the widths of a live network's chain of linear layers, without a forward pass."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeGuard

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from thermo_callbacks.probes.layers import canonical_name
from thermo_callbacks.probes.topology.linear_order import linear_order

_WEIGHTED = (
    *(nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.PReLU),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
)
"""Modules whose parameters act on single neurons: they connect none."""


@dataclass(frozen=True)
class TopologyReading:
    """Topology of a network, or the reason why it has none."""

    widths: tuple[int, ...] = ()  # from the input to the output; empty if there is no chain, or its order is open
    reason: str = ""  # why there is no chain of linear layers, as a clause; empty if there is one, or may be
    layers: Mapping[str, nn.Linear] = field(default_factory=dict)  # linear layers by name, in order of definition

    @property
    def open(self) -> bool:
        """Whether the order of the layers is only known from a forward pass, see :func:`read_order`."""
        return not self.widths and not self.reason


def read_topology(model: nn.Module) -> TopologyReading:
    r"""Read the widths of a model that is a chain of fully connected layers.

    A topology :math:`(n_0; n_1, \dots, n_k; n_{k+1})` counts neurons, and a connection for each pair of neurons of
    neighbouring layers. That is what ``Linear`` layers are, in a chain from the input to the output; normalisation,
    activations, dropout and reshaping in between connect no neurons. Convolutions are no such thing: their weights are
    shared between places, so neither their channels are neurons nor their parameters connections. Neither are
    embeddings, attention, recurrent layers, pruned weights or parameters that a module owns by itself: a model that
    holds any of these has no topology here.

    Nothing in the model is called or changed. In a ``Sequential``, nested or not, the order of the layers is that of
    the forward pass. In any other module it is open: :func:`read_order` reads it off a loss.

    Returns:
        The widths, or why there are none, or neither if the order is open.

    Example:
        >>> from torch import nn
        >>> body = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 32), nn.Tanh())
        >>> read_topology(nn.Sequential(nn.Flatten(), body, nn.Linear(32, 10))).widths
        (784, 64, 32, 10)
        >>> read_topology(nn.Sequential(nn.Conv2d(1, 8, 3), nn.Flatten(), nn.Linear(8, 2))).reason
        'it has weights in a Conv2d (0), which is no fully connected layer'
    """
    layers: dict[str, nn.Linear] = {}
    for path, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        if not own or isinstance(module, _WEIGHTED):
            continue
        name = canonical_name(path)
        if not isinstance(module, nn.Linear):
            return TopologyReading(
                reason=f"it has weights in a {type(module).__name__} ({name}), which is no fully connected layer"
            )
        if not own.keys() <= {"weight", "bias"} or "weight" not in own:
            return TopologyReading(reason=f"the weights of {name} are pruned or computed from others")
        if is_lazy(module.weight):
            return TopologyReading(reason=f"{name} is not initialised yet")
        layers[name] = module
    if not layers:
        return TopologyReading(reason="it has no fully connected layer")
    ordered = _sequence(model)
    if ordered is None:
        return TopologyReading(layers=layers)
    return _chained({name: layer for name, layer in layers.items() if layer in ordered}, layers)


def read_order(reading: TopologyReading, loss: Tensor) -> TopologyReading:
    """Order the layers of a network by the autograd graph of a loss, where their order is open.

    The layers are a chain if each is applied once, the first to data, each other to what came from the one before and
    from nothing else, and the loss to what came from the last. A shortcut, several heads, or layers side by side are
    none. The loss's graph is visited before its backward pass: nothing is computed. Where it hides its operations
    (compiled modules, checkpoints, layers that are frozen), there is no topology.

    Returns:
        The topology, or the reason why there is none.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> model = nn.ModuleDict({"out": nn.Linear(3, 1), "inner": nn.Linear(2, 3)})
        >>> model["middle"] = nn.Linear(3, 3)
        >>> x = torch.ones(4, 2)
        >>> plain = model["out"](model["middle"](model["inner"](x).relu()).relu())
        >>> read_order(read_topology(model), plain.sum()).widths
        (2, 3, 3, 1)
        >>> hidden = model["inner"](x).relu()
        >>> read_order(read_topology(model), model["out"](hidden + model["middle"](hidden)).sum()).reason
        'out does not follow one layer alone: there are shortcuts or layers side by side'
    """
    if not reading.open:
        return reading
    order = linear_order(loss, {name: layer.weight for name, layer in reading.layers.items()})
    if isinstance(order, str):
        return TopologyReading(reason=order, layers=reading.layers)
    return _chained({name: reading.layers[name] for name in order}, reading.layers)


def _chained(ordered: Mapping[str, nn.Linear], layers: Mapping[str, nn.Linear]) -> TopologyReading:
    """The topology of layers whose order is known."""
    for (name, layer), (following, other) in itertools.pairwise(ordered.items()):
        if layer.out_features != other.in_features:
            reason = f"{name} gives {layer.out_features} values and {following} takes {other.in_features}"
            return TopologyReading(reason=reason, layers=layers)
    first, *_ = ordered.values()
    return TopologyReading((first.in_features, *(layer.out_features for layer in ordered.values())), layers=layers)


def _sequence(model: nn.Module) -> set[nn.Module] | None:
    """Linear layers of the one ``Sequential`` that they all stand in; None if they don't."""
    module = model
    while not (_in_order(module) or isinstance(module, nn.Linear)):
        weighted = [child for child in module.children() if next(child.parameters(), None) is not None]
        if len(weighted) != 1:
            return None
        (module,) = weighted
    found = list(_flat(module))
    # a layer that occurs twice is applied twice, and one inside another module may be applied in any way
    if len(set(found)) != len(found) or any(not isinstance(inner, nn.Linear) and _connects(inner) for inner in found):
        return None
    return {inner for inner in found if isinstance(inner, nn.Linear)}


def _connects(module: nn.Module) -> bool:
    return any(isinstance(inner, nn.Linear) for inner in module.modules())


def _in_order(module: nn.Module) -> TypeGuard[nn.Sequential]:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _flat(module: nn.Module) -> Iterator[nn.Module]:
    if _in_order(module):
        for inner in module:  # and not its children: they are named once, however often they occur
            yield from _flat(inner)
    else:
        yield module
