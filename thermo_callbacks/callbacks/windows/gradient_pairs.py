"""Pairs of gradients with independent noise in a window, and how many samples are behind each gradient."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from thermo_callbacks.functional.window.successive import GradientProducts, SuccessiveGradients
from thermo_callbacks.probes.parameters.coordinates import CoordinateProbe


class GradientPairs:
    """Takes in the gradients of a window's steps: all if ``wanted``, those read in halves if not, and none if None."""

    def __init__(self, probe: CoordinateProbe, length: int, *, wanted: bool | None) -> None:
        self._probe, self._successive = probe, wanted
        self._stream: SuccessiveGradients | None = None
        if wanted is not None:
            self._stream = SuccessiveGradients(
                probe.chunk_layers, len(probe.names), length=length, device=probe.device, dtype=probe.dtype
            )
        self._half = 0.0
        self._samples: list[float] = []  # behind the gradient of each step
        self._shared_reciprocal: float | None = None  # mean over the processes of the sum of their reciprocals
        self._shared_rows: Tensor | None = None  # mean over the processes of products and squares
        self.products: GradientProducts | None = None  # of the last window

    def read_half(self, scale: Tensor | float) -> None:
        """Read the gradients of a step's first batches; ``scale`` makes them those of the mean loss."""
        if self._stream is not None:
            self._probe.read_gradients(self._stream.first_half, scale)

    def announce(self, half: float) -> None:
        """The gradients of a step are read, of which those read before make up ``half``, 0 if none were."""
        self._half = half

    def take_step(self, *, first: bool) -> None:
        """The step has happened, the first of a window or a later one."""
        self._shared_reciprocal = self._shared_rows = None
        if first:
            self._samples.clear()
        if self._stream is not None and (self._successive or self._half):
            self._stream.update(self._probe.rows[1], self._half)

    def record_samples(self, samples: float) -> None:
        """Keep the number of samples of the step that was read last; NaN if unknown."""
        self._samples.append(samples)

    @property
    def batch_size(self) -> float:
        """Samples behind the gradients of the window so far, as their noise averages them; NaN if unknown."""
        return len(self._samples) / self.reciprocal_samples if self._samples else math.nan

    @property
    def reciprocal_samples(self) -> float:
        """Sum over the steps so far of their reciprocal numbers of samples, as the variance of noise has it."""
        if self._shared_reciprocal is not None:
            return self._shared_reciprocal
        return sum(1.0 / count for count in self._samples) if self._samples else math.nan

    def share_samples(self, reciprocal: float) -> None:
        """Go on with the mean over the processes of their :attr:`reciprocal_samples`."""
        # noise of a mean of gradients has the mean of their variances, over the number of processes
        self._shared_reciprocal = reciprocal

    @property
    def own_rows(self) -> list[Tensor]:
        """What this process alone knows: each has read a half of its own batches. Empty where all know the same."""
        return [self._stream.rows()] if self._stream is not None and self._stream.in_halves else []

    def share_rows(self, rows: Tensor) -> None:
        """Go on with the mean over the processes of their :attr:`own_rows`."""
        self._shared_rows = rows

    def close(self) -> None:
        """End the window."""
        self.products = None if self._stream is None else self._stream.close(self._shared_rows)
        self._shared_rows = None

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint."""
        pairs = {} if self._stream is None else self._stream.state_dict()
        return {"pairs": pairs, "samples": list(self._samples)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken; a state of an earlier version holds nothing of it."""
        if self._stream is not None:
            self._stream.load_state_dict(state.get("pairs", {}))
        self._samples = list(state.get("samples", []))
