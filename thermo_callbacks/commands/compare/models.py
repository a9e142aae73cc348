"""Networks of ``thermo-callbacks compare``, small enough for a CPU."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from thermo_callbacks.commands.compare.settings import HEADS

Build = Callable[[], nn.Module]
_SHORTEST = 7  # points across below which convolutions don't halve the picture any more
_SLICE = 4  # values in a token of a sequence


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """Kind and size of a network.

    Attributes:
        model: A key of :data:`MODELS`.
        shape: Shape of one input, channels first: ``(1, 28, 28)`` for an image, ``(1, 40)`` for a sequence.
        depth: Hidden layers, convolutions or blocks.
        width: Neurons, channels or features of each.
    """

    model: str
    shape: tuple[int, ...]
    classes: int
    depth: int
    width: int


def build_mlp(settings: NetworkSettings, activation: Build) -> nn.Module:
    """Build linear layers with an activation after each but the last."""
    widths = [math.prod(settings.shape), *[settings.width] * settings.depth]
    layers: list[nn.Module] = [nn.Flatten()]
    for taken, given in itertools.pairwise(widths):
        layers += [nn.Linear(taken, given), activation()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], settings.classes))


def _convolution(settings: NetworkSettings, taken: int, given: int, stride: int = 1) -> nn.Module:
    kind = nn.Conv1d if len(settings.shape) == 2 else nn.Conv2d
    return kind(taken, given, kernel_size=3, stride=stride, padding=1)


def _strides(settings: NetworkSettings) -> list[int]:
    """Stride of each convolution: 2 while the picture stays large enough."""
    size, strides = min(settings.shape[1:]), []
    for _ in range(settings.depth):
        strides.append(2 if size >= 2 * _SHORTEST - 1 else 1)
        size = math.ceil(size / strides[-1])
    return strides


def _head(settings: NetworkSettings) -> list[nn.Module]:
    pool = nn.AdaptiveAvgPool1d(1) if len(settings.shape) == 2 else nn.AdaptiveAvgPool2d(1)
    return [pool, nn.Flatten(), nn.Linear(settings.width, settings.classes)]


def build_cnn(settings: NetworkSettings, activation: Build) -> nn.Module:
    """Build convolutions with an activation after each, the mean over places, and a linear layer."""
    channels = [settings.shape[0], *[settings.width] * settings.depth]
    layers: list[nn.Module] = []
    for taken, given, stride in zip(channels, channels[1:], _strides(settings), strict=False):
        layers += [_convolution(settings, taken, given, stride), activation()]
    return nn.Sequential(*layers, *_head(settings))


class ResidualBlock(nn.Module):
    """Two normalised convolutions with a skip connection."""

    def __init__(self, settings: NetworkSettings, stride: int, activation: Build) -> None:
        super().__init__()
        norm = nn.BatchNorm1d if len(settings.shape) == 2 else nn.BatchNorm2d
        width = settings.width
        self.norm1, self.activation1 = norm(width), activation()
        self.conv1 = _convolution(settings, width, width, stride)
        self.norm2, self.activation2 = norm(width), activation()
        self.conv2 = _convolution(settings, width, width)
        pool = nn.AvgPool1d if len(settings.shape) == 2 else nn.AvgPool2d
        self.straight = pool(stride, ceil_mode=True) if stride > 1 else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """Features of the same number of channels."""
        inner = self.conv1(self.activation1(self.norm1(features)))
        summed: Tensor = self.straight(features) + self.conv2(self.activation2(self.norm2(inner)))
        return summed


def build_resnet(settings: NetworkSettings, activation: Build) -> nn.Module:
    """Build a convolution, residual blocks with batch normalisation, the mean over places, and a linear layer."""
    blocks = [ResidualBlock(settings, stride, activation) for stride in _strides(settings)]
    return nn.Sequential(_convolution(settings, settings.shape[0], settings.width), *blocks, *_head(settings))


class AttentionBlock(nn.Module):
    """Self-attention and a feed-forward part with the activation, each normalised before and added to its input."""

    def __init__(self, width: int, activation: Build) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.expand, self.activation, self.contract = (
            nn.Linear(width, 2 * width),
            activation(),
            nn.Linear(2 * width, width),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens ``[B, tokens, width]``."""
        normed = self.norm1(tokens)
        attended = tokens + self.attention(normed, normed, normed, need_weights=False)[0]
        summed: Tensor = attended + self.contract(self.activation(self.expand(self.norm2(attended))))
        return summed


class Transformer(nn.Module):
    """An encoder whose tokens are the rows of an image, or slices of a sequence."""

    def __init__(self, settings: NetworkSettings, activation: Build) -> None:
        super().__init__()
        self.token_size = settings.shape[0] * (_SLICE if len(settings.shape) == 2 else settings.shape[-1])
        tokens = math.prod(settings.shape) // self.token_size
        self.embed = nn.Linear(self.token_size, settings.width)
        self.position = nn.Parameter(0.02 * torch.randn(tokens, settings.width))
        self.blocks = nn.Sequential(*(AttentionBlock(settings.width, activation) for _ in range(settings.depth)))
        self.norm, self.head = nn.LayerNorm(settings.width), nn.Linear(settings.width, settings.classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits ``[B, classes]``."""
        tokens = self.embed(inputs.movedim(1, -2).reshape(len(inputs), -1, self.token_size)) + self.position
        logits: Tensor = self.head(self.norm(self.blocks(tokens)).mean(dim=1))
        return logits


MODELS: dict[str, Callable[[NetworkSettings, Build], nn.Module]] = {
    "mlp": build_mlp,
    "cnn": build_cnn,
    "resnet": build_resnet,
    "transformer": Transformer,
}
"""Networks by the name that the command line knows them by."""
