"""Copies share large data with the original and nothing else; a small Trainer is like the one it stands for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from integration.models import RecordingLogger, quiet_trainer
from lightning.pytorch import Callback
from lightning.pytorch.plugins import MixedPrecision
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from thermo_callbacks.callbacks.acting.trainer_copy import SHARED, copied, small_trainer


def test_large_data_is_shared_and_small_data_copied() -> None:
    large, small = torch.zeros(SHARED // 4), torch.zeros(SHARED // 4)[: SHARED // 8].clone()
    twin: Any = copied("data", TensorDataset(large[:, None], small[:, None].repeat(2, 1)[: len(large)]))
    assert twin.tensors[0].data_ptr() == large.data_ptr()
    (few,) = copied("data", TensorDataset(small)).tensors
    assert few.data_ptr() != small.data_ptr()


@pytest.mark.parametrize("how", ["shuffled", "sampler", "plain"])
def test_a_loader_draws_from_its_own_streams(how: str) -> None:
    generator = torch.Generator().manual_seed(3)
    data = TensorDataset(torch.arange(20.0))
    options: dict[str, Any] = {
        "shuffled": {"shuffle": True, "generator": generator},
        "sampler": {"sampler": WeightedRandomSampler([1.0] * 20, 20, generator=generator)},
        "plain": {},
    }[how]
    loader = DataLoader(data, batch_size=4, **options)
    state = generator.get_state()
    with torch.random.fork_rng(devices=[]):
        one = torch.cat([batch for (batch,) in copied("loader", loader)])
        two = torch.cat([batch for (batch,) in copied("loader", loader)])
    assert torch.equal(one, two)
    assert torch.equal(generator.get_state(), state)
    assert torch.equal(torch.cat([batch for (batch,) in loader]), one)


def test_a_loader_in_use_can_be_copied() -> None:
    loader = DataLoader(TensorDataset(torch.arange(20.0)), batch_size=4, num_workers=1, persistent_workers=True)
    first = next(iter(loader))
    twin = copied("loader", loader)
    assert twin._iterator is None
    assert torch.equal(next(iter(twin))[0], first[0])
    del twin
    loader._iterator._shutdown_workers()


def test_a_small_trainer_is_like_the_other() -> None:
    other = quiet_trainer(
        plugins=[MixedPrecision("16-mixed", "cpu")], gradient_clip_val=0.3, gradient_clip_algorithm="value",
        accumulate_grad_batches=2, limit_train_batches=7, logger=RecordingLogger(),
    )  # fmt: skip
    small = small_trainer(other, Callback(), 9)
    assert isinstance(small.precision_plugin, MixedPrecision)
    assert small.precision_plugin is not other.precision_plugin
    assert (small.gradient_clip_val, small.gradient_clip_algorithm) == (0.3, "value")
    assert (small.accumulate_grad_batches, small.limit_train_batches, small.max_steps) == (2, 7, 9)
    assert small.logger is not None
    assert small.logger is not other.logger


def test_the_namespace_is_that_of_the_trainer() -> None:
    import pytorch_lightning

    class Own(pytorch_lightning.Trainer):
        pass

    other = Own(accelerator="cpu", logger=False, enable_checkpointing=False)
    assert type(small_trainer(other, pytorch_lightning.Callback(), 5)) is pytorch_lightning.Trainer
