"""A window of optimizer steps as running sums: what the metrics need, in memory of the order of the sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from thermo_callbacks.functional.momentum import noise_half, shared_noise
from thermo_callbacks.functional.window.coordinate_terms import CoordinateSums, coordinate_terms
from thermo_callbacks.functional.window.layer_sums import (
    FORCE,
    INNOVATION,
    PAIR,
    POSITION_GRADIENT,
    LayerSums,
)
from thermo_callbacks.functional.window.weight_terms import growth_terms, weight_terms

CHUNK = 256
"""Coordinates in a chunk: each layer's stretch of the flat buffers is padded to a multiple of it, so that one reduction
serves all layers, however ragged, at a cost of at most CHUNK - 1 zeros a layer."""


class StreamingWindow:
    """Running sums of a window of consecutive steps, on the device, with no wait for it.

    Means are updated step by step (Welford), and the products of each step's deviations from them are the products of
    Helmert contrasts: the per-step replicates that standard errors need come out without keeping any step's vectors.
    With momentum the pairs of innovation and gradient are taken as differences from the last pair instead.
    """

    _state_names: ClassVar[Sequence[str]] = (
        "references",
        "memory",
        "halves",
        "scatter",
        "counts",
        "validity",
        "series",
        "flags",
        "force",
    )
    ADDED: ClassVar[frozenset[str]] = frozenset({"force"})
    """Sums that states of earlier versions do not have."""

    def __init__(
        self,
        chunk_layers: Tensor,  # layer index of each chunk of the flat buffers, int64 [chunks] on the CPU
        num_layers: int,
        *,
        length: int,  # most steps W in a window
        device: torch.device,
        dtype: torch.dtype,
        sampled: bool,  # whether a layer is watched only in part, so that the spread over coordinates matters
    ) -> None:
        self.chunk_layers = chunk_layers
        self.num_layers = num_layers
        self.length = length
        self.sampled = sampled
        chunks = chunk_layers.numel()
        coordinates = chunks * CHUNK
        options: dict[str, Any] = {"device": device, "dtype": dtype}
        # what deviations are from, of innovation, gradient difference, gradient and parameters: their running means, or
        # with momentum the last pair in the first two
        self.references = torch.zeros(4, coordinates, **options)
        self.memory = torch.zeros(3, coordinates, **options)  # last step's innovation, gradient, displacement
        # each coordinate's products of a pair: those of two halves of the steps apart where its sample is to be judged
        self.halves = torch.zeros(2 if sampled else 1, coordinates, **options)
        self.scatter = torch.zeros(coordinates, **options)  # squared deviations of the parameters from their mean
        self.force = torch.zeros(coordinates, **options)  # each coordinate's products of parameter and displacement
        self.mobility: Tensor | float = math.nan  # of the last step
        self._divisor: Tensor | float = math.nan
        self.counts = torch.zeros(2, **options)  # valid pairs, valid steps
        self.validity = torch.zeros(3, **options)  # of the last step, of it with the one before, and of the last pair
        self.series = torch.zeros(length, 7, chunks, **options)
        self.flags = torch.zeros(length, 2, **options)  # whether the row counts as a pair, and as a step
        self.steps = 0
        # kept from step to step: memory of this size is mapped and unmapped by the allocator at every step otherwise
        self._products = torch.zeros(7, coordinates, **options)

    @property
    def full(self) -> bool:
        """Whether the window holds all its steps."""
        return self.steps >= self.length

    def clear(self) -> None:
        """Start a new window."""
        for tensor in (self.references, self.memory, self.halves, self.scatter, self.force, self.counts, self.validity):
            tensor.zero_()
        self.steps = 0

    def update(
        self, rows: Tensor, momentum: Tensor | float, response: Tensor | float, mobility: Tensor | float
    ) -> None:
        """Add one step: parameters before it, gradient, displacement, flat, zero-padded ``[3, chunks * CHUNK]``."""
        # the rest is of all coordinates or of each; a mobility is NaN if unknown, and as a tensor it must not change
        self._take_mobility(mobility)
        position, gradient, displacement = rows.unbind()
        # one inf or NaN would stay in the running means for ever, and asking the host about it would be a wait
        finite = torch.isfinite(gradient.sum())
        torch.where(finite, gradient, self.references[2], out=gradient)
        valid = finite.to(rows.dtype)
        torch.mul(rows, displacement, out=self._products[FORCE:])
        plain = isinstance(momentum, float) and momentum == 0.0
        pair_valid = valid if plain else valid * self.validity[1]
        self.force.addcmul_(self._products[FORCE], valid)
        flags = torch.stack((pair_valid, valid), out=self.flags[self.steps])
        self.counts += flags
        step_weight = valid / self.counts[1].clamp(min=1.0)
        # (k - 1) / k for the k-th row: what makes a product of contrasts; 0 for one left out
        step_share = valid - step_weight
        gradient_deviation = self._deviation(2, gradient, step_weight)
        position_deviation = self._deviation(3, position, step_weight)
        self._multiply(POSITION_GRADIENT, gradient_deviation, position_deviation)
        self.scatter.addcmul_(position_deviation.square_(), step_share)
        if plain:
            self._multiply(PAIR, self._deviation(0, displacement, step_weight), gradient_deviation)
            self.references[1].copy_(self.references[2])  # a momentum that starts in the window finds its mean here
            self.validity.zero_()
            shares = step_share.expand(2)
        else:
            innovation, previous_gradient, _ = self.memory.unbind()
            difference = previous_gradient - momentum * gradient
            deviation = self._deviation(0, innovation, pair_valid)
            self._multiply(PAIR, deviation, self._deviation(1, difference, pair_valid))
            shares = self._pair_shares(pair_valid, momentum, response)
            self._remember(gradient, displacement, flags, momentum, response)
        self._products[INNOVATION].div_(self._divisor)
        half = noise_half(self.steps, not plain) % len(self.halves)
        self.halves[half].addcmul_(self._products[PAIR], shares[0])
        torch.sum(self._products.view(7, -1, CHUNK), -1, out=self.series[self.steps])
        self.series[self.steps, : INNOVATION + 1] *= shares[:, None]
        self.steps += 1

    def _take_mobility(self, mobility: Tensor | float) -> None:
        if mobility is self.mobility:
            return
        self.mobility = mobility
        # where the learning rate is zero (the first step of a warm-up) nothing moves, and 0 / 1 is as good as 0 / 0
        self._divisor = torch.where(mobility == 0, 1.0, mobility) if isinstance(mobility, Tensor) else mobility or 1.0

    def _deviation(self, row: int, value: Tensor, weight: Tensor) -> Tensor:
        """Deviation from a reference, then its update: a weight of 0 leaves it, one of 1 makes it the value."""
        reference = self.references[row]
        deviation = value - reference
        reference.addcmul_(deviation, weight)
        return deviation

    def _pair_shares(self, valid: Tensor, momentum: Tensor | float, response: Tensor | float) -> Tensor:
        """What makes products of differences from the last pair, and their squares, a covariance and a variance."""
        half = 0.5 * valid * (self.counts[0] > 1.0)  # the first pair has no last one
        # behind steps that were left out the two pairs share no gradient
        shared = 1.0 / (1.0 + self.validity[2] * (shared_noise(momentum, response) - 1.0))
        if shared.ndim:
            self._products[PAIR].mul_(shared)
            return half.expand(2)
        return torch.stack((half * shared, half))

    def _multiply(self, row: int, first: Tensor, second: Tensor) -> None:
        """The product of two deviations and the square of the first, into two rows."""
        torch.mul(first, second, out=self._products[row])
        torch.mul(first, first, out=self._products[row + 1])

    def _remember(
        self, gradient: Tensor, displacement: Tensor, flags: Tensor, momentum: Tensor | float, response: Tensor | float
    ) -> None:
        """Keep what the next step's pair needs: the innovation of this step, its gradient and its displacement."""
        innovation, previous_gradient, previous_displacement = self.memory.unbind()
        torch.sub(displacement, previous_displacement * momentum, out=innovation)
        innovation.mul_(response)
        previous_gradient.copy_(gradient)
        previous_displacement.copy_(displacement)
        pair_valid, valid = flags.unbind()
        torch.stack((valid, valid * self.validity[0], pair_valid), out=self.validity)

    def layer_sums(self, contraction: Tensor | float = 0.0) -> LayerSums:
        """Sums by layer: of each step, and of the mean gradient's square, entropy, weights and halves."""
        # contraction: share by which weight decay shrinks each coordinate in a step, or all
        # the one place that waits for the device
        steps = self.counts[1].clamp(min=1.0)
        square, force = self.references[3].square() + self.scatter / steps, self.force / steps
        by_chunk = [
            self.references[2].square(),
            *self._entropy_terms(),
            *weight_terms(square, force, contraction),
        ]
        if self.sampled:
            by_chunk += [self.halves[0], self.halves[1], self.halves[0] * self.halves[1]]
            by_chunk += growth_terms(square, force)
        chunk_sums = torch.stack(by_chunk).view(len(by_chunk), -1, CHUNK).sum(-1)
        parts = (self.series[: self.steps], self.flags[: self.steps], chunk_sums)
        flat = torch.cat([part.reshape(-1) for part in parts]).cpu().double()
        series, flags, chunk_sums = (
            piece.view(part.shape)
            for piece, part in zip(torch.split(flat, [p.numel() for p in parts]), parts, strict=True)
        )
        by_step = series.new_zeros(self.steps, 7, self.num_layers).index_add_(2, self.chunk_layers, series)
        terms = flat.new_zeros(len(by_chunk), self.num_layers).index_add_(1, self.chunk_layers, chunk_sums)
        return LayerSums(by_step, flags, terms)

    def _entropy_terms(self) -> CoordinateSums:
        """What each coordinate adds to entropy and its error; 0 for padding and whatever else did not move."""
        pairs, steps = self.counts.tolist()
        temperature = -0.5 * self.halves.sum(0) / (pairs - 1.0) if pairs > 1.0 else math.nan
        diffusion = temperature * self.mobility
        return coordinate_terms(self.scatter / max(steps - 1.0, 1.0), diffusion, steps)

    @classmethod
    def state_keys(cls) -> set[str]:
        """Keys of :meth:`state_dict` within a window."""
        return {"steps", "mobility", *cls._state_names}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs to go on with the window, as tensors on the CPU; empty between windows."""
        if not self.steps:
            return {}
        tensors = {name: getattr(self, name).detach().cpu().clone() for name in self._state_names}
        mobility = self.mobility.detach().cpu().clone() if isinstance(self.mobility, Tensor) else self.mobility
        return {"steps": self.steps, "mobility": mobility, **tensors}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self.clear()
        if not state:
            return
        for name in self._state_names:
            target = getattr(self, name)
            if name in state or name not in self.ADDED:
                target[: len(state[name])].copy_(state[name])
            else:
                target.fill_(math.nan)  # what the window knows of it is not all
        self.steps = int(state["steps"])
        mobility = state["mobility"]
        self._take_mobility(mobility.to(self.scatter.device) if isinstance(mobility, Tensor) else mobility)
