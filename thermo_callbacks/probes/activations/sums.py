"""Sums over an activation's elements, on the device where they are, without keeping the elements."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils._python_dispatch import _disable_current_modes

from thermo_callbacks.functional.activations.activity import saturation_counts
from thermo_callbacks.functional.activations.flat import joined, unit_extremes
from thermo_callbacks.probes.guard import no_trace

REPLICATES = 512  # most groups of samples that are kept apart
PIECE = 2**21  # elements that are widened at a time: 16 MiB in double precision


@dataclass
class CallSums:
    """Sums of one call; ``[K]`` runs over replicates, groups of consecutive samples."""

    input_power: Tensor  # of squared inputs z, [K]
    input_sum: Tensor  # of z, a scalar
    elements: int
    units: int
    samples: int  # of each unit
    extremes: Tensor | None = None  # of the inputs of each unit, [4, units]
    output_power: Tensor | None = None  # of squared outputs a, [K]; as the next, None until the call has returned
    output_sum: Tensor | None = None  # of a, a scalar
    gradient_power: Tensor | None = None  # of squared gradients at z and at a, [2, K]; None without a backward pass
    slopes: Tensor | None = None  # elements with a slope below the threshold, and all that a gradient reaches, [2]
    answers: Tensor | None = None  # of each unit, whether a gradient reaches it, and comes through it, [2, units]
    dead: Tensor | None = None  # units that never leave the flat part, and all of which that is known, [2]
    by_gradients: bool = False  # the function is not one for all units: they are judged by their gradients
    features: int | None = None  # dimension of the units, None: all but the first

    @classmethod
    def of_input(cls, tensor: Tensor, features: int | None, *, by_gradients: bool = False) -> CallSums:
        """Start with the input z, of one dimension or more, before an in-place function writes over it."""
        # units lie along dimension features, or along all but the first
        with aside(tensor):
            rows = _rows(tensor)
            samples = _sample_dimensions(rows, features)
            power, total = _power(tensor)
            units = rows.numel() // _count(rows, samples)
            sums = cls(power, total, elements=rows.numel(), units=units, samples=rows.numel() // units)
            sums.by_gradients, sums.features = by_gradients, features
            if not by_gradients:
                sums.extremes = reduce(joined, (unit_extremes(piece, samples) for piece in _pieces(tensor)))
        return sums

    def add_output(self, tensor: Tensor) -> None:
        """Add the output."""
        with aside(tensor):
            self.output_power, self.output_sum = _power(tensor)

    def add_gradients(self, arrived: Tensor | None, sent: Tensor, threshold: float) -> None:
        """Add the gradients at input (None for zero) and output; slopes below ``threshold`` are saturated."""
        with aside(sent):
            arrived = torch.zeros_like(sent) if arrived is None else arrived
            powers, slopes = [], torch.zeros(2, dtype=torch.int64, device=sent.device)
            samples = _sample_dimensions(_rows(sent), self.features)
            for pair in zip(_pieces(arrived), _pieces(sent), strict=True):
                powers.append(torch.stack([_row_powers(gradient) for gradient in pair]))
                at_input, at_output = pair[0].abs(), pair[1].abs()
                slopes += saturation_counts(at_input, at_output, threshold)
                if self.by_gradients:
                    reached = at_output > 0.0
                    masks = torch.stack([reached, reached & (at_input >= threshold * at_output)])
                    self.add_answers(masks.amax([dimension + 1 for dimension in samples]).flatten(1))
            power = torch.stack([_replicates(rows) for rows in torch.cat(powers, 1)])
            self.take_gradients(power, slopes)

    def add_answers(self, answers: Tensor | None) -> None:
        """Add masks like :attr:`answers`."""
        if answers is not None and (self.answers is None or self.answers.shape == answers.shape):
            self.answers = answers if self.answers is None else self.answers | answers

    def take(self, other: CallSums) -> None:
        """Add the gradients of a call that was computed again."""
        self.take_gradients(other.gradient_power, other.slopes)
        self.add_answers(other.answers)

    def take_gradients(self, power: Tensor | None, slopes: Tensor | None) -> None:
        """Add sums like :attr:`gradient_power` and :attr:`slopes`."""
        if power is not None and slopes is not None:
            self.gradient_power = power if self.gradient_power is None else self.gradient_power + power
            self.slopes = slopes if self.slopes is None else self.slopes + slopes


@contextlib.contextmanager
def aside(tensor: Tensor) -> Iterator[None]:
    """Compute without a graph, without autocast, and unseen by the dispatch modes of the model."""
    # selective checkpointing, for one, replays the operations that it saw in the order that it saw them
    modes = torch._C._len_torch_dispatch_stack()
    with no_trace(tensor.device.type), _disable_current_modes() if modes else contextlib.nullcontext():
        yield


def to_host(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Copy tensors to the host in double precision, with one transfer for each device."""
    places: dict[torch.device, list[int]] = {}
    for index, tensor in enumerate(tensors):
        places.setdefault(tensor.device, []).append(index)
    copies: dict[int, Tensor] = {}
    for device, indices in places.items():
        dtype = _wide(device)
        flat = torch.cat([tensors[index].detach().reshape(-1).to(dtype) for index in indices]).to("cpu", torch.float64)
        parts = torch.split(flat, [tensors[index].numel() for index in indices])
        copies |= {index: part.view(tensors[index].shape) for index, part in zip(indices, parts, strict=True)}
    return [copies[index] for index in range(len(tensors))]


def _wide(device: torch.device) -> torch.dtype:
    """Dtype of the sums: double, since gradients of 1e-25 squared vanish in single; Apple's GPUs have no double."""
    return torch.float32 if device.type == "mps" else torch.float64


def _rows(tensor: Tensor) -> Tensor:
    """Samples by the rest: a vector holds samples of one neuron."""
    return tensor.unsqueeze(1) if tensor.ndim == 1 else tensor


def _sample_dimensions(rows: Tensor, features: int | None) -> list[int]:
    """Dimensions along which the samples of a unit lie."""
    kept = {1} if rows.ndim == 2 else set(range(1, rows.ndim)) if features is None else {features % rows.ndim}
    return [dimension for dimension in range(rows.ndim) if dimension not in kept]


def _count(rows: Tensor, dimensions: Sequence[int]) -> int:
    return math.prod(rows.shape[dimension] for dimension in dimensions)


def _pieces(tensor: Tensor) -> Iterator[Tensor]:
    """The tensor in double precision, some samples at a time."""
    rows = _rows(tensor)
    dtype = _wide(tensor.device)
    for piece in torch.split(rows, max(1, PIECE * len(rows) // rows.numel())):
        yield piece.to(dtype)


def _power(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of squares of each replicate ``[K]``, and the sum of all elements."""
    powers, sums = zip(*((_row_powers(piece), piece.sum()) for piece in _pieces(tensor)), strict=True)
    return _replicates(torch.cat(powers)), torch.stack(sums).sum()


def _row_powers(rows: Tensor) -> Tensor:
    """Sum of squares of each sample; flattening would copy channels-last tensors."""
    return rows.square().sum(tuple(range(1, rows.ndim)))


def _replicates(rows: Tensor) -> Tensor:
    """Sums over groups of samples, few enough to be kept."""
    group = -(-len(rows) // REPLICATES)
    return rows if group == 1 else pad(rows, (0, -len(rows) % group)).view(-1, group).sum(1)
