"""Processes with many replicas side by side, of which it is known whether they are stationary."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.functional import cross_entropy

TEXT = Path(__file__).parents[2] / "examples" / "data" / "shakespeare.txt"
Losses = Callable[[torch.Generator], Tensor]
Training = tuple[Sequence[Tensor], Losses, torch.optim.Optimizer]


class Series(NamedTuple):
    """What R replicas showed in T consecutive steps, each ``[T, R]``."""

    position_displacement: Tensor
    displacement_square: Tensor
    loss: Tensor
    neighbours: Tensor  # products of successive gradients; zeros in the first step
    distance_square: Tensor  # from a base point that may be renewed, before each step

    def span(self, start: int, stop: int, replica: int | None = None) -> Series:
        """Some of the steps, of all replicas or of one, ``[T]`` then."""
        return Series(*(field[start:stop] if replica is None else field[start:stop, replica] for field in self))


def record(
    parameters: Sequence[Tensor],
    losses: Losses,
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    bases: Collection[int],
    seed: int,
) -> Series:
    """Train R replicas, stacked in the first dimension of the parameters; distances are from where they were last."""
    generator, rows = torch.Generator().manual_seed(seed), []
    gradient = torch.zeros(())

    def flat(tensors: Sequence[Tensor]) -> Tensor:
        return torch.cat([tensor.detach().flatten(1) for tensor in tensors], 1).double()

    base = flat(parameters)
    for step in range(steps):
        loss = losses(generator)
        optimizer.zero_grad()
        loss.sum().backward()
        before, earlier = flat(parameters), gradient
        base = before if step in bases else base
        gradient = flat([parameter.grad for parameter in parameters if parameter.grad is not None])
        optimizer.step()
        d = flat(parameters) - before
        products = (before * d, d * d, loss.detach().double()[:, None], gradient * earlier, (before - base) ** 2)
        rows.append(torch.stack([product.sum(1) for product in products]))
    return Series(*torch.stack(rows, 1))


def quadratic(
    lowest: float, *, momentum: float = 0.0, slope: float = 0.0, rate: float = 0.05
) -> Callable[[int], Training]:
    """SGD on a quadratic of 50 directions with unit noise, about a minimum that is not the origin."""

    def make(replicas: int) -> Training:
        curvature = torch.logspace(0.0, 1.0, 50) * lowest
        q = nn.Parameter(torch.ones(replicas, 50))

        def losses(generator: torch.Generator) -> Tensor:
            noise = torch.randn(replicas, 50, generator=generator) + slope
            away = q - 1.0
            level = torch.randn(replicas, generator=generator)  # of the batch's loss, whatever the parameters are
            return (0.5 * curvature * away.square() + noise * away).sum(1) + level

        return [q], losses, torch.optim.SGD([q], lr=rate * (1.0 - momentum), momentum=momentum)

    return make


def network(
    build: Callable[[], nn.Module],
    draw: Callable[[int, torch.Generator], tuple[Tensor, Tensor]],
    optimizer: Callable[[Sequence[Tensor]], torch.optim.Optimizer],
) -> Callable[[int], Training]:
    """Replicas of a network that start apart, each with batches of its own."""

    def make(replicas: int) -> Training:
        models = [build() for _ in range(replicas)]
        state, _ = stack_module_state(models)
        leaves = {name: nn.Parameter(tensor.detach()) for name, tensor in state.items()}

        def one(parameters: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
            outputs = functional_call(models[0], parameters, (inputs,))
            return cross_entropy(outputs.flatten(0, -2), targets.flatten())

        def losses(generator: torch.Generator) -> Tensor:
            loss: Tensor = vmap(one)(leaves, *draw(replicas, generator))
            return loss

        parameters = list(leaves.values())
        return parameters, losses, optimizer(parameters)

    return make


def digits(batch: int, wrong: float = 0.1) -> Callable[[int, torch.Generator], tuple[Tensor, Tensor]]:
    """Batches of scikit-learn's digits; with some wrong labels the loss can't be driven to nothing."""
    data = load_digits()
    inputs = torch.tensor(data.data / 16.0, dtype=torch.float32)
    labels = torch.tensor(data.target)
    mistaken = np.random.default_rng(0).random(len(labels)) < wrong
    labels = torch.where(torch.tensor(mistaken), (labels + 1) % 10, labels)

    def draw(replicas: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        rows = torch.randint(len(labels), (replicas, batch), generator=generator)
        return inputs[rows], labels[rows]

    return draw


class TinyGPT(nn.Module):
    """One block of attention and one of a perceptron, over characters."""

    def __init__(self, characters: int, context: int, width: int = 16) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(characters, width), nn.Parameter(0.02 * torch.randn(context, width))
        self.attention, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down, self.head = nn.Linear(width, 64), nn.Linear(64, width), nn.Linear(width, characters)

    def forward(self, text: Tensor) -> Tensor:
        """Logits of the next character at each place."""
        x = self.tokens(text) + self.places
        query, key, value = self.attention(self.first(x)).chunk(3, -1)
        scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
        mask = torch.ones(scores.shape[-2:]).triu(1).bool()
        x = x + self.project(scores.masked_fill(mask, -1e9).softmax(-1) @ value)
        logits: Tensor = self.head(x + self.down(torch.relu(self.up(self.second(x)))))
        return logits


def letters_of(text: str) -> Tensor:
    """Numbers for characters."""
    letters = sorted(set(text))
    return torch.tensor([letters.index(letter) for letter in text])


def text(batch: int, context: int) -> tuple[int, Callable[[int, torch.Generator], tuple[Tensor, Tensor]]]:
    """Number of characters, and batches of a play."""
    codes = letters_of(TEXT.read_text(encoding="utf-8").lower()[:20_000])

    def draw(replicas: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        starts = torch.randint(len(codes) - context, (replicas, batch, 1), generator=generator)
        rows = starts + torch.arange(context)
        return codes[rows], codes[rows + 1]

    return int(codes.max()) + 1, draw
