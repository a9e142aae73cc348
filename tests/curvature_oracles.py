"""Small networks whose whole Hessian fits in memory, and that Hessian."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

Values = Sequence[Tensor]


class Problem(NamedTuple):
    """A loss of parameters, grouped by layer."""

    loss: Callable[[Values], Tensor]  # of values given from outside
    parameters: list[Tensor]  # leaves, in double precision
    layers: list[list[int]]  # indices of each layer's parameters

    def in_dtype(self, dtype: torch.dtype) -> list[Tensor]:
        """The parameters as fresh leaves of another dtype."""
        return [p.detach().to(dtype).requires_grad_() for p in self.parameters]

    def gradient(self, values: Values) -> tuple[Tensor, ...]:
        """Gradient at other values, as a caller of finite differences has it."""
        leaves = [value.detach().requires_grad_() for value in values]
        return torch.autograd.grad(self.loss(leaves), leaves)

    @property
    def sizes(self) -> list[int]:
        """Coordinates of each parameter."""
        return [p.numel() for p in self.parameters]


class SmallDecoder(nn.Module):
    """A block of causal attention between layer norms, with every kind of layer of its larger kin."""

    def __init__(self, width: int = 8, symbols: int = 9, length: int = 6) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, width)
        self.position = nn.Embedding(length, width)
        self.block = nn.TransformerEncoderLayer(width, 2, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.head = nn.Linear(width, symbols)

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length, dtype=self.head.weight.dtype)
        hidden = self.embedding(tokens) + self.position(torch.arange(length))
        with sdpa_kernel(SDPBackend.MATH):
            return self.head(self.block(hidden, src_mask=mask, is_causal=True))


def full_hessian(loss: Tensor, parameters: Values) -> Tensor:
    """All second derivatives, [N, N]: the gradient's own gradient, entry by entry."""
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    entries = torch.eye(len(flat), dtype=flat.dtype)
    rows = torch.autograd.grad(flat, parameters, entries, is_grads_batched=True)
    return torch.cat([part.flatten(1) for part in rows], 1)


def block_traces(hessian: Tensor, sizes: Sequence[int]) -> Tensor:
    """Traces of the diagonal blocks."""
    return torch.stack([part.sum() for part in hessian.diagonal().split(list(sizes))])


def two_layer_traces(net: nn.Sequential, inputs: Tensor, target: Tensor) -> Tensor:
    """Traces of the layers of linear, tanh, linear: from the diagonal of each sample's Hessian by a layer's outputs."""
    found = []
    with torch.no_grad():
        hidden = net[0](inputs)
    for layer, given, rest in ((net[0], inputs, net[1:]), (net[2], torch.tanh(hidden), net[3:])):
        outputs = layer(given).detach().requires_grad_()
        loss = nn.functional.cross_entropy(rest(outputs), target)
        (slope,) = torch.autograd.grad(loss, outputs, create_graph=True)
        weights = given.detach().square().sum(1) + 1.0
        rows = [
            torch.autograd.grad(slope[:, o].sum(), outputs, retain_graph=True)[0][:, o] for o in range(outputs.shape[1])
        ]
        found.append((torch.stack(rows) * weights).sum())
    return torch.stack(found)


def quadratic(hessian: Tensor, sizes: Sequence[int], layers: list[list[int]]) -> Problem:
    """The loss of a given Hessian: all of a network's curvature, at the price of a matrix product."""

    def loss(values: Values) -> Tensor:
        flat = torch.cat([value.flatten() for value in values])
        return 0.5 * flat @ (hessian.to(flat) @ flat)

    return Problem(loss, [torch.zeros(size, dtype=hessian.dtype, requires_grad=True) for size in sizes], layers)


def _problem(net: nn.Module, inputs: Tensor, target: Tensor, steps: int) -> Problem:
    """Cross-entropy of a network after some steps of training, so that it is no longer symmetric in its signs."""
    named = dict(net.named_parameters())
    owners = list(dict.fromkeys(name.rpartition(".")[0] for name in named))
    layers = [[i for i, name in enumerate(named) if name.rpartition(".")[0] == owner] for owner in owners]

    def loss(values: Values) -> Tensor:
        places = dict(zip(named, values, strict=True))
        given = inputs.to(values[0].dtype) if inputs.is_floating_point() else inputs
        return nn.functional.cross_entropy(functional_call(net, places, (given,)).flatten(0, -2), target.flatten())

    optimizer = torch.optim.SGD(named.values(), lr=0.5)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(list(named.values())).backward()
        optimizer.step()
    optimizer.zero_grad()
    return Problem(loss, list(named.values()), layers)


@cache
def digits_net() -> Problem:
    """A tanh network on scikit-learn's digits."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10)).double()
    data = load_digits()
    inputs, target = torch.from_numpy(data.data)[:200] / 16.0, torch.from_numpy(data.target)[:200]
    return _problem(net, inputs, target, steps=30)


@cache
def decoder() -> Problem:
    """A small decoder on sequences that count upwards."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = SmallDecoder().double()
    tokens = (torch.arange(9).view(-1, 1) + torch.arange(7)) % 9
    return _problem(net, tokens[:, :-1], tokens[:, 1:], steps=30)


@cache
def exact_hessian(make: Callable[[], Problem]) -> Tensor:
    """The whole Hessian of a problem, made once."""
    problem = make()
    return full_hessian(problem.loss(problem.parameters), problem.parameters)
