"""Find the leaves and the custom operations in the autograd graph of a loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node


class Graph(NamedTuple):
    """Leaves and kind of operations of a loss."""

    leaves: list[Tensor]  # tensors that gradients arrive at; those inside of a reentrant checkpoint are not seen
    own_backward: bool  # whether there is a torch.autograd.Function, whose backward pass is somebody's own code
    uses: Mapping[int, int]  # how many operations use a leaf, by its identity
    operations: int  # a number that other operations, or others of them, hardly have


def read_graph(loss: Tensor) -> Graph:
    """Visit all operations that a loss depends on.

    Returns:
        Leaves and the kind of operations.

    Example:
        >>> import torch
        >>> q = torch.ones(2, requires_grad=True)
        >>> graph = read_graph((2 * q).sum())
        >>> [leaf is q for leaf in graph.leaves], graph.own_backward
        ([True], False)
    """
    leaves: list[Tensor] = []
    own_backward = False
    uses: Counter[int] = Counter()
    names: list[str] = []
    todo: list[Node | None] = [loss.grad_fn]
    seen: set[Node | None] = {None}
    if loss.grad_fn is None and loss.requires_grad:
        return Graph([loss], False, {id(loss): 1}, 0)
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        own_backward = own_backward or isinstance(node, BackwardCFunction)
        names.append(node.name())
        leaf = getattr(node, "variable", None)  # nodes that accumulate gradients
        if leaf is not None:
            leaves.append(leaf)
        following = [other for other, _ in node.next_functions]
        ends = (getattr(other, "variable", None) for other in following)
        uses.update(id(end) for end in ends if end is not None)
        todo += following
    return Graph(leaves, own_backward, uses, hash(tuple(names)))
