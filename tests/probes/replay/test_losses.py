"""Mean loss and gradient of a step's batches, where some of them have no loss."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from thermo_callbacks.probes.replay import Replay, SkippedBatch
from thermo_callbacks.probes.replay.losses import StepBatch, mean_gradient, mean_loss


def loss_or_none(module: nn.Module, batch: Any) -> Tensor | None:
    return None if batch is None else module(batch).square().mean()


def test_batches_without_a_loss_are_left_out_of_the_mean() -> None:
    layer = nn.Linear(1, 1, bias=False).double()
    replay = Replay(layer, loss_fn=loss_or_none)
    values = {layer.weight: torch.tensor([[2.0]], dtype=torch.float64)}
    given = [torch.ones(1, 1).double(), None, 3.0 * torch.ones(1, 1).double()]
    batches = [StepBatch(batch, number) for number, batch in enumerate(given)]
    loss, gradients = mean_gradient(replay, values, batches)
    assert loss.item() == mean_loss(replay, values, batches).item() == (4.0 + 36.0) / 2
    assert gradients[layer.weight].item() == (2 * 2.0 + 2 * 2.0 * 9.0) / 2


@pytest.mark.parametrize("mean", [mean_loss, mean_gradient])
def test_without_any_loss_there_is_no_mean(mean: Any) -> None:
    layer = nn.Linear(1, 1, bias=False)
    with pytest.raises(SkippedBatch, match="loss_fn returns None for batch 4"):
        mean(Replay(layer, loss_fn=loss_or_none), {}, [StepBatch(None, 4)])
