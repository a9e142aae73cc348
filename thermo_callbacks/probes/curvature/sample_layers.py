"""What a direction of a layer's weights that differs from sample to sample does to the layer's output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from thermo_callbacks.functional.curvature.rademacher import rademacher
from thermo_callbacks.functional.curvature.sample_directions import (
    Factor,
    SampleSigns,
    bias_shift,
    convolution_shift,
    embedding_shift,
    linear_shift,
    scaled_signs,
)

KERNEL = 64
"""Positions of a kernel up to which a convolution is probed: in large layers each costs a small convolution."""
Factors = Callable[[Tensor], Factor]
"""What each coordinate of a leaf is multiplied by."""
Shift = Callable[[Factors], Tensor]
"""Shift of a call's output by the direction of its leaves."""
Arguments = Mapping[str, Any]
"""Arguments of a call by name, and its output under ``"output"``."""


@dataclass(frozen=True)
class SampleLayout:
    """Where the samples are in a tensor: along the first dimension, or each with several of its rows."""

    samples: int
    rows: int = 1

    def by_sample(self, tensor: Tensor) -> Tensor:
        """The tensor with one entry of the first dimension for each sample."""
        return tensor if self.rows == 1 else tensor.reshape(self.samples, self.rows, *tensor.shape[1:])

    def spread(self, values: Tensor, ndim: int) -> Tensor:
        """A value for each sample, ``[B]``, to be broadcast with a tensor."""
        own = values.unsqueeze(1).expand(-1, self.rows).reshape(-1)
        return own.view(-1, *[1] * (ndim - 1))


class Found(NamedTuple):
    """The leaves of a call that are probed, the shift of its output, and where the samples are in that."""

    leaves: tuple[Tensor, ...]
    shift: Shift
    layout: SampleLayout


class Recorder(Protocol):
    """What a call may ask."""

    samples: int
    generator: torch.Generator
    coupled: bool

    def watched(self, leaf: Any) -> Tensor | None:
        """A weight if it may be probed."""

    def repeated(self, *leaves: Tensor | None) -> bool:
        """Whether one of the leaves is used more than once."""

    def known(self, inputs: Tensor, *leaves: Tensor | None) -> Tensor:
        """Inputs of a call, with their graph where it matters."""

    def signs(self, leaf: Tensor) -> SampleSigns:
        """Signs of a leaf."""

    def layout(self, inputs: Tensor) -> SampleLayout | None:
        """Where the samples are in the inputs of a matrix."""


def _leaves(*leaves: Tensor | None) -> tuple[Tensor, ...]:
    return tuple(leaf for leaf in leaves if leaf is not None)


def _lifted(recorder: Recorder, leaf: Tensor, ndim: int, channel: int, factor: Factor) -> Tensor:
    return bias_shift(recorder.signs(leaf).each(1.0), ndim, channel, factor)


def _linear(recorder: Recorder, given: Arguments) -> Found | None:
    matrix, own = recorder.watched(given["weight"]), recorder.watched(given.get("bias"))
    leaves, layout, output = _leaves(matrix, own), recorder.layout(given["input"]), given["output"]
    if layout is None or not leaves:
        return None
    inputs = layout.by_sample(recorder.known(given["input"], *leaves))
    if matrix is not None and inputs.ndim == 2 and not recorder.repeated(*leaves):
        return Found(leaves, _of_vectors(recorder, output, inputs, matrix, own), layout)

    def shift(factor: Factors) -> Tensor:
        total = inputs.new_zeros(())
        if matrix is not None:
            total = linear_shift(inputs, recorder.signs(matrix), factor(matrix))
        if own is not None:
            total = total + _lifted(recorder, own, inputs.ndim, inputs.ndim - 1, factor(own))
        return total.expand(*inputs.shape[:-1], output.shape[-1]).reshape(output.shape)

    return Found(leaves, shift, layout)


def _of_vectors(recorder: Recorder, output: Tensor, inputs: Tensor, matrix: Tensor, own: Tensor | None) -> Shift:
    """Shift of the output of samples of one vector each."""
    (signs,) = rademacher([output.detach()], recorder.generator)

    def shift(factor: Factors) -> Tensor:
        lift = 1.0 if own is None else factor(own)
        return scaled_signs(signs, inputs, factor(matrix), lift, has_bias=own is not None)

    return shift


def _embedding(recorder: Recorder, given: Arguments) -> Found | None:
    table, indices = recorder.watched(given["weight"]), given["input"]
    unusual = given.get("max_norm") or given.get("scale_grad_by_freq")
    # indices in a row may be those of positions, which all samples share
    if table is None or indices.ndim < 2 or indices.shape[0] != recorder.samples or unusual:
        return None
    padding = given.get("padding_idx")

    def shift(factor: Factors) -> Tensor:
        moved = embedding_shift(indices, recorder.signs(table), factor(table))
        # autograd leaves the padding without a gradient
        return moved if padding is None else moved * (indices != padding % len(table)).unsqueeze(-1)

    return Found((table,), shift, SampleLayout(recorder.samples))


