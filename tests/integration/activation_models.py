"""Modules that call their activations in all sorts of ways, and a callback that probes every step of theirs."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from integration.models import INPUTS
from lightning.pytorch import Callback, LightningModule
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.functional import mse_loss
from torch.utils.checkpoint import checkpoint

from thermo_callbacks.probes.activations import ActivationProbe, ActivationRecord

WIDTH = 8


class Perceptron(nn.Module):
    """Modules, functions and methods, each with dropout behind."""

    def __init__(self, *, in_place: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(INPUTS, WIDTH), *(nn.Linear(WIDTH, WIDTH) for _ in range(3))])
        self.act, self.drop, self.head = nn.ReLU(inplace=in_place), nn.Dropout(0.2), nn.Linear(WIDTH, 1)
        self._functions: tuple[Any, ...] = (
            (F.elu_, Tensor.tanh_, partial(F.relu, inplace=True)) if in_place else (F.elu, Tensor.tanh, F.relu)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.act(self.layers[0](x)))
        for layer, function in zip(self.layers[1:], self._functions, strict=True):
            x = self.drop(function(layer(x)))
        return self.head(x)


class Checkpointed(nn.Module):
    """Blocks that are called again in the backward pass, with random numbers in them."""

    def __init__(self, *, reentrant: bool) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(INPUTS, WIDTH), nn.Linear(WIDTH, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Dropout(0.2)) for _ in range(2)
        )
        self._reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.first(x))
        for block in self.blocks:
            x = checkpoint(lambda x, block=block: F.silu(block(x)), x, use_reentrant=self._reentrant)
        return self.head(x)


class Attention(nn.Module):
    """A TransformerEncoder; behind a frozen one, which runs fused."""

    def __init__(self, *, frozen: bool = False) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(1, WIDTH), nn.Linear(WIDTH, 1)
        make = partial(nn.TransformerEncoderLayer, WIDTH, 2, 2 * WIDTH, batch_first=True)
        self.frozen = make(activation="gelu").requires_grad_(False).eval() if frozen else nn.Identity()
        self.encoder = make(activation=F.gelu)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            tokens = self.frozen(self.embed(x[..., None]))
        return self.head(self.encoder(tokens + self.embed(x[..., None])).mean(1))


class Convolution(nn.Module):
    """Channels-last images, with batch norm and a residual stream that an activation reads."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(INPUTS, 3 * 16), nn.Linear(6, 1)
        self.stem, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.conv = nn.Conv2d(6, 6, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        images = self.embed(x).view(-1, 3, 4, 4).to(memory_format=torch.channels_last)
        stream = self.norm(self.stem(images))
        stream = stream + self.conv(F.relu(stream))
        return self.head(F.hardswish(stream, inplace=True).mean((2, 3)))


class Learner(LightningModule):
    """Trains a network, draws random numbers in every step and logs them beside its loss."""

    def __init__(self, make_net: Callable[[], nn.Module], *, manual: bool = False, fails_at: int = -1) -> None:
        super().__init__()
        self.automatic_optimization = not manual
        self.net = make_net()
        self._fails_at = fails_at

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        inputs, targets = batch
        output = self.net(inputs + 0.01 * torch.randn_like(inputs))
        if batch_idx == self._fails_at:
            raise ZeroDivisionError
        loss = mse_loss(output, targets)
        self.log("loss", loss, on_step=True, on_epoch=True)
        self.log("python", random.random())
        if not self.automatic_optimization:
            optimizer: Any = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.net.parameters(), lr=0.01)


class Probing(Callback):
    """Probes every batch."""

    def __init__(self) -> None:
        self.records: list[dict[str, ActivationRecord]] = []
        self.probe: ActivationProbe | None = None

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.probe = self.probe or ActivationProbe(pl_module)
        self.probe.start()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        assert self.probe is not None
        self.probe.stop()
        self.records.append(self.probe.result())

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        if self.probe is not None:
            self.probe.stop()


class Situation(NamedTuple):
    """A network, the names of its calls, and options of the module and the Trainer."""

    net: Callable[[], nn.Module]
    names: list[str]
    module: Mapping[str, Any] = MappingProxyType({})
    trainer: Mapping[str, Any] = MappingProxyType({})


_PERCEPTRON = ["net.act", "net.elu", "net.tanh", "net.relu"]
_CHECKPOINTED = ["net.tanh", "net.blocks.0.1", "net.silu", "net.blocks.1.1", "net.silu#2"]
SITUATIONS = {
    "plain": Situation(Perceptron, _PERCEPTRON),
    "in-place": Situation(partial(Perceptron, in_place=True), _PERCEPTRON),
    "manual optimization": Situation(Perceptron, _PERCEPTRON, module={"manual": True}),
    "accumulation": Situation(Perceptron, _PERCEPTRON, trainer={"accumulate_grad_batches": 3}),
    "checkpointing": Situation(partial(Checkpointed, reentrant=False), _CHECKPOINTED),
    "reentrant checkpointing": Situation(partial(Checkpointed, reentrant=True), _CHECKPOINTED),
    "bf16-mixed": Situation(Perceptron, _PERCEPTRON, trainer={"precision": "bf16-mixed"}),
    "bf16-true": Situation(Perceptron, _PERCEPTRON, trainer={"precision": "bf16-true"}),
    "transformer": Situation(Attention, ["net.encoder.gelu"]),
    "transformer behind a frozen one": Situation(partial(Attention, frozen=True), ["net.encoder.gelu"]),
    "channels-last": Situation(Convolution, ["net.relu", "net.hardswish"]),
}
