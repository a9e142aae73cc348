"""Random directions of weights that differ from sample to sample, and what they do to a layer's output."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from thermo_callbacks.functional.curvature.rademacher import rademacher

Factor = Tensor | float
"""What to multiply a direction by: 1, or the mobility of each coordinate."""
_LARGE = 4  # how many times the output a kernel for each sample may hold


class SampleSigns(NamedTuple):
    r"""Signs of all coordinates of a weight for each of B samples, without a tensor of that size.

    .. math:: V_{i, o j k} = e_{i o}\, s_{i j}\, r_{i k}\, u_{o j k}, \qquad
              E\, V_{i, \alpha} V_{i', \alpha'} = \delta_{i i'}\, \delta_{\alpha \alpha'}

    with independent signs for each sample and each index of a dimension, and signs u that all samples share. Given u
    the expectation is the same, so that samples are independent replicates, and u takes the correlations away that
    a product of few signs has.
    """

    by_dimension: Sequence[Tensor]  # [B, size] for each dimension of the weight
    shared: Tensor  # in the weight's shape

    def mix(self, factor: Factor) -> Tensor:
        """The shared signs times a factor."""
        return self.shared * factor if isinstance(factor, Tensor) else self.shared

    def each(self, factor: Factor) -> Tensor:
        """Signs of each sample, ``[B, ...]``, times a factor."""
        signs = self.mix(factor).unsqueeze(0)
        for dimension, part in enumerate(self.by_dimension, start=1):
            signs = signs * part.view(len(part), *[-1 if place == dimension else 1 for place in range(1, signs.ndim)])
        return signs


def draw_signs(weight: Tensor, samples: int, generator: torch.Generator | None) -> SampleSigns:
    """Fresh signs for a weight of any shape."""
    empty = weight.new_empty(())
    shapes = [empty.expand(samples, size) for size in weight.shape]
    *by_dimension, shared = rademacher([*shapes, empty.expand(weight.shape)], generator)
    return SampleSigns(by_dimension, shared)


def scaled_signs(signs: Tensor, inputs: Tensor, weight: Factor, bias: Factor, *, has_bias: bool) -> Tensor:
    r"""Shift of a linear layer's output for samples of one vector each, ``[B, o]``.

    .. math:: \delta_{i o} = s_{i o} \sqrt{|x_i|^2 + 1}, \qquad
              \delta^m_{i o} = s_{i o} \frac{\sum_j m_{o j} x_{i j}^2 + m_o}{\sqrt{|x_i|^2 + 1}}

    the second with factors m; the 1 and the last :math:`m_o` are the bias's, if there is one. The outputs of a sample
    depend on a weight through :math:`x_{ij}` alone, so that :math:`\sum_j x_{ij}^2 \partial^2 L/\partial z_{io}^2` is
    all there is of its curvature: signs of the outputs find it with less scatter than signs of the weights.

    Args:
        signs: The signs s, ``[B, o]``.
        inputs: The inputs x, ``[B, d]``.
        weight: Factors of the weight, ``[o, d]`` or one number.
        bias: Factors of the bias, ``[o]`` or one number.
        has_bias: Whether there is a bias that is probed too.

    Returns:
        The shift with the factors; without any, that by the direction itself.
    """
    squares = inputs.square()
    norms = squares.sum(1, keepdim=True)
    scale = (norms + float(has_bias)).sqrt()
    if not isinstance(weight, Tensor) and not isinstance(bias, Tensor) and weight == bias == 1.0:
        return signs * scale
    moved = squares @ weight.T if isinstance(weight, Tensor) and weight.ndim else weight * norms
    if has_bias:
        moved = moved + bias
    return signs * torch.where(scale > 0.0, moved / scale, 0.0)


def linear_shift(inputs: Tensor, signs: SampleSigns, factor: Factor = 1.0) -> Tensor:
    """Outputs of a linear layer, ``[B, ..., d]`` to ``[B, ..., o]``, with signs in the place of its weight."""
    rows, columns = (_spread(part, inputs) for part in signs.by_dimension)
    return _times((inputs * columns) @ signs.mix(factor).T * rows, factor)


def embedding_shift(indices: Tensor, signs: SampleSigns, factor: Factor = 1.0) -> Tensor:
    """Outputs of an embedding, ``[B, ...]`` to ``[B, ..., d]``, with signs in the place of its weight."""
    rows, columns = signs.by_dimension
    own = rows.gather(1, indices.flatten(1)).view(*indices.shape, 1)
    shift = functional.embedding(indices, signs.mix(factor)) * own * _spread(columns, own)
    return _times(shift, factor)


def bias_shift(signs: Tensor, ndim: int, channel: int, factor: Factor = 1.0) -> Tensor:
    """Outputs with a bias's signs ``[B, o]`` in its place, to be broadcast; ``channel`` is the bias's dimension."""
    moved = signs * factor
    return moved.view(len(signs), *[-1 if place == channel else 1 for place in range(1, ndim)])


def convolution_shift(
    inputs: Tensor, signs: SampleSigns, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int],
    groups: int, factor: Factor = 1.0,
) -> Tensor:  # fmt: skip
    """Outputs of a convolution, ``[B, c, ...]`` to ``[B, o, ...]``, with signs in the place of its weight."""
    samples, places = len(inputs), inputs.ndim - 2
    padded = functional.pad(inputs, [side for size in reversed(padding) for side in (size, size)])
    reach = [
        (size - step * (kernel - 1) - 1) // move + 1
        for size, kernel, step, move in zip(padded.shape[2:], signs.shared.shape[2:], dilation, stride, strict=True)
    ]
    convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[places - 1]
    if signs.shared.numel() > _LARGE * signs.shared.shape[0] * math.prod(reach):
        return _times(_by_position(padded, signs, stride, dilation, groups, factor, reach, convolve), factor)
    # one convolution in which each sample is a group of its own
    kernels = signs.each(factor).flatten(0, 1)
    merged = padded.reshape(1, -1, *padded.shape[2:])
    shift = convolve(merged, kernels, stride=list(stride), dilation=list(dilation), groups=groups * samples)
    return _times(shift.view(samples, -1, *reach), factor)


def _by_position(
    padded: Tensor, signs: SampleSigns, stride: Sequence[int], dilation: Sequence[int], groups: int, factor: Factor,
    reach: Sequence[int], convolve: Callable[..., Tensor],
) -> Tensor:  # fmt: skip
    """The same without a kernel for each sample: position by position of the kernel, whose signs differ."""
    rows, columns, *places = signs.by_dimension
    weight = signs.mix(factor)
    signed = padded * _spread_channels(columns.repeat(1, groups), padded.ndim)
    parts = []
    for number, position in enumerate(itertools.product(*map(range, weight.shape[2:]))):
        cut = [
            slice(at * step, at * step + move * (length - 1) + 1, move)
            for at, step, move, length in zip(position, dilation, stride, reach, strict=True)
        ]
        kernel = weight.flatten(2)[:, :, number].reshape(*weight.shape[:2], *[1] * len(places))
        shift = convolve(signed[(slice(None), slice(None), *cut)], kernel, groups=groups)
        own = torch.stack([sign[:, at] for sign, at in zip(places, position, strict=True)]).prod(0)
        parts.append(shift * own.view(-1, *[1] * (padded.ndim - 1)))
    return functools.reduce(torch.add, parts) * _spread_channels(rows, padded.ndim)


def _times(shift: Tensor, factor: Factor) -> Tensor:
    """Times a factor that is one number; a tensor is in the signs already."""
    return shift if isinstance(factor, Tensor) or factor == 1.0 else shift * factor


def _spread(signs: Tensor, like: Tensor) -> Tensor:
    """Signs ``[B, n]`` along the first and the last dimension of a tensor."""
    return signs.view(len(signs), *[1] * (like.ndim - 2), -1)


def _spread_channels(signs: Tensor, ndim: int) -> Tensor:
    """Signs ``[B, n]`` along the first two dimensions of a tensor."""
    return signs.view(*signs.shape, *[1] * (ndim - 2))
