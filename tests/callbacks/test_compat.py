"""What is asked of Lightning, and what happens where it is missing or says nothing."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import lightning.pytorch
import pytest
import pytorch_lightning
import torch
from lightning.pytorch.plugins import MixedPrecision, Precision
from torch import nn
from torch.optim import SGD
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, RandomSampler, SequentialSampler

from thermo_callbacks.callbacks import compat as _compat
from thermo_callbacks.callbacks.compat import (
    gradient_scale,
    loader_batch_size,
    logging_step,
    samples_in,
    shuffled_samples,
)


def compat_with(monkeypatch: pytest.MonkeyPatch, *namespaces: str) -> ModuleType:
    """The module as if only some of the namespaces were installed."""
    spec = importlib.util.spec_from_file_location("compat_alone", _compat.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name in namespaces else None)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("installed", "bases"),
    [
        (("lightning",), (lightning.pytorch.Callback,)),
        (("pytorch_lightning",), (pytorch_lightning.Callback,)),
        (("lightning", "pytorch_lightning"), (pytorch_lightning.Callback, lightning.pytorch.Callback)),
    ],
)
def test_callback_is_one_of_every_namespace_there_is(
    installed: tuple[str, ...], bases: tuple[type, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(compat_with(monkeypatch, *installed).Callback.__bases__) == set(bases)


@pytest.mark.slow
@pytest.mark.parametrize("own", ["lightning.pytorch", "pytorch_lightning"])
def test_messages_still_come_from_the_namespace_that_was_imported_first(own: str) -> None:
    """Each namespace takes over the common logger when it is imported; the user may have silenced one of them."""
    script = f"""
import {own}
from lightning_utilities.core import rank_zero
before = rank_zero.log
import thermo_callbacks.callbacks
assert rank_zero.log is before, rank_zero.log
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_functions_do_not_import_lightning() -> None:
    script = "import sys, thermo_callbacks.functional; assert not {'lightning', 'pytorch_lightning'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_without_lightning_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"needs PyTorch Lightning: install it with `pip install lightning`"):
        compat_with(monkeypatch)


def trainer(loader: Any) -> Any:
    return SimpleNamespace(train_dataloader=loader)


def test_a_loader_or_its_sampler_tells_the_batch_size() -> None:
    assert loader_batch_size(trainer(DataLoader(range(10), batch_size=5))) == 5
    sampler = BatchSampler(SequentialSampler(range(10)), batch_size=4, drop_last=True)
    assert loader_batch_size(trainer(DataLoader(range(10), batch_sampler=sampler))) == 4


@pytest.mark.parametrize("loader", [[1, 2], DataLoader(range(10), batch_size=None), {"a": DataLoader(range(3))}, None])
def test_what_does_not_tell_its_batch_size_has_none(loader: Any) -> None:
    assert loader_batch_size(trainer(loader)) is None


@dataclass
class Pair:
    inputs: torch.Tensor
    label: str


@pytest.mark.parametrize(
    ("batch", "declared", "samples"),
    [
        ((torch.zeros(4, 3), torch.zeros(4)), 4, 4),
        ((torch.zeros(3, 3), torch.zeros(3)), 4, 3),  # the last one of an epoch
        ((torch.zeros(7, 4), torch.zeros(4)), 4, 4),  # time first
        ({"inputs": torch.zeros(6, 2), "scale": torch.tensor(1.0)}, None, 6),
        (Pair(torch.zeros(5, 2), "x"), None, 5),
        ([torch.zeros(9, 2), torch.zeros(20, 2)], 3, 3),  # nodes and edges of three graphs
        ([torch.zeros(9, 2), torch.zeros(20, 2)], None, None),
        ("words", 8, 8),
        ("words", None, None),
    ],
)
def test_samples_are_counted_in_the_batch(batch: Any, declared: int | None, samples: int | None) -> None:
    assert samples_in(batch, declared) == samples


def test_what_batches_are_drawn_from_without_replacement() -> None:
    data = range(50)
    distributed = DistributedSampler(data, num_replicas=2, rank=0)
    assert shuffled_samples(trainer(DataLoader(data, shuffle=True))) == 50.0
    assert shuffled_samples(trainer(DataLoader(data, sampler=distributed))) == 50.0
    replaced = RandomSampler(data, replacement=True)
    for loader in (DataLoader(data), DataLoader(data, sampler=replaced), [1, 2]):
        assert shuffled_samples(trainer(loader)) == math.inf


def test_logging_step_falls_back_on_the_number_of_steps() -> None:
    loop = SimpleNamespace(_batches_that_stepped=5)
    assert logging_step(SimpleNamespace(global_step=10, fit_loop=SimpleNamespace(epoch_loop=loop))) == 5
    assert logging_step(SimpleNamespace(global_step=10, fit_loop=SimpleNamespace())) == 10


@pytest.mark.parametrize(("fused", "expected"), [(True, 1 / 1024), (False, 1.0)])
def test_only_fused_optimizers_get_scaled_gradients(fused: bool, expected: float) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(torch.ones(()))  # the scale is made at its first use
    owner = SimpleNamespace(precision_plugin=MixedPrecision("16-mixed", "cpu", scaler=scaler))
    optimizer = SGD([nn.Parameter(torch.zeros(2))], lr=0.1, fused=fused)
    assert float(gradient_scale(owner, optimizer)) == expected


def test_without_a_scaler_gradients_are_what_they_are() -> None:
    optimizer = SGD([nn.Parameter(torch.zeros(2))], lr=0.1, fused=True)
    assert gradient_scale(SimpleNamespace(precision_plugin=Precision()), optimizer) == 1.0
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    plugin = MixedPrecision("16-mixed", "cpu", scaler=scaler)
    assert gradient_scale(SimpleNamespace(precision_plugin=plugin), optimizer) == 1.0
