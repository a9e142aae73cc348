"""Run a training step again as a function of the parameters, without side effects."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from thermo_callbacks.probes.interrupts import finished, interruptible
from thermo_callbacks.probes.real_numbers import in_the_place_of
from thermo_callbacks.probes.replay.autograd_graph import read_graph
from thermo_callbacks.probes.replay.autograd_modes import differentiable
from thermo_callbacks.probes.replay.collectives import no_collectives
from thermo_callbacks.probes.replay.isolation import Isolation, IsolationError
from thermo_callbacks.probes.replay.namespaces import own_modules
from thermo_callbacks.probes.replay.outside import nothing_outside, silent_output
from thermo_callbacks.probes.replay.own_step import OwnStep
from thermo_callbacks.probes.replay.precision import default_precision
from thermo_callbacks.probes.replay.run_state import protect_run
from thermo_callbacks.probes.replay.silent_logging import silence_logging
from thermo_callbacks.probes.replay.stand_ins import is_narrow

ROOM = 2**28
"""Bytes that may be copied besides the batch and twice the parameters' own: room for networks that follow the trained
one, for metrics and queues of features, and none for a data set that hangs on the module."""
_CURE = "give loss_fn, a function of module and batch that returns the loss and does nothing else"


class ReplayError(RuntimeError):
    """A training step can't be run once more without a trace; the message says what to do."""


class TraceError(ReplayError):
    """A training step would leave a trace, or has left one."""

    def __init__(self, reason: str, *, left: bool = False) -> None:
        super().__init__(f"the training step can't be run once more without a trace, {reason}: {_CURE}")
        self.reason = reason
        self.left_trace = left  # it was found out by a replay that has done it


SKIPPED = "skipped batch"
"""Topic of what is told where the training step has no loss for a batch."""


class SkippedBatch(ReplayError):  # noqa: N818  not a fault
    """The training step gives this batch no loss."""


@dataclass(frozen=True)
class ReplayedLoss:
    """A loss with its graph.

    Attributes:
        value: The loss, a scalar.
        own_backward: Whether an operation has a backward pass of its own (``torch.autograd.Function``).
        others: Leaves of the graph besides the values: a backward pass would add to their ``.grad``.
        uses: How many operations use a leaf, by its identity.
        operations: A number that other operations hardly have.
    """

    value: Tensor
    own_backward: bool
    others: tuple[Tensor, ...]
    uses: Mapping[int, int] = field(default_factory=dict)
    operations: int = 0


@contextlib.contextmanager
def isolated(
    module: nn.Module, values: Mapping[nn.Parameter, Tensor], batch: Any = None, *, function: Any = None
) -> Iterator[Any]:
    """Run code of the user's, the training step or a part of the network, on copies of all that it may write to.

    Args:
        module: The whole module that is trained: whatever can be reached from it is as before in the end.
        values: What to put in the place of its parameters; others get copies.
        batch: A batch, whose tensors the code may write to as well.
        function: What is run, where it is none of the module's own methods.

    Yields:
        The batch to use.

    Raises:
        TraceError: If something can't be copied, or was written to and can't be put back.
    """
    isolation = _isolation(module, values)
    try:
        with finished(isolation.restore):
            _isolate(module, isolation, function)
            batch = isolation.replace(batch, "the batch", all_of_it=True)
            silence_logging(module, isolation)
            with nothing_outside(isolation.refuse), no_collectives(module, isolation.refuse), interruptible():
                yield batch
    except IsolationError as fault:
        raise TraceError(str(fault), left=fault.left) from None


def _isolation(module: nn.Module, values: Mapping[nn.Parameter, Tensor]) -> Isolation:
    room = ROOM + 2 * sum(value.numel() * value.element_size() for value in values.values())
    narrow = any(is_narrow(parameter.dtype) for parameter in module.parameters())
    return Isolation(_stand_ins(values), room, widen=narrow)


