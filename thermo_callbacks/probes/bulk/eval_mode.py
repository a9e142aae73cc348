"""A network as a function of its parameters: called in evaluation mode, with nothing left behind."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from thermo_callbacks.probes.bulk.capture import NetworkCall, at_least_single
from thermo_callbacks.probes.replay.autograd_modes import differentiable

ParameterValues = Mapping[nn.Parameter, Tensor]
"""Values to put in the place of parameters; a parameter that is missing keeps its own."""


NO_RECOMPUTATION = (
    "its backward pass must not call layers again (activation checkpointing, offloading), since they would not see the "
    "states put in the place of their own; switch that off in evaluation mode"
)


@contextlib.contextmanager
def evaluation(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Evaluation mode, gradients on, and only operations that can be differentiated twice."""
    # dropout is off and batch normalisation uses its running statistics, so that samples don't touch each other; the
    # flags are set and set back one by one, since a module's own train() may do more
    modes = [(module, module.training) for module in network.modules()]
    fast_path = torch.backends.mha.get_fastpath_enabled()
    with contextlib.ExitStack() as stack:
        stack.enter_context(differentiable(device))
        stack.enter_context(torch.autograd.graph.disable_saved_tensors_hooks(NO_RECOMPUTATION))
        try:
            torch.backends.mha.set_fastpath_enabled(False)  # it goes past the modules inside a block
            for module, _ in modes:
                module.training = False
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast_path)
            for module, training in modes:
                module.training = training


def call_network(
    network: nn.Module, call: NetworkCall, values: ParameterValues, *, inputs: Tensor | None = None
) -> Any:
    """Call the network with other parameters, without a graph to them, and other inputs; its buffers are copies."""
    args, kwargs = call.arguments(inputs)
    with _in_place(network, values):
        return network(*args, **kwargs)


@contextlib.contextmanager
def _in_place(network: nn.Module, values: ParameterValues) -> Iterator[None]:
    """Hold values in the place of parameters, and copies in that of buffers."""
    # each module once: torch.func.functional_call goes by names, and where a module has two it takes the value that it
    # has put under the first for the original under the second
    tensors: dict[Tensor, Tensor] = {b: at_least_single(b.detach().clone()) for b in network.buffers()}
    # after the buffers: a tensor that is registered as both is a parameter
    tensors |= {p: at_least_single(values.get(p, p).detach()) for p in network.parameters()}
    dictionaries: list[dict[str, Any]] = [d for m in network.modules() for d in (m._parameters, m._buffers)]
    originals = [(d, name, tensor) for d in dictionaries for name, tensor in d.items() if tensor is not None]
    try:
        for dictionary, name, tensor in originals:
            dictionary[name] = tensors[tensor]
        yield
    finally:
        for dictionary, name, tensor in originals:
            dictionary[name] = tensor


def first_tensor(output: Any) -> Tensor | None:
    """The first floating-point tensor in a module's output, which may be nested; None if there is none."""
    leaves = torch.utils._pytree.tree_leaves(output)
    return next((leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_floating_point()), None)
