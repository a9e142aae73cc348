"""Small networks of many kinds."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from faults.data import LENGTH, SYMBOLS, digits


def perceptron(*sizes: int, activation: Callable[[], nn.Module] = nn.ReLU, dropout: float = 0.0) -> nn.Sequential:
    """Linear layers with an activation, and dropout where there is any, between them."""
    layers: list[nn.Module] = []
    for size, following in itertools.pairwise(sizes):
        layers += [nn.Linear(size, following), activation()]
        layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers[: -2 if dropout else -1])


def mlp() -> nn.Sequential:
    return perceptron(64, 32, 32, 10)


def narrow() -> nn.Sequential:
    """Eight units in each of three hidden layers: none of them can be spared."""
    return perceptron(64, 8, 8, 8, 10)


def deep(activation: Callable[[], nn.Module], gain: float) -> nn.Sequential:
    """Twelve layers, whose weights keep the signal's size where the gain is that of the activation."""
    net = perceptron(64, *(11 * [24]), 10, activation=activation)
    for layer in net[::2]:
        nn.init.normal_(layer.weight, std=gain / layer.in_features**0.5)
        nn.init.zeros_(layer.bias)
    return net


def autoencoder() -> nn.Sequential:
    return perceptron(64, 32, 8, 32, 64, activation=nn.Tanh)


def convolutions() -> nn.Sequential:
    """Two convolutions with batch normalisation over images of 8 x 8."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 10),
    )


def curves() -> nn.Sequential:
    """Three convolutions over curves of 40 points."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 40)),
        nn.Conv1d(1, 16, 5, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv1d(16, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv1d(16, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(80, 10),
    )


def normalised_curves() -> nn.Sequential:
    """Three convolutions with batch normalisation over curves of 40 points."""
    layers: list[nn.Module] = [nn.Unflatten(1, (1, 40))]
    for channels in (1, 16, 16):
        layers += [nn.Conv1d(channels, 16, 3, stride=2, padding=1), nn.BatchNorm1d(16), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(80, 10))


class Residual(nn.Module):
    """Adds what two layers make of its normalised input to that input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, width)
        self.act = nn.GELU()

    def forward(self, states: Tensor) -> Tensor:
        return states + self.down(self.act(self.up(self.norm(states))))


def residual() -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, 32), *(Residual(32) for _ in range(4)), nn.LayerNorm(32), nn.Linear(32, 10))


class Decoder(nn.Module):
    """Blocks of causal attention over symbols, normalised before each block or after it."""

    def __init__(self, width: int = 32, blocks: int = 2, *, norm_first: bool = True) -> None:
        super().__init__()
        self.embedding, self.position = nn.Embedding(SYMBOLS, width), nn.Embedding(LENGTH, width)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 2, 2 * width, 0.0, "gelu", batch_first=True, norm_first=norm_first)
            for _ in range(blocks)
        )
        self.head = nn.Linear(width, SYMBOLS)

    def forward(self, tokens: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(LENGTH)
        hidden = self.embedding(tokens) + self.position(torch.arange(LENGTH))
        for block in self.blocks:
            hidden = block(hidden, src_mask=mask, is_causal=True)
        return self.head(hidden)


class Recurrent(nn.Module):
    """An LSTM over symbols."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(SYMBOLS, width), nn.LSTM(width, width, batch_first=True)
        self.head = nn.Linear(width, SYMBOLS)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.lstm(self.embedding(tokens))[0])


class Detached(nn.Module):
    """What comes out of a layer, without the graph that leads back to it."""

    def forward(self, states: Tensor) -> Tensor:
        return states.detach()


def on_principal_components() -> nn.Sequential:
    """Two trained layers on the first 16 principal components of the digits, which are not to be trained."""
    net = perceptron(64, 16, 32, 10)
    _, _, directions = torch.pca_lowrank(digits().inputs, q=16, niter=4)
    with torch.no_grad():
        net[0].weight.copy_(directions.T / 2)
    net[0].requires_grad_(False)
    return net
