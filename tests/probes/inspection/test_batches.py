"""What is kept of batches of many shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from thermo_callbacks.probes.inspection.batches import FEATURES, MOST_BATCHES, BatchMoments, BatchProbe


def taken(*batches: Any) -> BatchMoments | None:
    probe = BatchProbe()
    for batch in batches:
        probe.add(batch)
    return probe.take()


def known(moments: BatchMoments | None) -> BatchMoments:
    assert moments is not None
    return moments


def test_moments_are_those_of_each_batch() -> None:
    batches = [torch.randn(5, 3, generator=torch.Generator().manual_seed(seed)) for seed in range(4)]
    found = known(taken(*batches))
    assert torch.allclose(found.means, torch.stack([each.double().mean(0) for each in batches]), atol=1e-6)
    assert torch.allclose(found.variances, torch.stack([each.double().var(0) for each in batches]), atol=1e-6)
    assert (found.samples, found.inputs.tolist()) == (5, [True] * 3)


@dataclass
class Holder:
    inputs: Tensor
    targets: Tensor


@pytest.mark.parametrize("pack", [tuple, list, lambda pair: {"x": pair[0], "y": pair[1]}, lambda pair: Holder(*pair)])
def test_tensors_are_found_in_what_loaders_give(pack: Any) -> None:
    pair = (torch.randn(6, 2), torch.arange(6))
    found = known(taken(pack(pair)))
    assert found.means.shape == (1, 3)
    assert found.inputs.tolist() == [True, True, False]  # labels are no inputs
    assert float(found.means[0, 2]) == 2.5


def test_targets_of_a_regression_are_no_inputs() -> None:
    assert known(taken((torch.randn(6, 2), torch.randn(6, 1)))).inputs.tolist() == [True, True, False]


def test_of_large_samples_some_features_are_kept_without_a_copy_of_all() -> None:
    images = torch.randn(4, 3, 32, 32).transpose(1, 3)  # not contiguous
    found = known(taken(images))
    assert found.means.shape == (1, FEATURES)
    flat = images.mean(0).double().flatten()
    places = ((torch.arange(FEATURES).double() + 0.5) * flat.numel() / FEATURES).long()
    assert torch.allclose(found.means[0], flat[places], atol=1e-6)


def test_one_sample_has_no_variance() -> None:
    assert known(taken(torch.randn(1, 3), torch.randn(1, 3))).variances.isnan().all()


def test_a_last_batch_of_another_size_is_passed_over() -> None:
    assert known(taken(torch.zeros(5, 3), torch.zeros(5, 3), torch.zeros(2, 3))).means.shape == (2, 3)


@pytest.mark.parametrize(
    "batch", [None, "text", torch.tensor(1.0), [], {"a": 3}, torch.empty(0, 3), torch.zeros(3, 2) * 1j]
)
def test_what_has_no_samples_is_nothing(batch: Any) -> None:
    assert taken(batch) is None


def test_memory_is_bounded() -> None:
    assert len(known(taken(*[torch.zeros(2, 3)] * (MOST_BATCHES + 9))).means) == MOST_BATCHES


def test_broken_numbers_show_in_the_means() -> None:
    batch = torch.zeros(4, 3)
    batch[2, 1] = torch.nan
    assert known(taken(batch)).means.isnan().tolist() == [[False, True, False]]


def test_a_probe_goes_on_from_its_state() -> None:
    whole, part, rest = BatchProbe(), BatchProbe(), BatchProbe()
    batches = [(torch.randn(5, 3), torch.arange(5)) for _ in range(4)]
    for place, batch in enumerate(batches):
        whole.add(batch)
        if place < 2:
            part.add(batch)
    rest.load_state_dict(part.state_dict())
    for batch in batches[2:]:
        rest.add(batch)
    for one, other in zip(known(whole.take()), known(rest.take()), strict=True):
        assert one is other or (torch.equal(one, other) if isinstance(one, Tensor) else one == other)


def test_a_batch_is_left_as_it_is() -> None:
    inputs = torch.randn(5, 3, requires_grad=True)
    before = inputs.detach().clone()
    known(taken(inputs))
    assert torch.equal(inputs.detach(), before)
    assert inputs.grad is None
