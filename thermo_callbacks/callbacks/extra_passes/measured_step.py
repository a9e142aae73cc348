"""The step that an extra pass is about: parameters and gradients before it, its batches, and the batch after it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from thermo_callbacks.probes.curvature.buffers import KeptMemory
from thermo_callbacks.probes.guard import RandomState
from thermo_callbacks.probes.replay import Replay
from thermo_callbacks.probes.replay.losses import StepBatch
from thermo_callbacks.probes.sharding import local_part


@dataclass(frozen=True)
class FreshGradient:
    """Loss and gradients of the batch after the step, at the parameters before it."""

    loss: Tensor
    gradients: dict[nn.Parameter, Tensor]  # of what had one


class MeasuredStep:
    """What the collectors of an extra pass need of one step, copied once for all of them.

    The batch after the step knows nothing of the parameters before it, and nothing of the step's own batches: two
    gradients at one place with independent noise. Gradients and batches are kept where a collector asks for them.
    """

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self._memory = KeptMemory()
        self.keeps_gradients = self.keeps_batches = False
        self.values: dict[nn.Parameter, Tensor] = {}  # this process's parts of the parameters before the step
        self.gradients: dict[nn.Parameter, Tensor] = {}  # of the mean loss, before clipping
        self.batches: list[StepBatch] = []  # that the step's gradient is made of, with dropout's masks
        self.fresh: FreshGradient | None = None  # from the collector that measures it first
        self.replays: Sequence[Replay] = ()  # of the training step, which the collectors share

    def add_batch(self, batch: Any, batch_idx: int) -> None:
        """A batch is about to be run for the step: keep it as it is now, since the step may write to it."""
        if not self.keeps_batches:
            return
        try:
            kept = copy.deepcopy(batch)
        except Exception:  # whatever an object that can't be copied raises: the object itself must do
            kept = batch
        self.batches.append(StepBatch(kept, batch_idx, RandomState(self._trainer.strategy.root_device)))

    def keep(self, scale: Callable[[], Any]) -> None:
        """An optimizer is about to step: copy parameters and gradients; ``scale()`` makes these the mean loss's."""
        if self.values:  # another collector did, LBFGS evaluates its closure again, or another optimizer has stepped
            return
        factor = scale()
        for optimizer in self._trainer.optimizers:
            for parameter in _parameters(optimizer):
                self.values[parameter] = self._copy(parameter, "value", local_part(parameter.detach()), 1.0)
                if self.keeps_gradients and parameter.grad is not None:
                    gradient = local_part(parameter.grad.detach(), parameter).to_dense()
                    self.gradients[parameter] = self._copy(parameter, "gradient", gradient, factor)

    @property
    def displacements(self) -> dict[nn.Parameter, Tensor]:
        """How far the step has moved each parameter; to be asked before the next step."""
        return {parameter: local_part(parameter.detach()) - value for parameter, value in self.values.items()}

    def clear(self) -> None:
        """The extra pass has ended."""
        self.values, self.gradients, self.batches, self.fresh = {}, {}, [], None
        self._memory.rest()

    def close(self) -> None:
        """Drop the memory as well."""
        self.clear()
        self._memory.drop()
        for replay in self.replays:
            replay.end_watch()

    def _copy(self, parameter: nn.Parameter, kind: str, source: Tensor, factor: Tensor | float) -> Tensor:
        """A copy of a parameter's tensor, times a factor."""
        place = self._memory.like((kind, parameter), source)
        if isinstance(factor, float) and factor == 1.0:
            return place.copy_(source)
        return torch.mul(source, factor, out=place)


def _parameters(optimizer: Optimizer) -> Iterator[nn.Parameter]:
    return (parameter for group in optimizer.param_groups for parameter in group["params"])
