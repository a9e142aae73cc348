"""Entropy of weights: scale and place, what has none, and the error of a sample against many samples."""

from __future__ import annotations

import math

import pytest
import torch
from oracles import normal
from torch import nn

from thermo_callbacks.functional import vasicek_entropy
from thermo_callbacks.probes.layers import layer_parameters
from thermo_callbacks.probes.parameters.weights import Choices, entropy_change, weight_entropies


def parameter(*shape: int, seed: int, scale: float = 1.0) -> nn.Parameter:
    return nn.Parameter(scale * normal(*shape, seed=seed))


def test_each_tensor_has_the_entropy_of_its_elements() -> None:
    layers = {"a": [parameter(30, 4, seed=1), parameter(30, seed=2)], "b": [parameter(7, seed=3)]}
    found = weight_entropies(layers)
    assert found.keys() == layers.keys()
    for name, parameters in layers.items():
        for tensor, entropy in zip(parameters, found[name], strict=True):
            assert entropy.size == tensor.numel()
            assert entropy.entropy == pytest.approx(vasicek_entropy(tensor.detach().flatten()).item(), rel=1e-12)
            assert entropy.surprisals is None


def test_a_large_tensor_is_sampled_the_same_each_time() -> None:
    weight = parameter(100, 100, seed=4)
    [first], [again] = (weight_entropies({"layer": [weight]}, sample=500)["layer"] for _ in range(2))
    assert first.size == 10_000
    assert first.surprisals is not None
    assert first.surprisals.shape == (500,)
    assert first.entropy == again.entropy
    assert entropy_change([first], [again]) == (0.0, 0.0)
    for other in ({"sample": 500, "seed": 1}, {"sample": 499}):
        assert weight_entropies({"layer": [weight]}, **other)["layer"][0].entropy != first.entropy
    assert weight_entropies({"other": [weight]}, sample=500)["other"][0].entropy != first.entropy
    kept: Choices = {}
    for _ in range(2):
        assert weight_entropies({"layer": [weight]}, sample=500, choices=kept)["layer"][0].entropy == first.entropy
    assert [(name, size) for name, size, _ in kept] == [("layer/0", 10_000)]
    larger = weight_entropies({"layer": [parameter(300, 100, seed=4)]}, sample=500, choices=kept)["layer"][0]
    assert larger.size == 30_000
    assert len(kept) == 2
    twin = nn.Parameter(weight.detach().clone())
    both = weight_entropies({"layer": [weight, twin]}, sample=500)["layer"]
    assert both[0].entropy != both[1].entropy  # tensors of one layer are sampled apart
    assert weight_entropies({"layer": [weight]}, sample=None)["layer"][0].surprisals is None


@pytest.mark.parametrize("sample", [None, 200])
def test_a_change_of_scale_is_exact(sample: int | None) -> None:
    """N ln(2) for each tensor, whatever the estimator's bias, and with no error though only a sample is seen."""
    shapes = [(50, 40), (50,)]
    then, now = (
        weight_entropies({"l": [parameter(*shape, seed=5, scale=scale) for shape in shapes]}, sample=sample)["l"]
        for scale in (2.0, 1.0)
    )
    change = entropy_change(then, now)
    assert change.value == pytest.approx(2050 * math.log(2.0), rel=1e-9)
    assert change.variance == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("size", [20_000, 1500])
def test_sampling_error_covers_the_change_of_all_coordinates(size: int) -> None:
    sample = 1000
    start = normal(size, seed=6)
    end = 1.1 * start + 0.3 * normal(size, seed=7)
    then, now = (weight_entropies({"l": [nn.Parameter(x)]}, sample=None)["l"] for x in (start, end))
    exact = entropy_change(then, now).value
    scores = []
    for seed in range(100):
        sampled = [weight_entropies({"l": [nn.Parameter(x)]}, sample=sample, seed=seed)["l"] for x in (start, end)]
        change = entropy_change(*sampled)
        # a sample of 1000 has another bias than all 20,000, the same at both times
        scores.append((change.value - exact) / math.sqrt(change.variance))
        assert math.sqrt(change.variance) < 0.4 * size * math.sqrt(2 * 0.5 / sample)  # not that of two samples
    scatter = torch.tensor(scores).std().item()
    assert 0.75 < scatter < 1.3
    assert abs(torch.tensor(scores).mean().item()) < 0.6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_any_floating_dtype(dtype: torch.dtype) -> None:
    weight = nn.Parameter(normal(2000, seed=8).to(dtype))
    [entropy] = weight_entropies({"l": [weight]})["l"]
    assert entropy.entropy == pytest.approx(0.5 * math.log(2 * math.pi * math.e), abs=0.1)


def test_channels_last_weights() -> None:
    weight = parameter(8, 6, 5, 5, seed=9)
    strided = nn.Parameter(weight.detach().to(memory_format=torch.channels_last))
    for sample in (None, 100):
        first, second = (weight_entropies({"l": [x]}, sample=sample)["l"][0] for x in (weight, strided))
        assert first.entropy == second.entropy


def test_what_has_no_entropy() -> None:
    model = nn.Sequential(nn.LayerNorm(20), nn.Linear(20, 30), nn.Linear(30, 4))
    nn.init.zeros_(model[1].bias)
    found = weight_entropies(layer_parameters(model))
    assert [tensor.entropy for tensor in found["0"]] == [-math.inf, -math.inf]
    assert [math.isfinite(tensor.entropy) for tensor in found["1"]] == [True, False]
    assert math.isnan(found["2"][1].entropy)  # four biases show no density
    diverged = nn.Parameter(torch.full((10,), torch.nan))
    assert math.isnan(weight_entropies({"l": [diverged]})["l"][0].entropy)


def test_only_tensors_with_an_entropy_at_both_times_count() -> None:
    weight, bias = parameter(300, seed=10), parameter(50, seed=11)
    zero = nn.Parameter(torch.zeros(50))
    doubled = [nn.Parameter(2.0 * weight.detach()), nn.Parameter(2.0 * bias.detach())]
    state = {name: weight_entropies({"l": tensors})["l"] for name, tensors in {
        "zero bias": [weight, zero], "all": doubled, "pruned": [zero, doubled[1]], "bias": [weight, bias],
    }.items()}  # fmt: skip
    grown = -300.0 * math.log(2.0)
    assert entropy_change(state["zero bias"], state["all"]).value == pytest.approx(grown)
    assert entropy_change(state["all"], state["zero bias"]).value == pytest.approx(-grown)
    assert entropy_change(state["bias"], state["all"]).value == pytest.approx(350.0 / 300.0 * grown)
    assert math.isnan(entropy_change(state["zero bias"], state["pruned"]).value)


def test_nothing_of_the_model_changes() -> None:
    weight = parameter(100, 100, seed=12)
    before, random = weight.detach().clone(), torch.get_rng_state()
    weight_entropies({"l": [weight]}, sample=64)
    assert torch.equal(weight, before)
    assert weight.grad is None
    assert torch.equal(torch.get_rng_state(), random)


def test_too_small_a_sample() -> None:
    text = r"^sample must be at least 5 elements to show a density, or None for all, got 4$"
    with pytest.raises(ValueError, match=text):
        weight_entropies({"l": [parameter(10, seed=13)]}, sample=4)
