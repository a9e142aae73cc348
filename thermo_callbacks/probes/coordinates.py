"""A fixed sample of coordinates of each layer: parameters before a step, gradient, and displacement after it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

Watch = Callable[[Tensor], Tensor]


def choose_coordinates(total: int, sample: int | None, *, seed: int, layer: str) -> np.ndarray | None:
    """Coordinates of a layer to watch: drawn without replacement, the same in every run and on every rank.

    Args:
        total: Coordinates of the layer.
        sample: How many to watch; None for all.
        seed: Seed of the draw.
        layer: Name of the layer, so that layers of one size get different samples.

    Returns:
        Sorted indices, int64 ``[sample]``; None to watch all.

    Example:
        >>> choose_coordinates(1000, 3, seed=0, layer="net.0").shape
        (3,)
        >>> choose_coordinates(3, 3, seed=0, layer="net.0") is None
        True
    """
    if sample is None or total <= sample:
        return None
    # hash() of a string differs from process to process
    generator = np.random.default_rng([seed, zlib.crc32(layer.encode())])
    return np.sort(generator.choice(total, sample, replace=False, shuffle=False))


@dataclass
class _Segment:
    """A parameter's watched coordinates and their place in the flat rows."""

    parameter: nn.Parameter
    layer: int
    index: Tensor | None  # flat coordinates; None for all
    start: int
    stop: int
    views: tuple[Tensor, Tensor, Tensor]  # stretches of the rows of parameters, gradients, parameters afterwards
    absent: bool = False  # whether the step under way has no gradient
    missing: int = 0  # steps of the window without a gradient

    def watch(self, tensor: Tensor) -> Tensor:
        """Watched coordinates of a tensor of the parameter's shape."""
        return tensor.reshape(-1) if self.index is None else torch.take(tensor, self.index.long())


