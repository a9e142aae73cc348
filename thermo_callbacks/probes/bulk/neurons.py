"""States of the neurons of any network, and the map from states to states that the network is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils._pytree import tree_map

from thermo_callbacks.probes.activations.registry import ELEMENTWISE, SILENT
from thermo_callbacks.probes.bulk.capture import NetworkCall
from thermo_callbacks.probes.bulk.eval_mode import ParameterValues, call_network, first_tensor
from thermo_callbacks.probes.interrupts import finished, interruptible


class NeuronMap:
    r"""The map :math:`x \mapsto f(wx + b)` of a network whose forward pass is any code.

    Neurons are the elements of the outputs of *layers*: calls of modules that own parameters directly, with no such
    call inside them; behind the elementwise activation module that takes the output directly, where there is one. The
    input's elements are neurons as well, if they are floating-point numbers. To map given states, the network runs
    once, and as each layer gives its output, that is noted as the image and the given state goes on in its place: the
    image of a layer depends on the states of earlier layers alone. Residual connections, attention, branches and layers
    used twice need nothing further. The derivative is therefore strictly lower triangular in the order of execution,
    as :math:`f'w` is for a chain.
    """

    def __init__(self, network: nn.Module, call: NetworkCall, model: nn.Module | None = None) -> None:
        self.network, self.model = network, model
        trace = _Trace(_owners(network))
        with torch.no_grad(), _hooked(network, trace.enter, trace.leave):
            call_network(network, call, {}, model=model)
        if not trace.points:
            raise ValueError(
                f"network must hold a module that owns parameters and gives a floating-point tensor, got "
                f"{type(network).__name__}: name another module as network=..."
            )
        # a layer is known by its place in the order in which calls end, and by its module
        ordered = sorted(trace.points, key=lambda point: point.ordinal)
        self.points = {(point.ordinal, point.module): block for block, point in enumerate(ordered)}

    def states(self, call: NetworkCall, values: ParameterValues) -> list[Tensor]:
        """States of each layer by a forward pass, the input's first if it has neurons."""
        with torch.no_grad():
            return self._run(call, values, None)

    def images(self, call: NetworkCall, values: ParameterValues, states: Sequence[Tensor]) -> list[Tensor]:
        """Images of the states of all layers, in their shapes, with a graph to states that require a gradient."""
        return self._run(call, values, states)

    def _run(self, call: NetworkCall, values: ParameterValues, states: Sequence[Tensor] | None) -> list[Tensor]:
        visible = [] if call.input is None else [call.leaves[call.input]]
        layers = None if states is None else states[len(visible) :]
        run = _Substitution(self.points, layers)
        inputs = None if states is None or not visible else states[0]
        with _hooked(self.network, None, run.leave):
            call_network(self.network, call, values, model=self.model, inputs=inputs)
        if len(run.images) != len(self.points):
            raise ValueError(
                f"network must call the same modules each time, got {len(run.images)} layers instead of "
                f"{len(self.points)}: its forward pass depends on chance or on earlier calls"
            )
        return [*visible, *(run.images[block] for block in range(len(self.points)))]


@dataclass
class _Point:
    """The tensor that holds a layer's neurons, in a trace."""

    ordinal: int
    module: nn.Module
    tensor: Tensor
    version: int

    def is_still(self, tensor: Any) -> bool:
        return tensor is self.tensor and self.tensor._version == self.version


@dataclass
class _Frame:
    """A module call that has begun."""

    source: int | None
    holds_layer: bool = False


@dataclass
class _Trace:
    """Finds the calls whose outputs are the neurons, by their number in the order in which calls end."""

    owners: set[nn.Module]
    points: list[_Point] = field(default_factory=list)
    stack: list[_Frame] = field(default_factory=list)
    ended: int = 0

    def enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        source = None
        if args and isinstance(module, (*ELEMENTWISE, *SILENT)):
            source = next((i for i, point in enumerate(self.points) if point.is_still(args[0])), None)
        self.stack.append(_Frame(source))

    def leave(self, module: nn.Module, _: tuple[Any, ...], output: Any) -> None:
        frame, ordinal = self.stack.pop(), self.ended
        self.ended += 1
        tensor = first_tensor(output)
        if tensor is None:
            return
        point = _Point(ordinal, module, tensor, tensor._version)
        if frame.source is not None:
            self.points[frame.source] = point
        elif module in self.owners and not frame.holds_layer:
            self.points.append(point)
            for outer in self.stack:
                outer.holds_layer = True


class _Substitution:
    """Notes the layers' outputs, and puts given states in their place."""

    def __init__(self, points: dict[tuple[int, nn.Module], int], states: Sequence[Tensor] | None) -> None:
        self.points, self.states = points, states
        self.images: dict[int, Tensor] = {}
        self.ended = 0

    def leave(self, module: nn.Module, _: tuple[Any, ...], output: Any) -> Any:
        block = self.points.get((self.ended, module))
        self.ended += 1
        image = None if block is None else first_tensor(output)
        if block is None or image is None:
            return None
        self.images[block] = image.clone()
        if self.states is None:
            return None
        if self.states[block].requires_grad and not torch.is_grad_enabled():
            raise ValueError(
                f"network must let gradients through all of its layers, but calls a {type(module).__name__} without: "
                "under no_grad, or by reentrant activation checkpointing"
            )
        state = self.states[block].clone()  # to be written to: code in place may not touch a leaf of the graph
        return tree_map(lambda leaf: state if leaf is image else leaf, output)


def _owners(network: nn.Module) -> set[nn.Module]:
    """Modules that own parameters directly, or did before these were parametrized."""
    return {
        module
        for _, module in _modules(network)
        if any(True for _ in module.parameters(recurse=False)) or parametrize.is_parametrized(module)
    }


def _modules(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """All modules but those that compute the parameters of others."""
    for name, module in network.named_modules():
        if "parametrizations" not in name.split("."):
            yield name, module


@contextlib.contextmanager
def _hooked(
    network: nn.Module,
    enter: Callable[[nn.Module, tuple[Any, ...]], None] | None,
    leave: Callable[[nn.Module, tuple[Any, ...], Any], Any],
) -> Iterator[None]:
    handles: list[Any] = []
    with finished(lambda: [handle.remove() for handle in handles]):
        for _, module in _modules(network):
            if enter is not None:
                handles.append(module.register_forward_pre_hook(enter))
            handles.append(module.register_forward_hook(leave))
        with interruptible():
            yield
