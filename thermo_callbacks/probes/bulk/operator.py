"""The matrix G of any network's bulk, as a product with vectors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from thermo_callbacks.probes.bulk.capture import NetworkCall
from thermo_callbacks.probes.bulk.neurons import NeuronMap

SAME = 1e-3  # relative difference within which two passes gave the same states: single precision, other batch sizes


class Layout:
    """Conversion between states of several samples and rows, one a sample.

    For each layer there is the dimension of its states that counts the samples; none for a single sample.
    """

    def __init__(self, dimensions: Sequence[int] | None = None) -> None:
        self.dimensions = None if dimensions is None else tuple(dimensions)

    def rows(self, states: Sequence[Tensor]) -> Tensor:
        """States of each layer as vectors of all neurons, ``[R, n]``."""
        return torch.cat([x.flatten(1) for x in self._samples_first(states)], 1)

    def states(self, rows: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
        """Inverse of :meth:`rows`, in the shapes and dtypes of other states."""
        parts = torch.split(rows, [x.numel() // rows.shape[0] for x in like], 1)
        blocks = [part.reshape(x.shape).to(x) for part, x in zip(parts, self._samples_first(like), strict=True)]
        if self.dimensions is None:
            return [block.squeeze(0) for block in blocks]
        return [block.movedim(0, d) for block, d in zip(blocks, self.dimensions, strict=True)]

    def _samples_first(self, states: Sequence[Tensor]) -> list[Tensor]:
        if self.dimensions is None:
            return [x.unsqueeze(0) for x in states]
        return [x.movedim(d, 0) for x, d in zip(states, self.dimensions, strict=True)]


def sample_layout(alone: Sequence[Tensor], together: Sequence[Tensor]) -> Layout | None:
    """Find the dimension that counts samples, from the states of one sample and of several that begin with it."""
    # None where a layer has no such dimension, or the samples change each other's states
    dimensions = []
    for one, many in zip(alone, together, strict=True):
        if one.ndim != many.ndim:
            return None
        differing = [d for d in range(one.ndim) if one.shape[d] != many.shape[d]]
        if len(differing) != 1 or one.shape[differing[0]] != 1:
            return None
        first = many.narrow(differing[0], 0, 1)
        if not same_states([one], [first]):
            return None
        dimensions.append(differing[0])
    return Layout(dimensions)


def same_states(found: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    """Whether two lists of states of the same shapes agree, up to rounding."""
    pairs = zip(found, expected, strict=True)
    return all(bool(((x - y).abs().amax() <= SAME * (y.abs().amax() + SAME)).item()) for x, y in pairs)


class BulkOperator:
    r"""Product of rows with :math:`G = (1 - J)^T (1 - J) + m^2`, where J is the derivative of the network's map.

    One forward pass, whose graph is kept. Products with :math:`J^T` are backward passes through it; these are linear in
    the vector, and products with J are the backward passes of one of them. Since the map is cut at each layer, no pass
    goes further than from a layer to those that feed it.
    """

    def __init__(
        self,
        neurons: NeuronMap,
        call: NetworkCall,
        states: Sequence[Tensor],
        *,
        layout: Layout,
        regulator: float,
    ) -> None:
        self.layout, self.regulator = layout, regulator
        self.leaves = [state.detach().clone().requires_grad_() for state in states]
        images = neurons.images(call, {}, self.leaves)
        if not same_states([image.detach() for image in images], states):
            raise ValueError("network must compute the same states each time, got others from the same data")
        # the image of a layer that sees no other (an embedding, the input) has no derivative
        self.active = [i for i, image in enumerate(images) if image.requires_grad]
        self.images = [images[i] for i in self.active]
        self.vectors = [torch.zeros_like(image).requires_grad_() for image in self.images]
        self.products: list[tuple[int, Tensor]] = []
        if self.images:
            pulled = self._pull(self.vectors, create_graph=True)
            self.products = [(i, g) for i, g in enumerate(pulled) if g is not None and g.requires_grad]

    def __call__(self, rows: Tensor) -> Tensor:
        """The product with vectors ``[R, n]``."""
        forward = rows - self._jacobian(rows)
        return forward - self._transposed(forward) + self.regulator * rows

    def _pull(self, vectors: Sequence[Tensor], *, create_graph: bool) -> Sequence[Tensor | None]:
        found: Sequence[Tensor | None] = torch.autograd.grad(
            self.images, self.leaves, list(vectors), retain_graph=True, create_graph=create_graph, allow_unused=True
        )
        return found

    def _jacobian(self, rows: Tensor) -> Tensor:
        blocks = self.layout.states(rows, self.leaves)
        result = [torch.zeros_like(leaf) for leaf in self.leaves]
        if self.products:
            pulled = [g for _, g in self.products]
            chosen = [blocks[i] for i, _ in self.products]
            pushed = torch.autograd.grad(pulled, self.vectors, chosen, retain_graph=True, allow_unused=True)
            for i, block in zip(self.active, pushed, strict=True):
                if block is not None:
                    result[i] = block
        return self.layout.rows(result).detach()

    def _transposed(self, rows: Tensor) -> Tensor:
        blocks = self.layout.states(rows, self.leaves)
        if not self.images:
            return torch.zeros_like(rows)
        pulled = self._pull([blocks[i] for i in self.active], create_graph=False)
        result = [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(self.leaves, pulled, strict=True)]
        return self.layout.rows(result).detach()
