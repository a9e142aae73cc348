"""Find the order of linear layers in the autograd graph of a loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from torch import Tensor
from torch.autograd.graph import Node

_PRODUCTS = ("Addmm", "Mm", "Addmv", "Mv", "Bmm", "Baddbmm", "Linear", "MkldnnLinear")
_JOINS = ("Add", "Sub", "Cat", "Stack")
_DATA = ""
"""Stands for data among the names of layers, where it joins what a layer gave."""

_Sources = frozenset[str]
_NOTHING: _Sources = frozenset()


@dataclass
class _Walk:
    """Linear layers below each visited node of the graph."""

    weights: Mapping[int, str]  # identity of a weight to the name of its layer
    parameters: dict[Node, _Sources] = field(default_factory=dict)  # weights that come in other than through a layer
    layers: dict[Node, _Sources] = field(default_factory=dict)  # layers that the node's output came from last
    before: dict[str, _Sources] = field(default_factory=dict)  # layers that a layer is applied to
    repeated: str | None = None

    def visit(self, node: Node) -> None:
        """Visit a node whose inputs were visited."""
        variable = getattr(node, "variable", None)
        if variable is not None:
            name = self.weights.get(id(variable))
            self.parameters[node], self.layers[node] = _NOTHING if name is None else frozenset({name}), _NOTHING
            return
        inputs = [following for following, _ in node.next_functions]
        parameters = _NOTHING.union(*(self.parameters[one] for one in inputs if one is not None))
        layers = _NOTHING.union(*(self.layers[one] for one in inputs if one is not None))
        operation = node.name().partition("Backward")[0]
        if operation in _JOINS and None in inputs and layers:
            layers |= {_DATA}
        if operation in _PRODUCTS and len(parameters) == 1:
            (name,) = parameters
            self.repeated = name if name in self.before else self.repeated
            self.before[name] = layers
            parameters, layers = _NOTHING, frozenset({name})
        self.parameters[node], self.layers[node] = parameters, layers


def linear_order(loss: Tensor, weights: Mapping[str, Tensor]) -> list[str] | str:
    """Names of layers that form a chain, in order of application; or the reason why they form none, as a clause."""
    if loss.grad_fn is None:
        return "its loss has no graph"
    walk = _Walk({id(weight): name for name, weight in weights.items()})
    for node in _inputs_first(loss.grad_fn):
        walk.visit(node)
    if walk.repeated is not None:
        return f"{walk.repeated} is applied more than once in a step"
    if missing := weights.keys() - walk.before.keys():
        name = next(name for name in weights if name in missing)
        return f"no product with the weights of {name} can be seen in the loss of the first batch"
    order = [name for name, before in walk.before.items() if not before]
    if len(order) != 1:
        return f"it begins with several layers side by side: {', '.join(order)}"
    for name in weights:
        if len(walk.before[name]) > 1:
            return f"{name} does not follow one layer alone: there are shortcuts or layers side by side"
    following = {before: name for name, sources in walk.before.items() for before in sources}
    while order[-1] in following:
        order.append(following[order[-1]])
    ends = walk.layers[loss.grad_fn] - {_DATA}
    if ends != {order[-1]}:
        return f"its loss is fed by several layers: {', '.join(name for name in weights if name in ends)}"
    return order


def _inputs_first(root: Node) -> Iterator[Node]:
    """Nodes of a graph, each after those that it depends on."""
    done: set[Node] = set()
    waiting = [(root, False)]
    while waiting:
        node, ready = waiting.pop()
        if ready:
            yield node
        elif node not in done:
            done.add(node)
            waiting.append((node, True))
            waiting += [(following, False) for following, _ in node.next_functions if following is not None]
