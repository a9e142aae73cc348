"""The calls of activations in one pass: measured as they happen, read off when the pass is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from thermo_callbacks.probes.activations.engine_types import Called, Verdict
from thermo_callbacks.probes.activations.gradients import gradient_edge, next_sequence_number, watch_gradients
from thermo_callbacks.probes.activations.hooks import Frame
from thermo_callbacks.probes.activations.pooling import count_dead, pool
from thermo_callbacks.probes.activations.runs import Runs, Standing
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
    standing: Standing
    recomputed: bool  # whether it takes place in the backward pass


@dataclass
class Reading:
    """The calls of a pass, as far as one process has seen them."""

    calls: list[Call]  # finished, each repeat by itself, with their units
    repeats: list[list[int]]  # of each activation, places among the calls
    verdicts: list[Verdict]
    pooled: list[Call]  # of each activation, repeats put together, on the host

    def finish(self) -> list[tuple[Call, Verdict]]:
        """The activations in order, with the units that are dead."""
        counts = [
            count_dead([self.calls[index].sums for index in indices], verdict.flat)
            for indices, verdict in zip(self.repeats, self.verdicts, strict=True)
        ]
        for call, dead in zip(self.pooled, to_host(counts), strict=True):
            call.sums.dead = dead
        return list(zip(self.pooled, self.verdicts, strict=True))


class CallLog:
    """Measures and keeps the calls of one pass; an element with a slope below ``saturation`` is saturated."""

    def __init__(self, saturation: float) -> None:
        self.features: int | None = None
        self.backward_passes = 0
        self.fault: Exception | None = None
        self._saturation = saturation
        self._calls: list[Call] = []
        self._recomputed: list[Call] = []
        self._runs = Runs()
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
            # no code of a subclass of Tensor, nor of a mode: the probe's own would take in each operation of its sums
            with torch._C.DisableTorchFunction():
                yield
        except Exception as fault:
            self.fault = self.fault or fault

    def before(self, tensor: Any, site: Callable[[], Site], frames: Sequence[Frame]) -> Passage | None:
        """Measure the input, before the call may write over it; None for a call that doesn't count."""
        passage = None
        with self.measuring():
            if self.fault is None and _measurable(tensor):
                recomputed = torch._C._current_graph_task_id() != -1  # within a backward pass
                if not recomputed or self.untraced:
                    edge, first = gradient_edge(tensor), next_sequence_number()
                    standing = Standing(tuple(frames), edge, first, self.backward_passes)
                    passage = Passage(self._begin(tensor, site(), standing, recomputed), standing, recomputed)
        return passage

    def after(self, passage: Passage | None, output: Any) -> None:
        """Measure the output, and prepare to measure the gradients."""
        if passage is None:
            return
        with self.measuring():
            call, standing, recomputed = passage
            standing.end = next_sequence_number()
            if not _measurable(output) or output.shape != call.shape:
                return
            if not recomputed:
                call.sums.add_output(output)
            if standing.edge is not None:
                self.keep(watch_gradients(standing.edge, output, standing.first, self._receiver(call.sums)))
                standing.edge = None  # a node keeps the graph before it

    def read(self, decide: Callable[[list[Called]], list[Verdict]]) -> Reading:
        """The finished calls, in order, with their sums on the host; repeats of one are one."""
        # copies, which take in what belongs to them: the pass may be read again
        calls = [replace(call, sums=replace(call.sums)) for call in self._calls if call.sums.output_power is not None]
        # a checkpoint within a checkpoint recomputes its calls once more, and only then with a graph
        again = [call for call in self._recomputed if call.sums.gradient_power is not None]
        for finished, recomputed in _pairs([call.traced for call in calls], _on_host(calls), _on_host(again)):
            calls[finished].sums.take(again[recomputed].sums)
        repeats: dict[str, list[int]] = {}
        for index, call in enumerate(calls):
            repeats.setdefault(call.name, []).append(index)
        verdicts = decide([calls[indices[0]].called for indices in repeats.values()])
        on_host = _on_host(calls)
        pooled = [replace(on_host[same[0]], sums=pool([on_host[i].sums for i in same])) for same in repeats.values()]
        return Reading(calls, list(repeats.values()), verdicts, pooled)

    def _begin(self, tensor: Tensor, site: Site, standing: Standing, recomputed: bool) -> Call:
        number = 0 if recomputed else self._runs.place(site.base, standing)
        call = Call(
            name=site.base if number < 2 else f"{site.base}#{number}",
            activation=site.activation,
            shape=tensor.shape,
            called=site.called,
            sums=CallSums.of_input(tensor, self.features, by_gradients=site.called.numbers > 1),
            traced=torch.is_grad_enabled(),
        )
        (self._recomputed if recomputed else self._calls).append(call)
        return call

    def _receiver(self, sums: CallSums) -> Callable[[Tensor | None, Tensor], None]:
        def receive(arrived: Tensor | None, sent: Tensor) -> None:
            with self.measuring():
                sums.add_gradients(arrived, sent, self._saturation)

        return receive


def _on_host(calls: list[Call]) -> list[Call]:
    """Copies of calls with all their sums on the host, and nothing that has a number for each unit."""
    calls = [replace(call, sums=replace(call.sums, extremes=None, answers=None)) for call in calls]
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


def _pairs(traced: Sequence[bool], calls: Sequence[Call], recomputed: Sequence[Call]) -> Iterator[tuple[int, int]]:
    """Places of calls without a graph, and of those that a checkpoint made of them in the backward pass."""
    waiting = [index for index, is_traced in enumerate(traced) if not is_traced]
    for place, repeat in enumerate(recomputed):
        same = next((index for index in waiting if _same(calls[index], repeat)), None)
        if same is not None:
            waiting.remove(same)
            yield same, place


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
