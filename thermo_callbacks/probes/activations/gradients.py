"""Gradient through one call alone, by hooks on the nodes of the autograd graph that the call made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge

Receive = Callable[[Tensor | None, Tensor], None]  # gets the gradients at input (None for zero) and output
Edge = tuple[Node, int]

MOST_NODES = 512  # a call that records more than this is a network


def gradient_edge(tensor: Tensor) -> Edge | None:
    """Edge of the autograd graph that gradients of a tensor go to, before a call; None if it needs none."""
    if not (torch.is_grad_enabled() and tensor.requires_grad):
        return None
    if tensor.grad_fn is not None:
        return tensor.grad_fn, tensor.output_nr
    node, number = get_gradient_edge(tensor)[:2]
    return node, number


def next_sequence_number() -> int:
    """Number that the next node of the graph on this thread will have: larger than those of earlier ones."""
    return int(torch._C._autograd._get_sequence_nr())


def watch_gradients(target: Edge, output: Tensor, first: int, receive: Receive) -> list[Any]:
    """Observe the gradient at a call's output, and the part of the gradient at its input that comes from it."""
    # the input may be used elsewhere too (a residual stream): its whole gradient is not the call's; and the call may
    # have overwritten it, in part even (then there are no handles): so the hooks are on the nodes that the call made
    node, number = output.grad_fn, output.output_nr
    if node is None:
        return []
    if (node, number) == target:  # returned as it came
        return [node.register_prehook(lambda sent: _pass_on(sent[number], receive))]
    edges = _edges_to(target, node, first)
    if not edges:
        return []
    passage = _Passage(len(edges), receive)
    handles = [node.register_prehook(lambda sent: passage.send(sent[number]))]
    for last, index in edges:
        handles.append(last.register_hook(passage.arrival(index)))
    return handles


def custom_nodes(roots: Any) -> Iterator[Any]:
    """Nodes of a graph whose backward is written in Python, such as those of activation checkpointing."""
    roots = [roots] if isinstance(roots, (Tensor, GradientEdge)) else roots
    starts = [root.node if isinstance(root, GradientEdge) else root.grad_fn for root in roots]
    waiting = [node for node in starts if node is not None]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        if isinstance(node, BackwardCFunction):
            yield node
        following = {inner for inner, _ in node.next_functions if inner is not None} - seen
        seen |= following
        waiting += following


def _pass_on(gradient: Tensor | None, receive: Receive) -> None:
    if gradient is not None:
        receive(gradient, gradient)


class _Passage:
    """Sum of the gradients of all edges of a call, reported when the last has come."""

    def __init__(self, edges: int, receive: Receive) -> None:
        self._edges, self._receive = edges, receive
        self._waiting = 0
        self._sent: Tensor | None = None
        self._arrived: Tensor | None = None

    def send(self, gradient: Tensor | None) -> None:
        self._sent, self._arrived, self._waiting = gradient, None, self._edges

    def arrival(self, index: int) -> Callable[[Any, Any], None]:
        def arrive(gradients: Any, _: Any) -> None:
            gradient = gradients[index]
            if self._sent is None:
                return
            if gradient is not None:
                self._arrived = gradient if self._arrived is None else self._arrived + gradient
            self._waiting -= 1
            if not self._waiting:
                sent, arrived = self._sent, self._arrived
                self._sent = self._arrived = None
                self._receive(arrived, sent)

        return arrive


def _edges_to(target: Edge, start: Node, first: int) -> list[Edge]:
    """Edges from nodes of the call to the target: the last node before it, and the place among its gradients."""
    edges: list[Edge] = []
    seen, waiting = {start}, [start]
    while waiting:
        node = waiting.pop()
        if node._sequence_nr() < first:  # made before the call
            continue
        for index, (following, number) in enumerate(node.next_functions):
            if following is target[0] and number == target[1]:
                edges.append((node, index))
            elif following is not None and following not in seen:
                if len(seen) == MOST_NODES:
                    return []
                seen.add(following)
                waiting.append(following)
    return edges
