"""Capture of the network's call inside a training step: the module and its arguments."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from thermo_callbacks.probes.interrupts import finished, interruptible
from thermo_callbacks.probes.layers import canonical_name


@dataclass(frozen=True)
class NetworkCall:
    """Arguments of a module's call for a few samples."""

    leaves: tuple[Any, ...]  # arguments and keyword arguments, flattened
    spec: TreeSpec
    batched: tuple[int, ...]  # indices of the tensors that hold one entry a sample in their first dimension
    samples: int

    @classmethod
    def record(cls, args: tuple[Any, ...], kwargs: Mapping[str, Any], samples: int) -> NetworkCall | None:
        """The first samples of a call, copied; None where no argument is a tensor with a batch dimension."""
        # packed sequences have their samples interleaved, nested tensors can't be cut, vmap's are gone after its call
        # the first tensor's first dimension is the batch; every tensor of the same length is cut with it, and others
        # are kept whole (masks, tables)
        leaves, spec = tree_flatten((args, dict(kwargs)), is_leaf=lambda x: isinstance(x, PackedSequence))
        if any(isinstance(leaf, PackedSequence) or _uncut(leaf) for leaf in leaves):
            return None
        lengths = [leaf.shape[0] for leaf in leaves if isinstance(leaf, Tensor) and leaf.ndim]
        if not lengths or not lengths[0]:
            return None
        batched = tuple(
            i for i, x in enumerate(leaves) if isinstance(x, Tensor) and x.ndim and x.shape[0] == lengths[0]
        )
        samples = min(samples, lengths[0])
        kept = [x[:samples] if i in batched else x for i, x in enumerate(leaves)]
        kept = [_plain(x) if isinstance(x, Tensor) else x for x in kept]
        return cls(tuple(kept), spec, batched, samples)

    @property
    def input(self) -> int | None:
        """Index of the first floating-point tensor with a batch dimension: the states of the input neurons."""
        return next((i for i in self.batched if self.leaves[i].is_floating_point()), None)

    def rows(self, index: Tensor) -> NetworkCall:
        """The call with the samples of the given numbers, repeated ones among them."""
        cut = [x[index.to(x.device)] if i in self.batched else x for i, x in enumerate(self.leaves)]
        return replace(self, leaves=tuple(cut), samples=len(index))

    def arguments(self, states: Tensor | None = None) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments and keyword arguments, with states in the place of the input's data unless None."""
        leaves = [leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in self.leaves]  # to be written to
        if states is not None and self.input is not None:
            leaves[self.input] = states.clone()
        args, kwargs = tree_unflatten(leaves, self.spec)
        return args, kwargs


def _uncut(leaf: Any) -> bool:
    """Whether it is a tensor of which no samples can be taken: a nested one, or one within torch.func's transforms."""
    return isinstance(leaf, Tensor) and (leaf.is_nested or torch._C._functorch.is_functorch_wrapped_tensor(leaf))


def _plain(tensor: Tensor) -> Tensor:
    """A copy without graph, outside of inference mode, in single precision at least."""
    with torch.inference_mode(False), torch.no_grad():
        return at_least_single(tensor.detach().clone())


def at_least_single(tensor: Tensor) -> Tensor:
    """A tensor of half precision in single precision; others as they are."""
    return tensor.float() if tensor.dtype in {torch.float16, torch.bfloat16} else tensor


def run_step(
    model: nn.Module, step: Callable[[], Tensor], *, network: str | None, samples: int
) -> tuple[str, nn.Module, NetworkCall, Tensor]:
    """Run a training step; gives name, module and first call of the network in it, and the loss."""
    # without a name, the network is the innermost module that was called and owns all parameters of the model, or else
    # the child of the model that was called and owns most of them
    candidates = _candidates(model) if network is None else _named(model, network)
    with _watched(candidates, samples) as calls:
        loss = step()
    for name, module in candidates:
        call = calls.get(name, "none")
        if isinstance(call, NetworkCall):
            return canonical_name(name), unwrapped(module), call, loss.detach()
        if call is None:
            raise ValueError(
                f"network {canonical_name(name)!r} must be called with a tensor whose first dimension is the batch, "
                "got none (a packed sequence or a nested tensor is none, nor is a tensor within torch.func.vmap): name "
                "another module as network=..."
            )
    known = [canonical_name(name) for name, _ in candidates]
    raise ValueError(
        f"network must be a module that the training step calls, and of {known} it calls none: name one as network=..."
    )


def unwrapped(module: nn.Module) -> nn.Module:
    """The module itself, where ``torch.compile`` has wrapped it."""
    inner = getattr(module, "_orig_mod", None)
    return inner if isinstance(inner, nn.Module) else module


def _named(model: nn.Module, network: str) -> list[tuple[str, nn.Module]]:
    modules = {canonical_name(name): (name, module) for name, module in reversed(list(model.named_modules()))}
    if network not in modules:
        raise ValueError(f"network={network!r} is no module of the model: choose among {list(reversed(modules))[:20]}")
    return [modules[network]]


def _candidates(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Modules that may be the network, the best one first."""
    everything = {id(parameter) for parameter in model.parameters()}
    whole = [("", model)]
    while not isinstance(unwrapped(whole[-1][1]), nn.Sequential):
        name, module = whole[-1]
        inner = [(key, child) for key, child in module.named_children() if _parameters(child) == everything]
        if not everything or not inner:
            break
        whole.append((f"{name}.{inner[0][0]}".lstrip("."), inner[0][1]))
    children = sorted(model.named_children(), key=lambda child: -sum(p.numel() for p in child[1].parameters()))
    known = {name for name, _ in whole}
    return whole[::-1] + [(name, child) for name, child in children if name not in known and _parameters(child)]


def _parameters(module: nn.Module) -> set[int]:
    return {id(parameter) for parameter in module.parameters()}


@contextlib.contextmanager
def _watched(candidates: list[tuple[str, nn.Module]], samples: int) -> Iterator[dict[str, NetworkCall | None]]:
    """Records the first call of each candidate."""
    calls: dict[str, NetworkCall | None] = {}

    def hook(name: str) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
        def record(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if name not in calls:
                calls[name] = NetworkCall.record(args, kwargs, samples)

        return record

    handles: list[Any] = []
    with finished(lambda: [handle.remove() for handle in handles]):
        for name, module in candidates:
            handles.append(module.register_forward_pre_hook(hook(name), with_kwargs=True))
        with interruptible():
            yield calls
