"""What the autograd graph of a loss says about the loss: is it a sum, and of what is it made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor
from torch.autograd.graph import Node

_PROBABILITIES = {"SoftmaxBackward0": "softmax", "SigmoidBackward0": "sigmoid"}
_EXPECT_LOGITS = {"LogSoftmaxBackward0", "BinaryCrossEntropyWithLogitsBackward0"}
"""Operations that are made for raw outputs, and what must not come before them."""
_SHAPES = (
    "View", "UnsafeView", "Reshape", "Transpose", "Permute", "Squeeze", "Unsqueeze", "T", "Slice", "Select", "Expand",
    "ToCopy", "Clone", "Alias", "AsStrided", "Contiguous",
)  # fmt: skip
"""Operations that leave each number as it is."""
_SUM = 2  # at::Reduction::Sum
_DEPTH = 12
"""Operations between a loss and its outputs: a term or two, and a few changes of shape."""


class LossGraph(NamedTuple):
    """What is known of a loss.

    Attributes:
        summed: It is a sum over the samples, so that it grows with the batch.
        squashed: What has made probabilities of the outputs where the loss expects them raw: "softmax", "sigmoid", or
            empty if nothing has.
    """

    summed: bool
    squashed: str


def read_loss_graph(loss: Tensor, *, divided: bool) -> LossGraph:
    """Look at the last operations of a loss.

    Args:
        loss: The loss, before its backward pass.
        divided: Whether somebody has divided it by the number of accumulated batches since it was computed.

    Returns:
        What is known of it.

    Example:
        >>> import torch
        >>> from torch.nn.functional import cross_entropy
        >>> outputs, targets = torch.zeros(4, 3, requires_grad=True), torch.zeros(4, dtype=torch.long)
        >>> read_loss_graph(cross_entropy(outputs, targets), divided=False)
        LossGraph(summed=False, squashed='')
        >>> read_loss_graph(cross_entropy(outputs.softmax(1), targets, reduction="sum"), divided=False)
        LossGraph(summed=True, squashed='softmax')
    """
    root = loss.grad_fn
    if divided and root is not None and root.name() == "DivBackward0":
        root = root.next_functions[0][0]
    summed = root is not None and (
        getattr(root, "_saved_reduction", None) == _SUM
        or (root.name() == "SumBackward0" and any(_is_loss(node) for node in _following(root)))
    )
    before = (_PROBABILITIES.get(_behind_shapes(node), "") for node in _near(root) if node.name() in _EXPECT_LOGITS)
    return LossGraph(bool(summed), next(filter(None, before), ""))


def _is_loss(node: Node) -> bool:
    return hasattr(node, "_saved_reduction") or node.name() == "PowBackward0"


def _following(node: Node) -> list[Node]:
    return [other for other, _ in node.next_functions if other is not None]


def _near(root: Node | None) -> Iterator[Node]:
    """Operations that a loss ends with."""
    level = [] if root is None else [root]
    seen: set[Node] = set(level)
    for _ in range(_DEPTH):
        yield from level
        level = list(dict.fromkeys(other for node in level for other in _following(node) if other not in seen))[:64]
        seen.update(level)


def _behind_shapes(node: Node) -> str:
    """Name of the operation whose numbers an operation gets, whatever their shape."""
    before = _following(node)[:1]
    for _ in range(_DEPTH):
        if not before or not before[0].name().removesuffix("Backward0").startswith(_SHAPES):
            break
        before = _following(before[0])[:1]
    return before[0].name() if before else ""
