"""Small networks, each with a thing in it that makes second derivatives or a second forward pass hard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from integration.models import INPUTS, Regression
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

WIDTH = 4


class Attention(nn.Module):
    """Fused attention over the inputs, one token each."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(1, WIDTH)
        self.project = nn.Linear(WIDTH, 3 * WIDTH)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        tokens = self.project(torch.tanh(self.embed(inputs.unsqueeze(-1))))
        query, key, value = tokens.view(len(inputs), INPUTS, 3, 2, WIDTH // 2).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.head(mixed.transpose(1, 2).flatten(2).mean(1))


class Encoder(nn.Module):
    """An encoder layer of torch with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(1, WIDTH)
        self.layer = nn.TransformerEncoderLayer(WIDTH, 2, 6, dropout=0.2, activation="gelu", batch_first=True)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.layer(self.embed(inputs.unsqueeze(-1))).mean(1))


class Recurrent(nn.Module):
    """An LSTM over the inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.LSTM(1, WIDTH, batch_first=True)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.cells(inputs.unsqueeze(-1))[0][:, -1])


class Normalised(nn.Module):
    """Batch norm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(INPUTS, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.3), nn.Linear(6, 1)
        )  # fmt: skip

    def forward(self, inputs: Tensor) -> Tensor:
        return self.net(inputs)


class Checkpointed(nn.Module):
    """A block in the middle whose activations are computed again in the backward pass."""

    def __init__(self, *, reentrant: bool, plain: bool) -> None:
        super().__init__()
        self.reentrant, self.plain = reentrant, plain
        self.first = nn.Linear(INPUTS, 5)
        self.block = nn.Sequential(nn.Tanh(), nn.Linear(5, 4), nn.Dropout(0.2), nn.Tanh())
        self.head = nn.Linear(4, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.first(inputs)
        hidden = self.block(hidden) if self.plain else checkpoint(self.block, hidden, use_reentrant=self.reentrant)
        return self.head(hidden)


class TiedAndFrozen(nn.Module):
    """A layer used twice under two names, a frozen one and one without use."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(INPUTS, INPUTS)
        self.again = nn.Linear(INPUTS, INPUTS)
        self.again.weight = self.first.weight
        self.frozen = nn.Linear(INPUTS, 4).requires_grad_(False)
        self.unused = nn.Linear(2, 2)
        self.head = nn.Linear(4, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(torch.tanh(self.frozen(torch.tanh(self.again(torch.tanh(self.first(inputs)))))))


class Embedded(nn.Module):
    """An embedding with sparse gradients, of the inputs' signs."""

    def __init__(self, *, sparse: bool) -> None:
        super().__init__()
        self.table = nn.Embedding(8, 3, sparse=sparse)
        self.head = nn.Linear(3, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        symbols = ((inputs[:, :3] > 0) * torch.tensor([1, 2, 4])).sum(1)
        return self.head(torch.tanh(self.table(symbols)))


class Once(torch.autograd.Function):
    """The hyperbolic tangent, with a backward pass that refuses to be differentiated."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        output = torch.tanh(inputs)
        ctx.save_for_backward(output)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (output,) = ctx.saved_tensors
        return gradient * (1 - output * output)


class Refusing(torch.autograd.Function):
    """The hyperbolic tangent, with a backward pass that fails where a second one would follow."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        output = torch.tanh(inputs)
        ctx.save_for_backward(output)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            raise NotImplementedError("no second derivative\nof this")
        (output,) = ctx.saved_tensors
        return gradient * (1 - output * output)


class Detached(torch.autograd.Function):
    """The hyperbolic tangent, with a backward pass whose own derivative is wrong and doesn't say so."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        output = torch.tanh(inputs)
        ctx.slope = 1 - output * output
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * ctx.slope


class Twice(torch.autograd.Function):
    """The hyperbolic tangent, with a backward pass that can be differentiated."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        output = torch.tanh(inputs)
        ctx.save_for_backward(output)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (output,) = ctx.saved_tensors
        return gradient * (1 - output * output)


class Activated(nn.Module):
    """Two layers and any activation between them."""

    def __init__(self, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(INPUTS, 5), nn.Linear(5, 1)
        self.activation = activation

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.activation(self.first(inputs)))


def compiled() -> nn.Module:
    net = Activated(torch.tanh)
    net.first = torch.compile(net.first, backend="aot_eager")
    return net


class Case(NamedTuple):
    """A network, the same function without what is hard about it, and how its products are made."""

    make: Callable[[], nn.Module]
    plain: Callable[[], nn.Module]
    method: str = "double_backward"
    training: bool = True


def smooth() -> nn.Module:
    return Activated(torch.tanh)


CASES = {
    "tanh": Case(smooth, smooth),
    "fused attention": Case(Attention, Attention),
    "fused attention in evaluation mode": Case(Attention, Attention, training=False),
    "encoder layer with dropout": Case(Encoder, Encoder),
    "encoder layer in evaluation mode": Case(Encoder, Encoder, training=False),
    "LSTM": Case(Recurrent, Recurrent),
    "batch norm and dropout": Case(Normalised, Normalised),
    "compiled": Case(compiled, smooth),
    "checkpointing": Case(
        lambda: Checkpointed(reentrant=False, plain=False), lambda: Checkpointed(reentrant=False, plain=True)
    ),
    "reentrant checkpointing": Case(
        lambda: Checkpointed(reentrant=True, plain=False),
        lambda: Checkpointed(reentrant=True, plain=True),
        "finite_difference",
    ),
    "tied, frozen and unused": Case(TiedAndFrozen, TiedAndFrozen),
    "sparse embedding": Case(lambda: Embedded(sparse=True), lambda: Embedded(sparse=False)),
    "once differentiable": Case(lambda: Activated(Once.apply), smooth, "finite_difference"),
    "no second derivative": Case(lambda: Activated(Refusing.apply), smooth, "finite_difference"),
    "silently wrong second derivative": Case(lambda: Activated(Detached.apply), smooth, "finite_difference"),
    "backward of its own": Case(lambda: Activated(Twice.apply), smooth),
}


def make_module(name: str, *, plain: bool = False, dtype: torch.dtype = torch.float64) -> Regression:
    """The module of a case, with the same parameters plain or not."""
    case = CASES[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        module = Regression((case.plain if plain else case.make)().to(dtype))
    return module.train(case.training)
