"""A replayed loss is that of the values given, and what can't be replayed is refused with the cure."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from thermo_callbacks.probes.replay import Replay


class Noisy(nn.Module):
    """Batch norm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.net(batch).square().mean()


def at(module: nn.Module, shift: float) -> dict[nn.Parameter, Tensor]:
    return {p: (p.detach() + shift).requires_grad_() for p in module.parameters() if p.requires_grad}


def squares(module: Any, batch: Any) -> Tensor:
    return module(batch).square().mean()


def test_the_loss_is_that_of_the_values_and_of_the_next_random_numbers() -> None:
    module, batch = Noisy(), torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    values = at(module, 0.1)
    losses = []
    for _ in range(2):
        with Replay(module).loss(values, batch) as loss:
            gradients = torch.autograd.grad(loss.value, list(values.values()))
            losses.append(loss.value.detach())
    with torch.no_grad():
        for parameter in values:
            parameter.add_(0.1)
    own = module.training_step(batch, 0)
    assert torch.equal(losses[0], own)
    assert torch.equal(losses[1], own)
    for found, expected in zip(gradients, torch.autograd.grad(own, list(values)), strict=True):
        torch.testing.assert_close(found, expected)


def test_tied_parameters_and_lists_of_parameters_get_the_values() -> None:
    module = nn.Module()
    module.first, module.second = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    module.second.weight = module.first.weight
    module.every = [module.first.weight]
    parameter = module.first.weight
    with Replay(
        module, lambda net, _: net.first.weight.sum() + 10 * net.second.weight.sum() + 100 * net.every[0].sum()
    ).loss({parameter: torch.ones(2, 2)}, None) as loss:
        assert loss.value.item() == 444.0
    assert module.every[0] is parameter


def test_parts_that_are_computed_again_in_the_backward_pass_see_the_values() -> None:
    inner = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    inputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    values = at(inner, 0.5)
    with Replay(inner, lambda net, x: checkpoint(net, x, use_reentrant=False).square().sum()).loss(
        values, inputs
    ) as loss:
        found = torch.autograd.grad(loss.value, list(values.values()))
    with torch.no_grad():
        for parameter in values:
            parameter.add_(0.5)
    expected = torch.autograd.grad(inner(inputs).square().sum(), list(values))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)])
def test_modes_around_the_replay_do_not_matter(mode: Any) -> None:
    layer, inputs = nn.Linear(3, 1), torch.ones(2, 3) / 3
    expected = squares(layer, inputs).item()
    with mode(), Replay(layer, squares).loss(at(layer, 0.0), torch.ones(2, 3) / 3) as loss:
        assert loss.value.item() == expected
        assert loss.value.requires_grad
        assert not torch.is_autocast_enabled("cpu")


def test_numbers_of_16_bits_are_given_in_32() -> None:
    layer = nn.Linear(3, 2).bfloat16()
    layer.register_buffer("scale", torch.ones(2, dtype=torch.float16))
    seen = []

    def loss_fn(module: Any, batch: Any) -> Tensor:
        seen.extend([module.scale.dtype, module.bias.dtype, batch.dtype])
        return (module(batch) * module.scale).sum()

    values = {layer.weight: layer.weight.detach().float()}
    with Replay(layer, loss_fn).loss(values, torch.ones(1, 3, dtype=torch.bfloat16)):
        pass
    assert seen == [torch.float32] * 3
    assert layer.bias.dtype == torch.bfloat16


class Calls(list[Any]):
    """A list that can be referred to weakly."""


class Stepper(nn.Linear):
    """A module whose training step remembers what it was called with."""

    def __init__(self) -> None:
        super().__init__(1, 1)
        self.remember: Callable[[Any], None] = lambda arguments: None


class BatchOnly(Stepper):
    def training_step(self, batch: Any) -> Any:
        self.remember((batch,))
        return {"loss": self(batch).sum(), "more": 1}


class AnyNames(Stepper):
    def training_step(self, first: Any, second: Any) -> Any:
        self.remember((first, second))
        return self(first).sum()


class Star(Stepper):
    def training_step(self, *arguments: Any) -> Any:
        self.remember(arguments)
        return self(arguments[0]).sum()


class Loaders(Stepper):
    def training_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        self.remember((batch, batch_idx, dataloader_idx))
        return self(batch).sum()


class Options(Stepper):
    def training_step(self, batch: Any, batch_idx: int, verbose: bool = False) -> Any:
        self.remember((batch, batch_idx, verbose))
        return self(batch).sum()


class Fetching(Stepper):
    def training_step(self, dataloader_iter: Iterator[Any]) -> Any:
        batch, batch_idx, dataloader_idx = next(dataloader_iter)
        self.remember((batch, batch_idx, dataloader_idx))
        return self(batch).sum()


@pytest.mark.parametrize(
    ("kind", "more"),
    [(BatchOnly, ()), (AnyNames, (7,)), (Star, (7,)), (Loaders, (7, 0)), (Options, (7, False)), (Fetching, (7, 0))],
)
def test_the_step_gets_the_arguments_that_it_takes(kind: type[Stepper], more: tuple[Any, ...]) -> None:
    module, calls = kind(), Calls()
    noted = weakref.ref(calls)  # what a function itself holds is put back
    module.remember = lambda arguments: noted().append(arguments)
    with Replay(module).loss({}, torch.ones(1, 1), 7) as loss:
        assert loss.value.item() == pytest.approx((module.weight.sum() + module.bias.sum()).item())
    assert [arguments[1:] for arguments in calls] == [more]


def test_nothing_happens_to_gradients_and_hooks_of_the_parameters() -> None:
    module = nn.Linear(3, 1)
    module.weight.register_hook(lambda gradient: pytest.fail("the run's hook was called"))
    module.weight.register_post_accumulate_grad_hook(lambda parameter: pytest.fail("the run's hook was called"))
    module.weight.grad = torch.ones(1, 3)
    with Replay(module, squares).loss(at(module, 0.1), torch.ones(2, 3)) as loss:
        loss.value.backward()
    assert torch.equal(module.weight.grad, torch.ones(1, 3))
    assert module.bias.grad is None
