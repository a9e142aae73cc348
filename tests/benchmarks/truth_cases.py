"""The runs that what is logged is set against the truth in: two perceptrons, a convolutional network, a decoder."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from thermo_callbacks.commands.compare.data import load

STEPS = 1600


class Decoder(nn.Module):
    """Two pre-norm blocks of causal attention over characters."""

    def __init__(self, symbols: int, width: int = 32, length: int = 32) -> None:
        super().__init__()
        self.embedding, self.position = nn.Embedding(symbols, width), nn.Embedding(length, width)
        block = nn.TransformerEncoderLayer(width, 2, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, symbols)

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[-1]
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        hidden = self.embedding(tokens) + self.position(torch.arange(length))
        return self.head(self.blocks(hidden, mask=mask)).flatten(0, -2)


@functools.cache
def text() -> TensorDataset:
    """The first 600 stretches of 33 characters of the examples' text."""
    play = (Path(__file__).parents[2] / "examples" / "data" / "shakespeare.txt").read_text(encoding="utf-8")[:9_700]
    symbols = sorted(set(play))
    codes = torch.tensor([symbols.index(letter) for letter in play])
    windows = codes.unfold(0, 33, 16)[:600]
    return TensorDataset(windows[:, :-1].contiguous(), windows[:, 1:].contiguous())


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=3),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(144, 10),
    )


class Case(NamedTuple):
    net: Callable[[], nn.Module]
    data: Callable[[], TensorDataset]
    batch_size: int
    optimizer: Callable[[Any], Any]
    clip: float | None = None


def cosine(parameters: Any) -> Any:
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    return {
        "optimizer": optimizer,
        "lr_scheduler": {"scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS), "interval": "step"},
    }


def warm(parameters: Any) -> Any:
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=0.01)
    warm_up = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 100))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": warm_up, "interval": "step"}}


CASES: dict[str, Case] = {
    "mlp": Case(mlp, lambda: load("digits")[0], 64, lambda p: torch.optim.SGD(p, lr=0.1)),
    "mlp momentum": Case(mlp, lambda: load("digits")[0], 64, lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9)),
    "mlp batch 512": Case(mlp, lambda: load("digits")[0], 512, lambda p: torch.optim.SGD(p, lr=0.1)),
    "cnn": Case(cnn, lambda: load("mnist")[0], 64, cosine),
    "gpt": Case(lambda: Decoder(int(text().tensors[0].max()) + 1), text, 32, warm, clip=1.0),
}


class Task(pl.LightningModule):
    def __init__(self, case: Case) -> None:
        super().__init__()
        self.net, self.case = case.net(), case

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1].flatten())

    def configure_optimizers(self) -> Any:
        return self.case.optimizer(self.parameters())
