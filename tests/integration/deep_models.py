"""Models with many layers: an encoder like BERT, a residual network, a deep perceptron."""

from __future__ import annotations

import torch
from integration.models import INPUTS
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH = 8


class Block(nn.Module):
    """A block of an encoder, with nine layers and one activation."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.gate, self.norm_before = nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH)
        self.widen, self.activation, self.narrow = nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, states: Tensor) -> Tensor:
        mixed = F.scaled_dot_product_attention(self.query(states), self.key(states), self.value(states))
        states = self.norm_before(states + self.output(mixed) * self.gate(states))
        return self.norm(states + self.narrow(self.activation(self.widen(states))))


class Encoder(nn.Module):
    """Embeddings, blocks and a head: 9 layers a block and 5 more: 68."""

    def __init__(self, blocks: int = 7) -> None:
        super().__init__()
        word, place = nn.Embedding(20, WIDTH), nn.Embedding(INPUTS, WIDTH)
        self.embeddings = nn.ModuleDict({"word": word, "position": place, "norm": nn.LayerNorm(WIDTH)})
        self.encoder = nn.ModuleList(Block() for _ in range(blocks))
        self.pooler, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        tokens = (5.0 * inputs.abs()).long().clamp(max=19)
        states = self.embeddings["norm"](self.embeddings["word"](tokens) + self.embeddings["position"].weight)
        for block in self.encoder:
            states = block(states)
        return self.head(torch.tanh(self.pooler(states.mean(1))))


class Residual(nn.Module):
    """Sixty layers, each but the outer ones added to what it gets."""

    def __init__(self, blocks: int = 58) -> None:
        super().__init__()
        self.stem = nn.Linear(INPUTS, WIDTH)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU()) for _ in range(blocks))
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        states = self.stem(inputs)
        for block in self.blocks:
            states = states + block(states) / len(self.blocks) ** 0.5
        return self.head(states)


def deep_perceptron(layers: int, activations: int) -> nn.Sequential:
    """Linear layers with an activation behind each of the first ones, and the output's behind the last if there is."""
    parts: list[nn.Module] = []
    for layer in range(layers):
        last = layer == layers - 1
        parts.append(nn.Linear(WIDTH if layer else INPUTS, 1 if last else WIDTH))
        if layer < activations:
            parts.append(nn.Tanh())
    return nn.Sequential(*parts)


def seeded(make: type[nn.Module] | object, *arguments: int) -> nn.Module:
    """The same model each time, in double precision."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make(*arguments).double()  # type: ignore[operator,no-any-return]
