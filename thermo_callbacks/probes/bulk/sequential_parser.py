"""Reading a chain of layers off a sequential network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from thermo_callbacks.functional.bulk.chain import chain_states
from thermo_callbacks.probes.activations.registry import ELEMENTWISE, SILENT
from thermo_callbacks.probes.bulk.capture import NetworkCall, at_least_single
from thermo_callbacks.probes.bulk.eval_mode import ParameterValues, call_network


@dataclass(frozen=True)
class Chain:
    """A sequential network as a chain of layers: the weights w, biases b and activations f of its septuple."""

    layers: tuple[nn.Linear, ...]
    activations: tuple[Callable[[Tensor], Tensor], ...]  # the elementwise function behind each layer

    @property
    def neurons(self) -> int:
        """All neurons, those of the input among them."""
        return self.layers[0].in_features + sum(layer.out_features for layer in self.layers)

    def weights(self, values: ParameterValues) -> list[Tensor]:
        """Weight matrix of each layer at some parameter values."""
        own = [layer.get_parameter("weight") for layer in self.layers]
        return [at_least_single(values.get(weight, weight)) for weight in own]

    def biases(self, values: ParameterValues) -> list[Tensor | None]:
        """Bias of each layer at some parameter values, None where it has none."""
        own = [layer.get_parameter("bias") if layer.bias is not None else None for layer in self.layers]
        return [None if bias is None else at_least_single(values.get(bias, bias)) for bias in own]

    def states(self, inputs: Tensor, values: ParameterValues) -> tuple[list[Tensor], list[Tensor]]:
        """States of all layers, the input's ``[S, n_0]`` first, and slopes of those behind it; without a graph."""
        with torch.no_grad():
            return chain_states(inputs, self.weights(values), self.biases(values), self.activations)

    def images(self, states: list[Tensor], values: ParameterValues) -> list[Tensor]:
        """Images of the states of all layers under the map, in their shapes; an input neuron is its own."""
        layers = zip(self.weights(values), self.biases(values), self.activations, states, strict=False)
        with torch.no_grad():
            return [states[0], *(f(nn.functional.linear(x, w, b)) for w, b, f, x in layers)]


def read_chain(network: nn.Module, call: NetworkCall, model: nn.Module | None = None) -> tuple[Chain, Tensor] | str:
    """The chain that a network is, and its input ``[S, n_0]``; or why it is none, as a clause."""
    # a chain is a Sequential (or one linear layer) of linear layers on vectors, elementwise activations, dropout and
    # flattening; what was read is put to the test: it must give what the network gives
    layers: list[nn.Linear] = []
    functions: list[list[nn.Module]] = []
    for module in _flat(network):
        if type(module) is nn.Linear and not parametrize.is_parametrized(module):
            if "weight" not in dict(module.named_parameters(recurse=False)):  # pruned, or normalised by a hook
                return "it holds a Linear whose weight is made of other tensors"
            layers.append(module)
            functions.append([])
        elif _is_elementwise(module) and layers:
            functions[-1].append(module)
        elif not isinstance(module, (nn.Flatten, *SILENT)):
            return f"it holds a {type(module).__name__}, where a chain has linear layers and elementwise activations"
    if not layers:
        return "it has no linear layer"
    if call.input is None or len(call.leaves) != 1:
        return "it is not called with one floating-point tensor alone"
    inputs = call.leaves[call.input].flatten(1)
    chain = Chain(tuple(layers), tuple(_composed(group) for group in functions))
    widths = [inputs.shape[1], *(layer.out_features for layer in layers)]
    if widths[:-1] != [layer.in_features for layer in layers]:
        return "its linear layers are applied to more than one vector of a sample"
    expected = call_network(network, call, {}, model=model)
    found = chain.states(inputs, {})[0][-1]
    if not isinstance(expected, Tensor) or expected.shape != found.shape or not _close(found, expected):
        return "it computes something else than its modules in their order"
    return chain, inputs


def _is_elementwise(module: nn.Module) -> bool:
    """Whether it is one of torch's activations; one with a ``forward`` of its own may do and keep anything."""
    return any(type(module).forward is kind.forward for kind in ELEMENTWISE) and "forward" not in vars(module)


def _flat(network: nn.Module) -> Iterator[nn.Module]:
    if isinstance(network, nn.Sequential):
        for module in network:
            yield from _flat(module)
    else:
        yield network


def _composed(functions: list[nn.Module]) -> Callable[[Tensor], Tensor]:
    def apply(tensor: Tensor) -> Tensor:
        for function in functions:
            tensor = function.forward(tensor.clone())  # it may work in place, on a tensor that is still needed
        return tensor.clone() if not functions else tensor

    return apply


def _close(found: Tensor, expected: Tensor) -> bool:
    tolerance = 1e3 * torch.finfo(found.dtype).eps
    return bool((found - expected).abs().max() <= tolerance * (1.0 + expected.abs().max()))
