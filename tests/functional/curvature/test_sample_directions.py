"""Directions of each sample's own: their second moments, and what they do to a layer's output."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from oracles import normal
from torch import Tensor
from torch.nn import functional

from thermo_callbacks.functional.curvature.sample_directions import (
    SampleSigns,
    bias_shift,
    convolution_shift,
    draw_signs,
    embedding_shift,
    linear_shift,
    scaled_signs,
)

SAMPLES = 5


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def all_signs(count: int) -> Tensor:
    """Every vector of signs, one a row."""
    return torch.tensor(list(itertools.product([-1.0, 1.0], repeat=count)), dtype=torch.float64)


def test_signs_of_a_weight_are_uncorrelated_given_what_the_samples_share() -> None:
    # all choices of the samples' own signs: the mean over them is the expectation
    choices = all_signs(2 + 3 + 2)
    rows, columns, places = choices.split([2, 3, 2], 1)
    shared = draw_signs(torch.zeros(2, 3, 2, dtype=torch.float64), 1, generator()).shared
    signs = SampleSigns([rows, columns, places], shared).each(1.0).flatten(1)
    torch.testing.assert_close(signs.T @ signs / len(choices), torch.eye(12, dtype=torch.float64))
    assert (signs.abs() == 1.0).all()


def test_samples_have_signs_of_their_own() -> None:
    signs = draw_signs(torch.zeros(30, 40), 200, generator()).each(1.0).flatten(1)
    correlation = signs @ signs.T / signs.shape[1]
    assert (correlation.diagonal() == 1.0).all()
    correlation.fill_diagonal_(0.0)
    assert correlation.square().mean().sqrt() < 1.1 / 1200**0.5  # as of independent signs


def shift_of(kind: str, factor: Any, signs: SampleSigns) -> tuple[Tensor, Callable[[Tensor, int], Tensor]]:
    """A shift, and the output that one sample has with a weight."""
    if kind == "linear":
        inputs = normal(SAMPLES, 4, 3, seed=1)
        return linear_shift(inputs, signs, factor), lambda weight, i: functional.linear(inputs[i], weight)
    if kind == "embedding":
        indices = torch.randint(6, (SAMPLES, 4, 2), generator=generator())
        return embedding_shift(indices, signs, factor), lambda weight, i: functional.embedding(indices[i], weight)
    size, options = CONVOLUTIONS[kind]
    convolve = {3: functional.conv1d, 4: functional.conv2d, 5: functional.conv3d}[len(size)]
    inputs = normal(*size, seed=1)
    found = convolution_shift(
        inputs, signs, options["stride"], options["padding"], options["dilation"], options["groups"], factor
    )
    return found, lambda weight, i: convolve(inputs[i : i + 1], weight, **options)[0]


CONVOLUTIONS: dict[str, Any] = {
    "one dimension": ((SAMPLES, 2, 9), {"stride": [2], "padding": [1], "dilation": [2], "groups": 1}),
    "groups": ((SAMPLES, 4, 8, 7), {"stride": [2, 1], "padding": [1, 0], "dilation": [1, 2], "groups": 2}),
    "a kernel larger than the output": (
        (SAMPLES, 4, 3, 3), {"stride": [1, 2], "padding": [0, 1], "dilation": [1, 1], "groups": 2}
    ),
    "three dimensions": (
        (SAMPLES, 2, 5, 4, 3), {"stride": [2, 1, 1], "padding": [0, 1, 0], "dilation": [1, 1, 1], "groups": 1}
    ),
}  # fmt: skip
SHAPES = {
    "linear": (4, 3), "embedding": (6, 3), "one dimension": (3, 2, 3), "groups": (6, 2, 3, 2),
    "a kernel larger than the output": (6, 2, 3, 3), "three dimensions": (3, 2, 2, 3, 1),
}  # fmt: skip


@pytest.mark.parametrize("factor", [1.0, 0.3, "tensor"])
@pytest.mark.parametrize("kind", SHAPES)
def test_a_shift_is_the_output_with_the_signs_as_the_weight(kind: str, factor: Any) -> None:
    weight = torch.zeros(SHAPES[kind], dtype=torch.float64)
    factor = normal(*SHAPES[kind], seed=2) if factor == "tensor" else factor
    signs = draw_signs(weight, SAMPLES, generator())
    shift, output = shift_of(kind, factor, signs)
    expected = torch.stack([output(factor * signs.each(1.0)[i], i) for i in range(SAMPLES)])
    torch.testing.assert_close(shift, expected)


@pytest.mark.parametrize("factor", [0.3, "tensor"])
def test_the_shift_of_a_bias_is_the_same_along_the_rest(factor: Any) -> None:
    factor = normal(3, seed=2) if factor == "tensor" else factor
    signs = all_signs(3)
    shift = bias_shift(signs, 4, 1, factor).expand(8, 3, 2, 2)
    torch.testing.assert_close(shift, (signs * factor)[:, :, None, None].expand(8, 3, 2, 2))


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("kind", ["tensor", "number"])
def test_scaled_signs_find_the_trace_of_the_weights(has_bias: bool, kind: str) -> None:
    """All signs of the outputs: the mean of shift, Hessian of the outputs and shift is the weighted trace."""
    root = normal(3, 3, seed=3)
    hessian, inputs = root @ root.T, normal(1, 4, seed=4)
    weight = normal(3, 4, seed=5).abs() if kind == "tensor" else 0.7
    bias = normal(3, seed=6).abs() if kind == "tensor" else 0.4
    signs = all_signs(3)
    rows = inputs.expand(len(signs), 4)
    plain = scaled_signs(signs, rows, 1.0, 1.0, has_bias=has_bias)
    moved = scaled_signs(signs, rows, weight, bias, has_bias=has_bias)
    squares = torch.ones(3, 1, dtype=torch.float64) * inputs.square()
    for shift, factor, lift in ((plain, 1.0, 1.0), (moved, weight, bias)):
        exact = (hessian.diagonal() * ((squares * factor).sum(1) + has_bias * lift)).sum()
        torch.testing.assert_close(((shift @ hessian) * plain).sum(1).mean(), exact)


def test_a_sample_of_zeros_has_no_shift() -> None:
    shift = scaled_signs(torch.ones(1, 2), torch.zeros(1, 3), torch.ones(2, 3), 1.0, has_bias=False)
    assert (shift == 0.0).all()
