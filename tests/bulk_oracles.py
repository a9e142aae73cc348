"""Networks beside their maps from states to states, written out by hand, and the dense matrix of the bulk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

StateMap = Callable[[Sequence[Tensor]], list[Tensor]]


def random_chain(
    sizes: Sequence[int], *, samples: int = 3, seed: int = 0, gain: float = 2.0
) -> tuple[list[Tensor], list[Tensor]]:
    """Weights, and slopes in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    shapes = list(zip(sizes[1:], sizes, strict=False))
    weights = [
        torch.randn(*shape, generator=generator, dtype=torch.float64) * gain / shape[1] ** 0.5 for shape in shapes
    ]
    slopes = [torch.rand(samples, out, generator=generator, dtype=torch.float64) for out, _ in shapes]
    return weights, slopes


def dense_chain_matrix(weights: Sequence[Tensor], slopes: Sequence[Tensor], regulator: float) -> Tensor:
    """G of one sample, from the whole matrix w and the whole vector of slopes."""
    sizes = [weights[0].shape[1], *(weight.shape[0] for weight in weights)]
    n = sum(sizes)
    w, f = torch.zeros(n, n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    row, column = sizes[0], 0
    for weight, slope, size in zip(weights, slopes, sizes, strict=False):
        w[row : row + weight.shape[0], column : column + size] = weight
        f[row : row + weight.shape[0]] = slope
        row, column = row + weight.shape[0], column + size
    difference = torch.eye(n, dtype=torch.float64) - torch.diag(f) @ w
    return difference.T @ difference + regulator * torch.eye(n, dtype=torch.float64)


def half_log_determinant(matrix: Tensor) -> Tensor:
    return 0.5 * torch.linalg.eigvalsh(matrix).log().sum()


def dense_map_matrix(state_map: StateMap, states: Sequence[Tensor], regulator: float) -> Tensor:
    """G of one sample, from the Jacobian by autograd of its map to all layers but the input."""
    shapes = [state.shape for state in states]

    def flat_map(vector: Tensor) -> Tensor:
        parts = vector.split([shape.numel() for shape in shapes])
        images = state_map([part.view(shape) for part, shape in zip(parts, shapes, strict=True)])
        return torch.cat([states[0].flatten(), *(image.flatten() for image in images)])  # the input has no map

    vector = torch.cat([state.flatten() for state in states])
    jacobian = torch.autograd.functional.jacobian(flat_map, vector)
    one = torch.eye(vector.numel(), dtype=vector.dtype)
    return (one - jacobian).T @ (one - jacobian) + regulator * one


def states_of(network: Any, inputs: Tensor) -> list[Tensor]:
    """States of the forward pass of one sample: the map's fixed point, reached after as many rounds as layers."""
    states = [inputs, *(torch.zeros(1, *shape, dtype=inputs.dtype) for shape in network.shapes)]
    for _ in network.shapes:
        states = [inputs, *network.state_map(states)]
    return [state.detach() for state in states]


class ConvNet(nn.Module):
    """Convolution, activation in place, pooling, linear."""

    inputs, shapes = (1, 8, 8), ((3, 8, 8), (4, 2, 2), (3,))

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 3, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.pool = nn.AvgPool2d(2)
        self.conv2 = nn.Conv2d(3, 4, 3)
        self.tanh = nn.Tanh()
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.act(self.conv1(x)))
        return self.head(self.tanh(self.conv2(x)).flatten(1))

    def state_map(self, states: Sequence[Tensor]) -> list[Tensor]:
        x, first, second, _ = states
        return [
            self.conv1(x).relu(),
            self.conv2(F.avg_pool2d(first, 2)).tanh(),
            self.head(second.flatten(1)),
        ]


class ResidualNet(nn.Module):
    """A residual block with batch normalisation; its sum is formed in place, and an activation is shared."""

    inputs, shapes = (6,), ((8,), (8,), (8,), (2,))

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 8)
        self.block = nn.Linear(8, 8)
        self.norm = nn.BatchNorm1d(8)
        self.act = nn.Tanh()
        self.head = nn.Linear(8, 2)
        self.norm.running_mean.normal_(generator=torch.Generator().manual_seed(5))

    def forward(self, x: Tensor) -> Tensor:
        first = self.act(self.stem(x))
        out = self.norm(self.block(first))
        out += first
        return self.head(self.act(out))

    def state_map(self, states: Sequence[Tensor]) -> list[Tensor]:
        x, stem, block, norm, _ = states
        batch_norm = lambda z: (  # noqa: E731
            (z - self.norm.running_mean) / (self.norm.running_var + self.norm.eps).sqrt() * self.norm.weight
            + self.norm.bias
        )
        return [
            self.stem(x).tanh(),
            self.block(stem),
            batch_norm(block),
            self.head((norm + stem).tanh()),
        ]


class Encoder(nn.Module):
    """One layer of a transformer's encoder, on sequences of 3 positions."""

    inputs, shapes = (3, 4), ((3, 4), (3, 4), (3, 6), (3, 4), (3, 4))

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, dim_feedforward=6, dropout=0.1, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)

    def state_map(self, states: Sequence[Tensor]) -> list[Tensor]:
        x, attention, first, hidden, out, _ = states
        layer = self.layer
        norm = lambda z, m: F.layer_norm(z, (4,), m.weight, m.bias)  # noqa: E731
        return [
            self._attend(x),
            norm(x + attention, layer.norm1),
            F.linear(first, layer.linear1.weight, layer.linear1.bias),
            F.linear(hidden.relu(), layer.linear2.weight, layer.linear2.bias),
            norm(first + out, layer.norm2),
        ]

    def _attend(self, x: Tensor) -> Tensor:
        module = self.layer.self_attn
        q, k, v = (
            part.unflatten(-1, (2, 2)).transpose(1, 2)
            for part in F.linear(x, module.in_proj_weight, module.in_proj_bias).chunk(3, -1)
        )
        mixed = ((q @ k.mT) / 2**0.5).softmax(-1) @ v
        return F.linear(mixed.transpose(1, 2).flatten(2), module.out_proj.weight, module.out_proj.bias)


NETWORKS = (ConvNet, ResidualNet, Encoder)


def built(kind: type, seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Module:
    """A network with the same weights each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind().to(dtype)


def batch(shape: Sequence[int], size: int, seed: int = 1) -> Tensor:
    return torch.randn(size, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
