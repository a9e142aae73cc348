"""Interception of calls of functions and modules, with their place in the model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from thermo_callbacks.probes.activations.registry import FUSED_MODULES, OPAQUE_MODULES, Function
from thermo_callbacks.probes.interrupts import finished
from thermo_callbacks.probes.layers import ROOT

Arguments = tuple[Any, ...]
Keywords = dict[str, Any]


@dataclass
class Frame:
    """A module's forward that has begun."""

    module: nn.Module
    name: str  # in the model; for a stranger, that of the module that called it
    named: bool  # whether the module is part of the model
    opaque: bool  # whether calls inside are of no interest
    token: Any = None  # what the watcher keeps from before the call
    depth: int | None = None  # place of the mode on the stack of modes, if it was taken off for this call


class _Place(threading.local):
    """The stack of modules. A device's gradients have a thread of their own, which may call modules again."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []


class FunctionMode(TorchFunctionMode):
    """TorchFunctionMode that hands calls to a handler, of functions that call others only the outermost."""

    def __init__(self, call: Callable[[Function, Arguments, Keywords], Any]) -> None:
        super().__init__()
        self._call = call

    def __torch_function__(self, func: Function, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._call(func, args, kwargs or {})


class CallWatch:
    """Intercepts calls by global module hooks and a function mode, between :meth:`start` and :meth:`stop`.

    Hooks on single modules would make TransformerEncoder leave its fused path; global ones don't. What ``enter`` gives
    before a module's forward, unless None, goes to ``leave``, and calls inside the module are of no interest.
    """

    def __init__(
        self,
        call: Callable[[Function, Arguments, Keywords], Any],
        enter: Callable[[Frame, Arguments], Any],
        leave: Callable[[Any, Any], None],
    ) -> None:
        self._mode = FunctionMode(call)
        self._enter, self._leave = enter, leave
        self._handles: list[Any] = []
        self._names: Mapping[nn.Module, str] = {}
        self._place = _Place()

    @property
    def running(self) -> bool:
        """Whether the hooks are installed."""
        return bool(self._handles)

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The modules under way, the outermost first."""
        return tuple(self._place.frames)

    @property
    def frame(self) -> Frame | None:
        """The innermost module under way."""
        return self._place.frames[-1] if self._place.frames else None

    def start(self, names: Mapping[nn.Module, str]) -> None:
        """Install the hooks and the mode; ``names`` are those of the model's modules."""
        self._names, self._place = names, _Place()
        with finished(_nothing):  # no interrupt between a hook and its handle
            self._handles.append(register_module_forward_pre_hook(self._before))
            self._handles.append(register_module_forward_hook(self._after, always_call=True))
            _insert(self._mode, None)

    def stop(self) -> None:
        """Remove all hooks and the mode; any number of times."""
        with finished(self._take_off):
            pass
        self._names, self._place = {}, _Place()

    def _take_off(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        _remove(self._mode)

    def accompany(self, nodes: Iterable[Node]) -> list[Any]:
        """Intercept calls of functions inside the backward of some nodes, too; gives the handles of the hooks."""
        # a mode is off while a call that it sees goes on, and backward() is such a call

        def before(_: Any) -> None:
            _insert(self._mode, None)

        def after(*_: Any) -> None:
            _remove(self._mode)

        return [handle for node in nodes for handle in (node.register_prehook(before), node.register_hook(after))]

    def _before(self, module: nn.Module, inputs: Arguments) -> None:
        outer = self.frame
        frame = Frame(
            module,
            name=self._names.get(module) or (outer.name if outer else ROOT),
            named=module in self._names,
            opaque=(outer is not None and outer.opaque) or isinstance(module, OPAQUE_MODULES),
        )
        if not frame.opaque:
            frame.token = self._enter(frame, inputs)
            frame.opaque = frame.token is not None
        self._place.frames.append(frame)
        if isinstance(module, FUSED_MODULES) and _may_fuse(module, inputs):
            frame.depth = _remove(self._mode)

    def _after(self, module: nn.Module, _: Arguments, output: Any) -> None:
        frames = self._place.frames
        while frames:
            frame = frames.pop()
            if frame.depth is not None:
                _insert(self._mode, frame.depth)
            if frame.module is module:
                if frame.token is not None:
                    self._leave(frame.token, output)
                return


def _nothing() -> None:
    """Nothing is to be put back: hooks stay until they are taken off."""


def _may_fuse(module: nn.Module, inputs: Arguments) -> bool:
    """Whether the module's forward is one fused operation unless a mode is active."""
    if module.training:
        return False
    tensors = [*module.parameters(), *(value for value in inputs if isinstance(value, Tensor))]
    return not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors))


def _remove(mode: TorchFunctionMode) -> int | None:
    """Take a mode off the stack from wherever it is, and say where that was."""
    modes = [torch._C._get_function_stack_at(index) for index in range(torch._C._len_torch_function_stack())]
    depth = next((index for index, other in enumerate(modes) if other is mode), None)
    if depth is not None:
        for other in reversed(_pop_down_to(depth)[:-1]):
            torch._C._push_on_torch_function_stack(other)
    return depth


def _insert(mode: TorchFunctionMode, depth: int | None) -> None:
    """Put a mode on the stack, below those that are above its place; None for the top."""
    above = [] if depth is None else _pop_down_to(depth)
    for other in (mode, *reversed(above)):
        torch._C._push_on_torch_function_stack(other)


def _pop_down_to(depth: int) -> list[Any]:
    """Take modes off the top until that many are left, the topmost first."""
    return [torch._C._pop_torch_function_stack() for _ in range(torch._C._len_torch_function_stack() - depth)]
