"""Sample coordinates of each layer: parameters before a step, gradient, and displacement after it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from thermo_callbacks.probes.parameters.selection import Selection, chunk_layers, read, select
from thermo_callbacks.probes.real_numbers import as_real, real_count
from thermo_callbacks.probes.sharding import Part, local_part

Watch = Callable[[Tensor], Tensor]
Sample = int | None | Callable[[str], int | None]
"""Coordinates to watch in each layer, or in that of a name; None for all."""


def choose_coordinates(total: int, sample: int | None, *, seed: int, layer: str) -> np.ndarray | None:
    """Draw the coordinates of a layer to watch, without replacement, the same in every run and on every rank.

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
    # layers of one size get different samples; hash() of a string differs from process to process
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
    watched: int  # watched coordinates, those that other processes hold among them
    sharded: bool  # whether this process holds only a part of it
    absent: bool = False  # whether the step under way has no gradient
    missing: int = 0  # steps of the window without a gradient

    def part(self, tensor: Tensor) -> Tensor:
        """Part of a tensor of the parameter's shape that this process holds."""
        return local_part(tensor, self.parameter) if self.sharded else tensor

    def watch(self, tensor: Tensor) -> Tensor:
        """Watched coordinates of a tensor of the parameter's shape."""
        tensor = as_real(self.part(tensor))
        return tensor.reshape(-1) if self.index is None else torch.take(tensor, self.index.long())


