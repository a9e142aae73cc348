"""A network as a function of its parameters: called in evaluation mode, with nothing left behind."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from thermo_callbacks.probes.bulk.capture import NetworkCall, at_least_single
from thermo_callbacks.probes.interrupts import entered, finished, interruptible
from thermo_callbacks.probes.replay import isolated
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

    def set_back() -> None:
        for module, training in modes:
            module.training = training

    with contextlib.ExitStack() as stack:
        stack.enter_context(differentiable(device))
        entered(stack, torch.autograd.graph.disable_saved_tensors_hooks(NO_RECOMPUTATION))
        stack.enter_context(finished(set_back))
        torch.backends.mha.set_fastpath_enabled(False)  # it goes past the modules inside a block
        for module, _ in modes:
            module.training = False
        with interruptible():
            yield


def call_network(
    network: nn.Module,
    call: NetworkCall,
    values: ParameterValues,
    *,
    model: nn.Module | None = None,
    inputs: Tensor | None = None,
) -> Any:
    """Call the network with other parameters, without a graph to them, and other inputs.

    Whatever its code writes to, in itself or in the rest of the ``model`` that it is a part of, is a copy: each call
    begins with the state that the run has now, and leaves none behind.

    Returns:
        What the network gives.
    """
    args, kwargs = call.arguments(inputs)
    whole = network if model is None else model
    with isolated(whole, _copies(network, values)):
        return network(*args, **kwargs)


def _copies(network: nn.Module, values: ParameterValues) -> dict[nn.Parameter, Tensor]:
    """A copy of each parameter's value, which no gradient leads to."""
    return {
        parameter: nn.Parameter(at_least_single(values.get(parameter, parameter).detach().clone()), requires_grad=False)
        for parameter in network.parameters()
        if not is_lazy(parameter)
    }


def first_tensor(output: Any) -> Tensor | None:
    """The first floating-point tensor in a module's output, which may be nested; None if there is none."""
    leaves = torch.utils._pytree.tree_leaves(output)
    return next((leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_floating_point()), None)