class CoordinateProbe:
    """Watches a sample of coordinates of the layers that one optimizer trains.

    Reads only: a gather from each parameter and its gradient, into buffers of its own.

    Args:
        layers: Layer name to its parameters, all on one device.
        sample: Coordinates to watch in a layer; None for all.
        seed: Seed of the choice of coordinates.
        chunk: Each layer's stretch of the flat rows is padded with zeros to a multiple of this.
    """

    def __init__(
        self, layers: Mapping[str, Sequence[nn.Parameter]], *, sample: int | None, seed: int, chunk: int
    ) -> None:
        parameters = [parameter for owned in layers.values() for parameter in owned]
        self.names = tuple(layers)
        self.device = parameters[0].device
        # 16-bit gradients overflow when squared: at least single precision, double where a parameter is
        dtypes = {parameter.dtype for parameter in parameters}
        self.dtype = torch.float64 if torch.float64 in dtypes else torch.float32
        self.signature = tuple(id(parameter) for parameter in parameters)
        choices = {
            name: choose_coordinates(sum(p.numel() for p in owned), sample, seed=seed, layer=name)
            for name, owned in layers.items()
        }
        self.sampled = any(choice is not None for choice in choices.values())
        lengths = [
            sum(p.numel() for p in layers[name]) if choice is None else len(choice) for name, choice in choices.items()
        ]
        chunks = [-(-length // chunk) for length in lengths]
        self.chunk_layers = torch.arange(len(chunks)).repeat_interleave(torch.tensor(chunks))
        self._buffer = torch.zeros(4, sum(chunks) * chunk, device=self.device, dtype=self.dtype)
        self._segments: list[_Segment] = []
        start = 0
        for layer, (name, owned) in enumerate(layers.items()):
            self._place(layer, owned, choices[name], start)
            start += chunks[layer] * chunk

    def _place(self, layer: int, owned: Sequence[nn.Parameter], choice: np.ndarray | None, start: int) -> None:
        """Give the layer's parameters their stretches of the rows."""
        offset = 0
        for parameter in owned:
            size = parameter.numel()
            index = None
            if choice is not None:
                inside = choice[(choice >= offset) & (choice < offset + size)] - offset
                narrow = np.int32 if size < 2**31 else np.int64  # half the memory traffic of three reads a step
                index = torch.from_numpy(inside.astype(narrow)).to(self.device)
            offset += size
            stop = start + (size if index is None else index.numel())
            if stop > start:
                before, gradient, _, after = (row[start:stop] for row in self._buffer)
                self._segments.append(_Segment(parameter, layer, index, start, stop, (before, gradient, after)))
            start = stop

    @property
    def rows(self) -> Tensor:
        """Parameters before the step, gradient, displacement: flat, zeros between layers, ``[3, n]``."""
        return self._buffer[:3]

    def before_step(self, scale: Tensor | float = 1.0) -> bool:
        """Read parameters and gradients.

        Args:
            scale: Factor that makes the gradients those of the mean loss.

        Returns:
            Whether any parameter had a gradient.
        """
        any_gradient = False
        for segment in self._segments:
            before, gradient_row, _ = segment.views
            _read(segment.parameter, segment.index, before)
            gradient = segment.parameter.grad
            segment.absent = gradient is None
            if gradient is None:  # the loss of this batch does not depend on it: a gradient of zero, and no move
                gradient_row.zero_()
            else:
                _read(gradient, segment.index, gradient_row)
                any_gradient = True
        if isinstance(scale, Tensor) or scale != 1.0:
            self._buffer[1].mul_(scale)
        return any_gradient

    def after_step(self) -> None:
        """Read the parameters again: the displacement is what the optimizer really did."""
        for segment in self._segments:
            _read(segment.parameter, segment.index, segment.views[2])
            segment.missing += segment.absent
        torch.sub(self._buffer[3], self._buffer[0], out=self._buffer[2])

    def forget_missing(self) -> None:
        """Start counting missing gradients afresh, at the start of a window."""
        for segment in self._segments:
            segment.missing = 0

    def missing_counts(self) -> list[int]:
        """Steps without a gradient of each watched parameter, for a checkpoint."""
        return [segment.missing for segment in self._segments]

    def restore_missing(self, counts: Sequence[int]) -> None:
        """Take back :meth:`missing_counts`.

        Args:
            counts: What :meth:`missing_counts` returned.
        """
        for segment, count in zip(self._segments, counts, strict=True):
            segment.missing = int(count)

    def coordinates(self, steps: int) -> tuple[Tensor, Tensor]:
        """Watched and all coordinates of each layer, without those of parameters that never had a gradient.

        Args:
            steps: Steps of the window.

        Returns:
            Watched n_l and all N_l, float64 ``[L]``.
        """
        counts = torch.zeros(2, len(self.names), dtype=torch.float64)
        for segment in self._segments:
            if segment.missing < steps:
                counts[0, segment.layer] += segment.stop - segment.start
                counts[1, segment.layer] += segment.parameter.numel()
        return counts[0], counts[1]

    def spread(self, value: Callable[[nn.Parameter, Watch], Tensor | float]) -> Tensor | float:
        """Values of the watched coordinates, for arithmetic with :attr:`rows`.

        Args:
            value: Gives the value of each watched coordinate of a parameter, or one for all of them; its second
                argument picks the watched coordinates out of a tensor of the parameter's shape.

        Returns:
            Flat row like one of :attr:`rows`, with ones between layers; or one number, where all have the same.
        """
        values = [value(segment.parameter, segment.watch) for segment in self._segments]
        first = values[0]
        if isinstance(first, float) and all(isinstance(other, float) and other == first for other in values):
            return first
        row = torch.ones_like(self._buffer[0])
        for segment, watched in zip(self._segments, values, strict=True):
            row[segment.start : segment.stop] = watched
        return row

    def mean_by_layer(self, value: Callable[[nn.Parameter], float]) -> Tensor:
        """Mean over each layer's watched coordinates of one number a parameter.

        Args:
            value: Gives a parameter's number.

        Returns:
            The means, float64 on the CPU, ``[L]``.
        """
        sums = torch.zeros(2, len(self.names), dtype=torch.float64)
        for segment in self._segments:
            count = segment.stop - segment.start
            sums[:, segment.layer] += torch.tensor([value(segment.parameter) * count, count], dtype=torch.float64)
        return sums[0] / sums[1]


def _read(source: Tensor, index: Tensor | None, target: Tensor) -> None:
    """Copy the watched coordinates of a parameter or gradient, in whatever form it comes."""
    if source.is_sparse:
        target.copy_(_read_sparse(source, index))
    elif index is None:
        target.copy_(source.reshape(-1))
    elif source.dtype == target.dtype and source.is_contiguous():
        torch.index_select(source.view(-1), 0, index, out=target)  # the fast path of nearly all parameters
    else:
        target.copy_(torch.take(source, index.long()))  # take() follows strides (channels-last) without a copy


def _read_sparse(source: Tensor, index: Tensor | None) -> Tensor:
    """Watched coordinates of a sparse gradient, without making it dense unless all are watched."""
    if index is None or source.sparse_dim() != 1:
        dense = source.to_dense().reshape(-1)
        return dense if index is None else dense[index]
    source = source.coalesce()
    rows = source.indices()[0]
    if not rows.numel():
        return torch.zeros_like(index, dtype=source.dtype)
    values = source.values().reshape(rows.numel(), -1)
    row, column = index // values.shape[1], index % values.shape[1]
    found = torch.searchsorted(rows, row).clamp(max=rows.numel() - 1)
    return torch.where(rows[found] == row, values[found, column], 0.0)
