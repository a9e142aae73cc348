"""Calls of functions with a weight, each with an offset of the output that second derivatives are taken by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from thermo_callbacks.functional.curvature.sample_directions import Factor, SampleSigns, draw_signs
from thermo_callbacks.probes.curvature.sample_layers import LAYERS, OTHER_OPERATIONS, Factors, Found, SampleLayout
from thermo_callbacks.probes.tensor_classes import as_plain, labelled_like


@dataclass(frozen=True)
class ProbedCall:
    """A call: its layer, the zeros that were added to its output, and what is known of its leaves' direction.

    Of a leaf with several calls, the direction in one call turns with what the direction in another does to its inputs:
    there the zeros are one for each sample, times the shift with its graph, and zeros of their own times that with
    mobility.
    """

    layer: int
    found: Found
    offset: Tensor
    mobile: Tensor | None = None
    of_samples_alone: bool = False

    def shift(self, factor: Factors) -> Tensor:
        """Shift of the output by the direction, each coordinate times a factor, or of the zeros of the samples."""
        return torch.ones_like(self.offset) if self.of_samples_alone else self.found.shift(factor).to(self.offset.dtype)

    def of_samples(self, product: Tensor) -> Tensor:
        """Sums over what belongs to each sample, ``[B]``."""
        return product if self.of_samples_alone else self.found.layout.by_sample(product).flatten(1).sum(1)

    def spread(self, values: Tensor) -> Tensor:
        """A value for each sample, ``[B]``, to be broadcast with the offset."""
        return values if self.of_samples_alone else self.found.layout.spread(values, self.offset.ndim)


class CallRecorder(TorchFunctionMode):
    """Finds the calls while a training step runs, and adds an offset to their outputs.

    A call is taken if its first dimension is that of the samples; one that is not is left as it is. Whether a leaf is
    used in other ways too, the graph of the loss tells: there it has more ends than ``uses``.

    Args:
        layers: Layers of the leaves that may be probed, by the leaves' identity.
        samples: Number of samples B in the batch.
        generator: Source of the signs.
        mobility: Mobility of a leaf.
        repeated: Leaves that are used more than once, by identity.
        may_fold: Whether the rows of a matrix that are a multiple of B are taken for those of each sample in a row.
    """

    def __init__(
        self,
        layers: Mapping[int, int],
        samples: int,
        generator: torch.Generator,
        *,
        mobility: Factors,
        repeated: frozenset[int] = frozenset(),
        may_fold: bool = True,
    ) -> None:
        super().__init__()
        self.samples, self.generator, self.may_fold = samples, generator, may_fold
        self.calls: list[ProbedCall] = []
        self.uses: dict[int, int] = {}
        self.coupled = self.folded = self.other_operations = False
        self._layers, self._repeated, self._mobility = layers, repeated, mobility
        self._signs: dict[int, SampleSigns] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        self.other_operations = self.other_operations or func in OTHER_OPERATIONS
        if func not in LAYERS or not torch.is_grad_enabled():
            return output
        names, layer = LAYERS[func]
        plain, given = as_plain(output), {**dict(zip(names, args, strict=False)), **kwargs}
        given = {name: value if id(value) in self._layers else as_plain(value) for name, value in given.items()}
        found = layer(self, {**given, "output": plain})
        return output if found is None else labelled_like(self._with_offset(plain, found), output)

    def watched(self, leaf: Any) -> Tensor | None:
        """A weight if it may be probed."""
        return leaf if isinstance(leaf, Tensor) and id(leaf) in self._layers and leaf.requires_grad else None

    def repeated(self, *leaves: Tensor | None) -> bool:
        """Whether one of the leaves is used more than once."""
        return any(leaf is not None and id(leaf) in self._repeated for leaf in leaves)

    def known(self, inputs: Tensor, *leaves: Tensor | None) -> Tensor:
        """Inputs of a call: with their graph where a repeated leaf's own direction changes them."""
        return inputs if self.repeated(*leaves) else inputs.detach()

    def signs(self, leaf: Tensor) -> SampleSigns:
        """Signs of a leaf, the same in all of its calls."""
        if id(leaf) not in self._signs:
            self._signs[id(leaf)] = draw_signs(leaf.detach(), self.samples, self.generator)
        return self._signs[id(leaf)]

    def layout(self, inputs: Tensor) -> SampleLayout | None:
        """Where the samples are in the inputs of a matrix, if that can be told."""
        count = inputs.shape[0] if inputs.ndim > 1 else 0
        if count == self.samples:
            return SampleLayout(self.samples)
        if inputs.ndim != 2 or not self.may_fold or not count or count % self.samples:
            return None
        self.folded = True
        return SampleLayout(self.samples, count // self.samples)

    def _with_offset(self, output: Tensor, found: Found) -> Tensor:
        owners = {self._layers[id(leaf)] for leaf in found.leaves}
        if len(owners) != 1:
            return output
        for leaf in found.leaves:
            self.uses[id(leaf)] = self.uses.get(id(leaf), 0) + 1
        zero = output.detach().new_zeros(())
        if self.repeated(*found.leaves):
            return self._repeated_call(output, owners.pop(), found, zero)
        offset = zero.expand(output.shape).requires_grad_()
        self.calls.append(ProbedCall(owners.pop(), found, offset))
        return output + offset

    def _repeated_call(self, output: Tensor, layer: int, found: Found, zero: Tensor) -> Tensor:
        offset, mobile = zero.repeat(self.samples).requires_grad_(), None
        spread = found.layout.spread(offset, output.ndim)
        output = output + spread * found.shift(unity).to(output.dtype)
        if one_number(self._mobility, found.leaves) is None:
            mobile = zero.repeat(self.samples).requires_grad_()
            shift = found.shift(lambda leaf: _finite(self._mobility(leaf)))  # a zero times infinity is no zero
            output = output + found.layout.spread(mobile, output.ndim) * shift.to(output.dtype)
        self.calls.append(ProbedCall(layer, found, offset, mobile, of_samples_alone=True))
        return output


def unity(_: Tensor) -> float:
    """A factor of 1 for each leaf."""
    return 1.0


def one_number(mobility: Factors, leaves: Sequence[Tensor]) -> float | None:
    """The mobility of all leaves, where it is one number."""
    factors = [mobility(leaf) for leaf in leaves]
    first = factors[0]
    if isinstance(first, Tensor) or any(isinstance(other, Tensor) for other in factors):
        return None
    return first if all(other == first for other in factors) else None


def _finite(factor: Factor) -> Tensor:
    return torch.as_tensor(factor).nan_to_num(0.0, 0.0, 0.0)
