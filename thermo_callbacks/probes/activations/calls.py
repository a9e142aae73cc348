"""The calls of activations in one pass: measured as they happen, read off when the pass is over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from thermo_callbacks.probes.activations.engine_types import Called
from thermo_callbacks.probes.activations.gradients import Edge, gradient_edge, next_sequence_number, watch_gradients
from thermo_callbacks.probes.activations.sums import CallSums, to_host

SAME = 1e-6  # relative difference of the powers of one input, computed twice
_DTYPES = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})


class Site(NamedTuple):
    """Place of a call, and the function that is called."""

    base: str  # name of the place, before calls are numbered
    activation: str
    called: Called


@dataclass
class Call:
    """A call of an activation."""

    name: str
    activation: str
    shape: torch.Size  # of input and output
    called: Called
    sums: CallSums
    traced: bool  # whether with a graph; if not, a checkpoint may repeat the call in the backward pass


class Passage(NamedTuple):
    """A call that has begun."""

    call: Call
    edge: Edge | None  # where the gradient of its input goes
    first: int  # number of the first node of the graph that it may make
    repeated: bool  # whether it takes place in the backward pass


class CallLog:
    """Measures and keeps the calls of one pass; an element with a slope below ``saturation`` is saturated."""

    def __init__(self, saturation: float) -> None:
        self.features: int | None = None
        self.fault: Exception | None = None
        self._saturation = saturation
        self._calls: list[Call] = []
        self._repeats: list[Call] = []
        self._numbers: Counter[str] = Counter()
        self._handles: list[Any] = []

    @property
    def untraced(self) -> bool:
        """Whether there are calls that may be repeated in the backward pass."""
        return any(not call.traced for call in self._calls)

    def keep(self, handles: list[Any]) -> None:
        """Remember handles of hooks to be removed."""
        self._handles += handles

    def close(self) -> None:
        """Remove the hooks; any number of times."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Turn a fault of the measurement into its end, since it must not become one of the model."""
        try:
            with torch._C.DisableTorchFunctionSubclass():  # no code of a subclass of Tensor
                yield
        except Exception as fault:
            self.fault = self.fault or fault

    def before(self, tensor: Any, site: Callable[[], Site]) -> Passage | None:
        """Measure the input, before the call may write over it; None for a call that doesn't count."""
        passage = None
        with self.measuring():
            if self.fault is None and _measurable(tensor):
                repeated = torch._C._current_graph_task_id() != -1  # within a backward pass
                if not repeated or self.untraced:
                    call = self._begin(tensor, site(), repeated)
                    passage = Passage(call, gradient_edge(tensor), next_sequence_number(), repeated)
        return passage

    def after(self, passage: Passage | None, output: Any) -> None:
        """Measure the output, and prepare to measure the gradients."""
        if passage is None:
            return
        with self.measuring():
            call, edge, first, repeated = passage
            if not _measurable(output) or output.shape != call.shape:
                return
            if not repeated:
                call.sums.add_output(output, self.features)
            if edge is not None:
                self.keep(watch_gradients(edge, output, first, self._receiver(call.sums)))

    def read(self) -> list[Call]:
        """The finished calls, in order, with their sums on the host."""
        calls = [call for call in self._calls if call.sums.output_power is not None]
        # a checkpoint within a checkpoint repeats its calls once more, and only then with a graph
        on_host = _on_host([*calls, *(call for call in self._repeats if call.sums.gradient_power is not None)])
        finished, repeats = on_host[: len(calls)], on_host[len(calls) :]
        open_calls = [index for index, call in enumerate(finished) if not call.traced]
        for repeat in repeats:
            same = next((index for index in open_calls if _same(finished[index], repeat)), None)
            if same is not None:
                open_calls.remove(same)
                finished[same].sums.take_gradients(repeat.sums.gradient_power, repeat.sums.slopes)
        return finished

    def _begin(self, tensor: Tensor, site: Site, repeated: bool) -> Call:
        number = 0
        if not repeated:
            self._numbers[site.base] += 1
            number = self._numbers[site.base]
        call = Call(
            name=site.base if number < 2 else f"{site.base}#{number}",
            activation=site.activation,
            shape=tensor.shape,
            called=site.called,
            sums=CallSums.of_input(tensor),
            traced=torch.is_grad_enabled(),
        )
        (self._repeats if repeated else self._calls).append(call)
        return call

    def _receiver(self, sums: CallSums) -> Callable[[Tensor | None, Tensor], None]:
        def receive(arrived: Tensor | None, sent: Tensor) -> None:
            with self.measuring():
                sums.add_gradients(arrived, sent, self._saturation)

        return receive


def _on_host(calls: list[Call]) -> list[Call]:
    """Copies of calls with all their sums on the host."""
    given = [
        (index, field.name, value)
        for index, call in enumerate(calls)
        for field in fields(CallSums)
        if isinstance(value := getattr(call.sums, field.name), Tensor)
    ]
    sums: list[dict[str, Any]] = [{} for _ in calls]
    for (index, name, _), copied in zip(given, to_host([value for _, _, value in given]), strict=True):
        sums[index][name] = copied
    return [replace(call, sums=replace(call.sums, **copies)) for call, copies in zip(calls, sums, strict=True)]


def _same(call: Call, repeat: Call) -> bool:
    """Whether one call repeats another: the same activation of the same numbers."""
    if call.activation != repeat.activation or call.shape != repeat.shape:
        return False
    return torch.allclose(call.sums.input_power, repeat.sums.input_power, rtol=SAME, atol=0.0, equal_nan=True)


def _measurable(tensor: Any) -> bool:
    """Whether it is a dense floating-point tensor of the network's own, with a batch dimension."""
    return (
        isinstance(tensor, Tensor)
        and not isinstance(tensor, nn.Parameter)
        and type(tensor).__torch_dispatch__ is Tensor.__torch_dispatch__  # no DTensor, no fake tensor
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        and tensor.dtype in _DTYPES
        and tensor.layout is torch.strided
        and not tensor.is_nested
        and tensor.device.type != "meta"
        and tensor.ndim > 0
        and tensor.numel() > 0
    )