class CoordinateProbe:
    """Watches a sample of coordinates of the layers that one optimizer trains, all on one device.

    Reads only: a gather from each parameter and its gradient, into buffers of its own, in which each layer's stretch is
    padded with zeros to a multiple of ``chunk``. Where parameters are sharded, ``parts`` says what this process has of
    each; the coordinates that all processes watch together are those that one would watch in whole parameters.
    """

    def __init__(
        self,
        layers: Mapping[str, Sequence[nn.Parameter]],
        *,
        sample: Sample,
        seed: int,
        chunk: int,
        parts: Mapping[nn.Parameter, Part] | None = None,
    ) -> None:
        parameters = [parameter for owned in layers.values() for parameter in owned]
        self.names = tuple(layers)
        self.device = parameters[0].device
        # 16-bit gradients overflow when squared: at least single precision, double where a parameter is
        dtypes = {parameter.dtype.to_real() for parameter in parameters}
        self.dtype = torch.float64 if torch.float64 in dtypes else torch.float32
        self.signature = tuple(id(parameter) for parameter in parameters)
        choices = {
            name: choose_coordinates(
                sum(map(real_count, owned)),
                sample(name) if callable(sample) else sample,
                seed=seed,
                layer=name,
            )
            for name, owned in layers.items()
        }
        self.sampled = any(choice is not None for choice in choices.values())
        lengths = [
            sum(real_count(p) for p in layers[name]) if choice is None else len(choice)
            for name, choice in choices.items()
        ]
        self.layer_watched = lengths
        self.layer_sizes = [sum(map(real_count, owned)) for owned in layers.values()]
        # the first is that of a process that holds the whole model
        self.whole_chunk_layers = self.chunk_layers = chunk_layers(lengths, chunk)
        selections = [select(owned, choices[name], parts) for name, owned in layers.items()]
        if parts is not None:
            self.chunk_layers = chunk_layers([sum(part.here for part in parts_of) for parts_of in selections], chunk)
        self._buffer = torch.zeros(4, self.chunk_layers.numel() * chunk, device=self.device, dtype=self.dtype)
        self._segments: list[_Segment] = []
        self._missed = torch.zeros(len(self.names), dtype=torch.float64)  # of parameters without any in a sample
        starts = torch.searchsorted(self.chunk_layers, torch.arange(len(selections))) * chunk
        for layer, (start, selected) in enumerate(zip(starts.tolist(), selections, strict=True)):
            self._place(layer, selected, start, sharded=parts is not None)

    def _place(self, layer: int, selections: Sequence[Selection], start: int, *, sharded: bool) -> None:
        """Assign each parameter of the layer its segment of the rows."""
        for parameter, places, here, watched in selections:
            stop = start + here
            if watched:
                index = None if places is None else torch.from_numpy(places).to(self.device)
                before, gradient, _, after = (row[start:stop] for row in self._buffer)
                views = (before, gradient, after)
                self._segments.append(_Segment(parameter, layer, index, start, stop, views, watched, sharded))
            else:
                self._missed[layer] += real_count(parameter)
            start = stop

    @property
    def rows(self) -> Tensor:
        """Parameters before the step, gradient, displacement: flat, zeros between layers, ``[3, n]``."""
        return self._buffer[:3]

    @property
    def has_gradient(self) -> bool:
        """Whether any watched parameter has a gradient."""
        return any(segment.parameter.grad is not None for segment in self._segments)

    def before_step(self, scale: Tensor | float = 1.0) -> bool:
        """Read parameters, and gradients times ``scale``, that of the mean loss; whether any had a gradient."""
        any_gradient = False
        for segment in self._segments:
            before, gradient_row, _ = segment.views
            read(segment.part(segment.parameter), segment.index, before)
            gradient = segment.parameter.grad
            segment.absent = gradient is None
            if gradient is None:  # the loss of this batch does not depend on it: a gradient of zero, and no move
                gradient_row.zero_()
            else:
                read(segment.part(gradient), segment.index, gradient_row)
                any_gradient = True
        if isinstance(scale, Tensor) or scale != 1.0:
            self._buffer[1].mul_(scale)
        return any_gradient

    def before_move(self) -> None:
        """Read parameters alone, for who needs no gradients."""
        for segment in self._segments:
            read(segment.part(segment.parameter), segment.index, segment.views[0])

    def after_step(self) -> None:
        """Read the parameters again: the displacement is what the optimizer really did."""
        for segment in self._segments:
            read(segment.part(segment.parameter), segment.index, segment.views[2])
            segment.missing += segment.absent
        torch.sub(self._buffer[3], self._buffer[0], out=self._buffer[2])

    def read_gradients(self, row: Tensor, scale: Tensor | float = 1.0) -> None:
        """Read the gradients as they are now, times ``scale``, into a row like those of :attr:`rows`."""
        for segment in self._segments:
            target, gradient = row[segment.start : segment.stop], segment.parameter.grad
            if gradient is None:
                target.zero_()
            else:
                read(segment.part(gradient), segment.index, target)
        if isinstance(scale, Tensor) or scale != 1.0:
            row.mul_(scale)

    def layer_scales(self) -> Tensor | float:
        """Factor from the watched to all coordinates of its layer for each watched one, or one for all."""
        factors = [size / max(1, watched) for size, watched in zip(self.layer_sizes, self.layer_watched, strict=True)]
        layers = {segment.parameter: segment.layer for segment in self._segments}
        return self.spread(lambda parameter, _: factors[layers[parameter]])

    def without_gradient(self, steps: int) -> set[int]:
        """Identities of the watched parameters that had no gradient in any of the window's steps."""
        return {id(segment.parameter) for segment in self._segments if steps and segment.missing >= steps}

    def forget_missing(self) -> None:
        """Reset the counts of missing gradients, at the start of a window."""
        for segment in self._segments:
            segment.missing = 0

    def missing_counts(self) -> list[int]:
        """Steps without a gradient of each watched parameter, for a checkpoint."""
        return [segment.missing for segment in self._segments]

    def restore_missing(self, counts: Sequence[int]) -> None:
        """Take back :meth:`missing_counts`."""
        for segment, count in zip(self._segments, counts, strict=True):
            segment.missing = int(count)

    def coordinates(self, steps: int) -> tuple[Tensor, Tensor]:
        """Watched n_l and all N_l, float64 ``[L]``, without parameters that never had a gradient."""
        sums = [[0] * len(self.names) for _ in range(3)]
        for segment in self._segments:
            size = real_count(segment.parameter)
            sums[2][segment.layer] += size
            if segment.missing < steps:
                sums[0][segment.layer] += segment.watched
                sums[1][segment.layer] += size
        counts = torch.tensor(sums, dtype=torch.float64)
        # a sample of a large layer may miss a small parameter, which had a gradient as often as the others
        missed = torch.where(counts[2] > 0, self._missed * counts[1] / counts[2], 0.0)
        return counts[0], counts[1] + missed

    def spread(self, value: Callable[[nn.Parameter, Watch], Tensor | float]) -> Tensor | float:
        """Values of watched coordinates as a flat row like :attr:`rows`, ones between layers; or one for all."""
        # value() gets a parameter, and what picks the watched coordinates out of a tensor of its shape
        values = [value(segment.parameter, segment.watch) for segment in self._segments]
        first = values[0]
        if isinstance(first, float) and all(isinstance(other, float) and other == first for other in values):
            return first
        row = torch.ones_like(self._buffer[0])
        for segment, watched in zip(self._segments, values, strict=True):
            row[segment.start : segment.stop] = watched
        return row

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Parameters that have watched coordinates, in the order of the rows."""
        return [segment.parameter for segment in self._segments]

    @property
    def layer_of_parameters(self) -> Tensor:
        """Layer of each of :attr:`parameters`, int64 on the CPU."""
        return torch.tensor([segment.layer for segment in self._segments], dtype=torch.long)

    def sub_sample(self, most: int, in_all: int) -> tuple[Tensor, Tensor]:
        """Places in the rows of up to ``most`` coordinates of each parameter, evenly, and the parameter of each."""
        each = min(most, max(4, in_all // max(1, len(self._segments))))
        places, owners = [], []
        for number, segment in enumerate(self._segments):
            count = min(each, here := segment.stop - segment.start)
            places.append(segment.start + torch.arange(count) * here // max(1, count))
            owners.append(torch.full((count,), number))
        return torch.cat(places).to(self.device), torch.cat(owners)

    def mean_by_layer(self, value: Callable[[nn.Parameter], float]) -> Tensor:
        """Mean over each layer's watched coordinates of one number a parameter, float64 on the CPU, ``[L]``."""
        sums = torch.zeros(2, len(self.names), dtype=torch.float64)
        for segment in self._segments:
            count = segment.watched
            sums[:, segment.layer] += torch.tensor([value(segment.parameter) * count, count], dtype=torch.float64)
        return sums[0] / sums[1]
