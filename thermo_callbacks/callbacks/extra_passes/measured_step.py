"""The step that an extra pass is about: parameters and gradients before it, its batches, and the batch after it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from thermo_callbacks.probes.curvature.buffers import KeptMemory
from thermo_callbacks.probes.guard import RandomState
from thermo_callbacks.probes.parameters.stated import parameters_of
from thermo_callbacks.probes.real_numbers import as_real
from thermo_callbacks.probes.replay import Replay, ReplayError
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
                self.values[parameter] = self._copy(parameter, "value", as_real(local_part(parameter.detach())), 1.0)
                if self.keeps_gradients and parameter.grad is not None:
                    gradient = as_real(local_part(parameter.grad.detach(), parameter).to_dense())
                    self.gradients[parameter] = self._copy(parameter, "gradient", gradient, factor)

    @property
    def displacements(self) -> dict[nn.Parameter, Tensor]:
        """How far the step has moved each parameter; to be asked before the next step."""
        return {parameter: as_real(local_part(parameter.detach())) - value for parameter, value in self.values.items()}

    def state_dict(self) -> dict[str, Any]:
        """What is kept of the step, for a checkpoint: tensors on the CPU and plain values; empty where it can't be."""
        # a checkpoint holds what the first process knows, and the batches of others are not among it
        if self._trainer.world_size > 1 or not self.values or not all(is_plain(kept.batch) for kept in self.batches):
            return {}
        places = {parameter: place for place, parameter in enumerate(self._all_parameters())}
        return {
            "values": {places[p]: value.to("cpu", copy=True) for p, value in self.values.items()},
            "gradients": {places[p]: value.to("cpu", copy=True) for p, value in self.gradients.items()},
            "batches": [
                {
                    "batch": on_device(kept.batch, torch.device("cpu")),
                    "batch_idx": kept.batch_idx,
                    "random_state": kept.random_state and kept.random_state.state_dict(),
                }
                for kept in self.batches
            ],
        }

    def load_state_dict(self, state: dict[str, Any]) -> bool:
        """Go on with the step that :meth:`state_dict` was taken of; False if its parameters are others now."""
        parameters = self._all_parameters()
        values = state["values"]
        if not all(place < len(parameters) and parameters[place].shape == v.shape for place, v in values.items()):
            return False
        device = self._trainer.strategy.root_device
        self.values = {parameters[place]: value.to(parameters[place].device) for place, value in values.items()}
        gradients = state["gradients"].items()
        self.gradients = {parameters[place]: value.to(parameters[place].device) for place, value in gradients}
        self.batches = [
            StepBatch(
                on_device(kept["batch"], device),
                kept["batch_idx"],
                kept["random_state"] and RandomState.of(kept["random_state"], device),
            )
            for kept in state["batches"]
        ]
        return True

    def _all_parameters(self) -> list[nn.Parameter]:
        return [parameter for optimizer in self._trainer.optimizers for parameter in _parameters(optimizer)]

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


def check_trained(layers: Mapping[str, Sequence[nn.Parameter]]) -> None:
    """Refuse to measure a loss by parameters where there are none."""
    if not layers:
        raise ReplayError(
            "no parameter of the watched layers is trained: none that an optimizer holds requires a gradient"
        )


def is_plain(batch: Any) -> bool:
    """Whether a batch holds tensors and plain values only, which torch loads with ``weights_only``."""
    if type(batch) in {list, tuple}:
        return all(map(is_plain, batch))
    if type(batch) is dict:
        return all(map(is_plain, batch.keys())) and all(map(is_plain, batch.values()))
    return type(batch) in {Tensor, int, float, bool, str, type(None)}


def on_device(batch: Any, device: torch.device) -> Any:
    """A copy of a plain batch on a device."""
    if isinstance(batch, (list, tuple)):
        return type(batch)(on_device(item, device) for item in batch)
    if isinstance(batch, dict):
        return {key: on_device(item, device) for key, item in batch.items()}
    return batch.to(device, copy=True) if isinstance(batch, Tensor) else batch


def _parameters(optimizer: Optimizer) -> Iterator[nn.Parameter]:
    """Parameters of an optimizer; a compressed one has no coordinates to move, and stays as it is in a replay."""
    return (parameter for parameter in parameters_of(optimizer) if parameter.layout == torch.strided)
