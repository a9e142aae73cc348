"""Loss and gradient of batches at given parameters, by replays without a trace."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from thermo_callbacks.probes.guard import RandomState
from thermo_callbacks.probes.real_numbers import as_real
from thermo_callbacks.probes.replay.replay import Replay, ReplayedLoss, SkippedBatch

Values = Mapping[nn.Parameter, Tensor]


class StepBatch(NamedTuple):
    """A batch with its number in the epoch, and the random numbers that it is to be run with; None for those now."""

    batch: Any
    batch_idx: int
    random_state: RandomState | None = None


def leaf(parameter: nn.Parameter, value: Tensor) -> nn.Parameter:
    """A value that takes the parameter's place, of at least single precision, and never the parameter's own memory."""
    value = as_real(value.detach())
    if value.dtype.itemsize < 4:
        value = value.float()
    elif value.data_ptr() == parameter.data_ptr():
        value = value.clone()
    return nn.Parameter(value, requires_grad=parameter.requires_grad)


def mean_loss(replay: Replay, values: Values, batches: Sequence[StepBatch]) -> Tensor:
    """Mean loss of some batches at given parameters, a scalar in double precision; as in the step, None is no loss."""
    losses = []
    skips = _Skips()
    for batch in batches:
        with skips, _evaluated(replay, values, batch) as (loss, _):
            losses.append(loss.value.detach().double())
    skips.check(losses)
    return torch.stack(losses).mean()


def mean_gradient(
    replay: Replay, values: Values, batches: Sequence[StepBatch]
) -> tuple[Tensor, dict[nn.Parameter, Tensor]]:
    """Mean loss of some batches at given parameters, and its gradient by those that have one; None is no loss."""
    losses: list[Tensor] = []
    sums: dict[nn.Parameter, Tensor] = {}
    skips = _Skips()
    for batch in batches:
        with skips, _evaluated(replay, values, batch) as (loss, leaves):
            losses.append(loss.value.detach().double())
            able = [parameter for parameter, place in leaves.items() if place.requires_grad]
            found = torch.autograd.grad(loss.value, [leaves[parameter] for parameter in able], allow_unused=True)
            for parameter, gradient in zip(able, found, strict=True):
                if gradient is not None:
                    dense = gradient.to_dense()
                    sums[parameter] = sums[parameter] + dense if parameter in sums else dense
    skips.check(losses)
    if len(losses) > 1:
        sums = {parameter: gradient / len(losses) for parameter, gradient in sums.items()}
    return torch.stack(losses).mean(), sums


class _Skips:
    """Goes on after a batch of a step that has no loss; without any loss there is nothing to be measured."""

    def __init__(self) -> None:
        self._last: SkippedBatch | None = None

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: Any, fault: BaseException | None, _: Any) -> bool:
        if not isinstance(fault, SkippedBatch):
            return False
        self._last = fault
        return True

    def check(self, losses: Sequence[Tensor]) -> None:
        """Raise where no batch had a loss."""
        if not losses and self._last is not None:
            raise self._last


@contextlib.contextmanager
def _evaluated(
    replay: Replay, values: Values, given: StepBatch
) -> Iterator[tuple[ReplayedLoss, dict[nn.Parameter, nn.Parameter]]]:
    leaves = {parameter: leaf(parameter, value) for parameter, value in values.items()}
    streams = contextlib.nullcontext() if given.random_state is None else given.random_state.again()
    with (
        torch.inference_mode(False),
        streams,
        replay.loss(leaves, given.batch, given.batch_idx, second_order=False) as loss,
    ):
        yield loss, leaves