def _isolate(module: nn.Module, isolation: Isolation, function: Any) -> None:
    isolation.replace(module, type(module).__name__)
    protect_run(module, isolation)
    isolation.replace_globals(own_modules(module, function))


class Replay:
    """The loss of a batch as a function of the parameters.

    The training step is run with copies in the place of parameters, buffers, and all tensors, arrays and containers
    that can be reached from the module (metrics, counters, moving averages, queues) and from the batch, and with
    logging off. Whatever it changes is as before afterwards: attributes, training modes, hooks, random streams, also
    after an exception. Gradients of the run's parameters are never touched, and collectives of a distributed strategy
    don't happen.

    Settings of optimizers and schedulers, classes, closures, global variables of the user's own modules, files that are
    open and the environment are put back as well. What can't be put back is refused, with the cure ``loss_fn``: an
    optimizer's step, a file that is opened to be written to, a program, a message, an exchange with other processes
    (which would wait for one whose replay has failed). Tensors beyond ``ROOM`` and twice the parameters' size, an
    optimizer's state, data sets and objects written in C are not copied: :meth:`watch_own_step` sees beforehand whether
    the run's own step changes them. Code in C that writes by itself stays invisible.

    The curvature is that of the function in single precision: autocast is off, and 16-bit numbers are given as 32-bit
    ones, unless the step casts by itself.

    Args:
        pl_module: Module with a ``training_step``, the bare one where a strategy has wrapped it.
        loss_fn: Loss of a module and a batch, in place of the training step.

    Raises:
        ReplayError: If the module steps its optimizers by hand and there is no ``loss_fn``.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> replay = Replay(layer, loss_fn=lambda module, batch: module(batch).square().mean())
        >>> with replay.loss({layer.weight: torch.tensor([[3.0]])}, torch.ones(2, 1)) as loss:
        ...     loss.value
        tensor(9.)
    """

    def __init__(self, pl_module: Any, loss_fn: Callable[[Any, Any], Any] | None = None) -> None:
        if loss_fn is None and not getattr(pl_module, "automatic_optimization", True):
            raise ReplayError(f"the training step of {type(pl_module).__name__} steps its optimizers by hand: {_CURE}")
        self._module, self._loss_fn = pl_module, loss_fn
        self._own_step = OwnStep(pl_module, self._looks)
        self._fault = ""  # the trace that a replay was found to leave: there is no other replay after that

    def watch_own_step(self) -> None:
        """Look, once in a run, at what the training's next step changes that a replay could not put back.

        A step that does is never run again.
        """
        if self._loss_fn is None:
            self._own_step.watch()

    def end_watch(self) -> None:
        """Look no longer, where the training's next step has not come."""
        self._own_step.end()

    @contextlib.contextmanager
    def loss(
        self,
        values: Mapping[nn.Parameter, Tensor],
        batch: Any,
        batch_idx: int = 0,
        *,
        second_order: bool = True,
        within: contextlib.AbstractContextManager[Any] | None = None,
    ) -> Iterator[ReplayedLoss]:
        """Loss of a batch at given parameters.

        The values stay in place until the block ends, and backward passes belong into it: activation checkpointing runs
        parts of the step again during them. Two blocks one after the other see the same random numbers.

        Args:
            values: What to put in the place of the module's parameters, tied ones too; others keep their value. With
                requires_grad, the loss can be differentiated by them. A step that writes to its parameters writes
                to these.
            batch: The batch.
            batch_idx: Its number in the epoch.
            second_order: Choose operations that can be differentiated twice, attention and recurrent layers by plain
                implementations; else those that training uses.
            within: Entered while the step runs, and not while its state is copied or differentiated.

        Yields:
            The loss with its graph.

        Raises:
            TraceError: If the step can't be run without a trace.
            ReplayError: If it returns no scalar, or its loss reaches the parameters past the module.
            SkippedBatch: If the step returns no loss.
        """
        self.end_watch()
        self._fault = self._fault or self._own_step.fault
        if self._fault:
            raise TraceError(self._fault)
        device = next((p.device for p in self._module.parameters()), torch.device("cpu"))
        try:
            with differentiable(device, second_order=second_order), self._isolated(values, batch) as batch:
                yield self._evaluate(values, batch, batch_idx, within or contextlib.nullcontext())
        except TraceError as fault:
            self._fault = fault.reason
            raise

    def _isolated(self, values: Mapping[nn.Parameter, Tensor], batch: Any) -> contextlib.AbstractContextManager[Any]:
        return isolated(self._module, values, batch, function=self._loss_fn)

    def _looks(self) -> list[tuple[str, Callable[[], Any]]]:
        """What tells whether the step has changed what a replay can't put back."""
        isolation = _isolation(self._module, {parameter: parameter for parameter in self._module.parameters()})
        with torch.no_grad(), finished(isolation.restore):
            _isolate(self._module, isolation, None)
            return isolation.watch.looks()

    def _evaluate(
        self,
        values: Mapping[nn.Parameter, Tensor],
        batch: Any,
        batch_idx: int,
        within: contextlib.AbstractContextManager[Any],
    ) -> ReplayedLoss:
        step: Callable[..., Any] = self._module.training_step if self._loss_fn is None else self._loss_fn
        arguments = self._arguments(batch, batch_idx) if self._loss_fn is None else [self._module, batch]
        with default_precision(self._module), silent_output(), within:  # nothing of ours between this and the step
            outcome = step(*arguments)
        loss = outcome.get("loss") if isinstance(outcome, Mapping) else outcome
        source = "training_step" if self._loss_fn is None else "loss_fn"
        if loss is None:
            raise SkippedBatch(f"{source} returns None for batch {batch_idx}: no loss, no curvature")
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise ReplayError(
                f"{source} must return a scalar tensor, or a dict with one under 'loss', got {got}: {_CURE}"
            )
        graph = read_graph(loss)
        own = {id(value) for value in values.values()}
        others = [leaf for leaf in graph.leaves if id(leaf) not in own]
        self._refuse_originals(values, others)
        return ReplayedLoss(loss, graph.own_backward, tuple(others), graph.uses, graph.operations)

    def _refuse_originals(self, values: Mapping[nn.Parameter, Tensor], leaves: list[Tensor]) -> None:
        """Part of the loss would stay at the parameters that the run has now, and look like a constant."""
        originals = {id(parameter): id(value) for parameter, value in values.items()}
        past = [originals[id(leaf)] for leaf in leaves if id(leaf) in originals]
        if past:
            names = {id(value): name for name, value in self._module.named_parameters()}
            raise ReplayError(
                f"the loss reaches the parameter {names.get(past[0], 'of another module')} past the module, through an "
                f"optimizer or a closure, where it can't be replaced: {_CURE}"
            )

    def _arguments(self, batch: Any, batch_idx: int) -> list[Any]:
        """Arguments of the training step, by the same rules as Lightning's."""
        step = self._module.training_step
        parameters = inspect.signature(step).parameters.values()
        if any(parameter.name == "dataloader_iter" for parameter in parameters):
            if batch is None:
                raise ReplayError(f"training_step fetches its batch by itself, so there is none to replay: {_CURE}")
            return [iter([(batch, batch_idx, 0)])]
        places = [p for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
        if any(p.kind == p.VAR_POSITIONAL for p in parameters):
            return [batch, batch_idx]
        count = 3 if len(places) > 2 and places[2].name == "dataloader_idx" else 2
        return [batch, batch_idx, 0][: min(count, len(places))]


def _stand_ins(values: Mapping[nn.Parameter, Tensor]) -> dict[int, Tensor]:
    """What stands in the place of each parameter, by its identity: of a complex one, its real numbers as such."""
    with torch.enable_grad():
        return {id(parameter): in_the_place_of(parameter, value) for parameter, value in values.items()}