def _norm(
    recorder: Recorder, given: Arguments, channel: int, normalise: Callable[[Tensor], Tensor]
) -> Found | None:  # fmt: skip
    """A gain and a bias for each entry of one dimension."""
    gain, own = recorder.watched(given.get("weight")), recorder.watched(given.get("bias"))
    leaves = _leaves(gain, own)
    if not leaves or given["input"].shape[0] != recorder.samples or any(leaf.ndim != 1 for leaf in leaves):
        return None
    inputs = recorder.known(given["input"], *leaves)

    def shift(factor: Factors) -> Tensor:
        total = inputs.new_zeros(())
        if gain is not None:
            total = normalise(inputs) * _lifted(recorder, gain, inputs.ndim, channel, factor(gain))
        if own is not None:
            total = total + _lifted(recorder, own, inputs.ndim, channel, factor(own))
        return total.expand(inputs.shape)

    return Found(leaves, shift, SampleLayout(recorder.samples))


def _layer_norm(recorder: Recorder, given: Arguments) -> Found | None:
    shape, eps = given["normalized_shape"], given.get("eps", 1e-5)
    return _norm(recorder, given, given["input"].ndim - 1, lambda x: functional.layer_norm(x, shape, eps=eps))


def _rms_norm(recorder: Recorder, given: Arguments) -> Found | None:
    shape, eps = list(given["normalized_shape"]), given.get("eps")
    return _norm(recorder, given, given["input"].ndim - 1, lambda x: functional.rms_norm(x, shape, eps=eps))


def _group_norm(recorder: Recorder, given: Arguments) -> Found | None:
    groups, eps = given["num_groups"], given.get("eps", 1e-5)
    return _norm(recorder, given, 1, lambda x: functional.group_norm(x, groups, eps=eps))


def _batch_norm(recorder: Recorder, given: Arguments) -> Found | None:
    recorder.coupled = recorder.coupled or bool(given.get("training", False))
    return None


def _convolution(recorder: Recorder, given: Arguments) -> Found | None:
    weight, output, padding = given["weight"], given["output"], given.get("padding", 0)
    kernel, own = recorder.watched(weight), recorder.watched(given.get("bias"))
    leaves, places = _leaves(kernel, own), weight.ndim - 2
    fits = output.ndim == weight.ndim and output.shape[0] == recorder.samples and weight[0, 0].numel() <= KERNEL
    if not leaves or not fits or (isinstance(padding, str) and padding != "valid"):
        return None
    inputs = recorder.known(given["input"], *leaves)
    pads = _each(0 if padding == "valid" else padding, places)
    moves, steps = _each(given.get("stride", 1), places), _each(given.get("dilation", 1), places)
    groups = given.get("groups", 1)

    def shift(factor: Factors) -> Tensor:
        total = inputs.new_zeros(())
        if kernel is not None:
            total = convolution_shift(inputs, recorder.signs(kernel), moves, pads, steps, groups, factor(kernel))
        if own is not None:
            total = total + _lifted(recorder, own, inputs.ndim, 1, factor(own))
        return total.expand(output.shape)

    return Found(leaves, shift, SampleLayout(recorder.samples))


def _each(value: int | Sequence[int], count: int) -> list[int]:
    numbers = [value] if isinstance(value, int) else list(value)
    return numbers * count if len(numbers) == 1 else numbers


_CONVOLUTION = (("input", "weight", "bias", "stride", "padding", "dilation", "groups"), _convolution)
LAYERS: Mapping[Any, tuple[Sequence[str], Callable[[Recorder, Arguments], Found | None]]] = {
    functional.linear: (("input", "weight", "bias"), _linear),
    functional.embedding: (
        ("input", "weight", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse"),
        _embedding,
    ),
    functional.layer_norm: (("input", "normalized_shape", "weight", "bias", "eps"), _layer_norm),
    functional.rms_norm: (("input", "normalized_shape", "weight", "eps"), _rms_norm),
    functional.group_norm: (("input", "num_groups", "weight", "bias", "eps"), _group_norm),
    functional.batch_norm: (
        ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"),
        _batch_norm,
    ),
    functional.conv1d: _CONVOLUTION,
    functional.conv2d: _CONVOLUTION,
    functional.conv3d: _CONVOLUTION,
}
"""Functions with a weight whose output a direction shifts sample by sample: names of their arguments, and how."""
OTHER_OPERATIONS = frozenset(
    {
        functional.scaled_dot_product_attention,
        functional.multi_head_attention_forward,
        torch.lstm,
        torch.gru,
        torch.rnn_tanh,
        torch.rnn_relu,
    }
)
"""Functions whose fused operations have no second derivative: a replay that takes one has plain ones."""
