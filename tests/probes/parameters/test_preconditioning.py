"""What an optimizer says of its preconditioner, decay and edge of stability."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from optimizer_zoo import LARS
from torch import Tensor, nn, optim
from torch.testing import assert_close

from thermo_callbacks.probes.parameters.preconditioning import Preconditioning, read_preconditioning


def parameters() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(2, dtype=torch.float64)), nn.Parameter(torch.ones(3, dtype=torch.float64))]


def read(make: Callable[[Any], optim.Optimizer], steps: int = 1) -> tuple[Preconditioning, list[nn.Parameter]]:
    owned = parameters()
    optimizer = make(owned)
    for _ in range(steps):
        for number, parameter in enumerate(owned, start=1):
            parameter.grad = torch.full_like(parameter, 0.1 * number)
        optimizer.step()
    return read_preconditioning(optimizer, owned, lambda tensor: tensor), owned


def test_sgd_is_uniform() -> None:
    seen, owned = read(lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01))
    assert seen.known
    assert seen.uniform
    assert seen.reason == ""
    assert_close(seen.root(owned), torch.ones(5).double())
    assert_close(seen.coupled_row(owned), torch.full((5,), 0.01).double())
    assert (seen.motion.step, seen.rate) == (0.1, 0.1)
    assert seen.motion.mobility == pytest.approx(1.0)


def test_adam_divides_by_its_second_moment() -> None:
    seen, owned = read(lambda p: optim.AdamW(p, lr=0.1, weight_decay=0.5))
    assert seen.known
    assert not seen.uniform
    expected = torch.tensor([10.0, 10.0, 5.0, 5.0, 5.0], dtype=torch.float64)
    assert_close(seen.root(owned).square(), expected, rtol=1e-4, atol=0.0)
    assert seen.motion.step == pytest.approx(0.1 * (1.0 - 0.9))
    assert seen.motion.mobility == pytest.approx(0.1)
    directions = torch.eye(5, dtype=torch.float64)[:2]
    assert_close(seen.decoupled_along(directions, owned), torch.full((2,), 0.05).double())
    assert not seen.coupled_row(owned).any()


def test_learning_rates_of_groups_are_part_of_the_preconditioner() -> None:
    seen, owned = read(lambda p: optim.SGD([{"params": p[:1], "lr": 0.1}, {"params": p[1:], "lr": 0.4}], lr=0.1))
    assert seen.rate == 0.4
    assert_close(seen.root(owned).square(), torch.tensor([0.25, 0.25, 1.0, 1.0, 1.0]).double())
    assert not seen.uniform


@pytest.mark.parametrize("nesterov", [False, True])
def test_nesterov_has_the_preconditioner_of_momentum(nesterov: bool) -> None:
    seen, owned = read(lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=nesterov))
    assert_close(seen.root(owned), torch.ones(5).double())
    assert seen.motion.nesterov is nesterov
    assert seen.motion.mobility == pytest.approx(1.0)


class Own(optim.SGD.__mro__[1]):  # type: ignore[misc]  torch.optim.Optimizer
    """Steps as SGD does, and nobody knows."""

    def __init__(self, given: Any, lr: float) -> None:
        super().__init__(given, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for parameter in self.param_groups[0]["params"]:
            parameter.sub_(self.param_groups[0]["lr"] * parameter.grad)


REASONS: dict[str, tuple[Callable[[Any], optim.Optimizer], str]] = {
    "other": (lambda p: Own(p, lr=0.1), "the edge of stability of Own is not known here"),
    "momenta": (
        lambda p: optim.SGD([{"params": p[:1], "momentum": 0.5}, {"params": p[1:]}], lr=0.1),
        "the parameter groups of SGD have different momenta",
    ),
    "climbs": (lambda p: optim.SGD(p, lr=0.1, maximize=True), "the parameter groups of SGD have different momenta, or"),
    "RAdam": (lambda p: optim.RAdam(p, lr=0.1), "RAdam does not tell how far it moves a weight"),
    "no rate": (lambda p: optim.SGD(p, lr=0.0), "the learning rate is zero"),
}


@pytest.mark.parametrize("name", REASONS)
def test_why_there_is_no_edge(name: str) -> None:
    make, reason = REASONS[name]
    seen, _ = read(make)
    assert seen.reason.startswith(reason)
    assert math.isnan(seen.threshold())
    assert seen.known is (name == "other")


def test_watch_picks_what_a_process_holds() -> None:
    owned = parameters()
    optimizer = optim.Adam(owned, lr=0.1)
    for parameter in owned:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    asked: list[Tensor] = []
    read_preconditioning(optimizer, owned, lambda tensor: asked.append(tensor) or tensor)  # type: ignore[func-returns-value]
    assert [tensor.shape for tensor in asked] == [parameter.shape for parameter in owned]


@pytest.mark.parametrize("measured", [True, False], ids=["measured", "not yet measured"])
def test_a_trust_ratio_is_that_of_the_steps_and_not_of_the_settings(measured: bool) -> None:
    """Settings and state of LARS are those of heavy-ball SGD, and it moves a thousand times less."""
    torch.manual_seed(0)
    parameter = nn.Parameter(torch.randn(8, 8, dtype=torch.float64))
    optimizer = LARS([parameter], weight_decay=0.0)
    for _ in range(60):
        parameter.grad = torch.randn_like(parameter)
        start = parameter.detach().clone()
        optimizer.step()
    # the ratio of the last step, whose gradient its buffer holds whole
    assert parameter.grad is not None
    ratio = 1e-3 * float(start.norm() / parameter.grad.norm())
    whole = optimizer.param_groups[0]["lr"] * ratio / (1.0 - 0.9) if measured else math.nan
    seen = read_preconditioning(optimizer, [parameter], lambda tensor: tensor, lambda *_: whole)
    assert seen.known == measured
    if measured:
        assert seen.preconditioner == [pytest.approx(ratio)]
        buffer = optimizer.state[parameter]["momentum_buffer"]
        kept = {**optimizer.state[parameter], "momentum_buffer": buffer.clone()}
        moves = []
        for kick in (0.0, 1e-6):  # one coordinate, so that the norm stays what it is to first order
            other = nn.Parameter(start.clone())
            twin = LARS([other], weight_decay=0.0)
            twin.state[other].update({**kept, "momentum_buffer": buffer.clone()})
            other.grad = parameter.grad.clone()
            other.grad[0, 0] += kick
            twin.step()
            moves.append(other.detach()[0, 0])
        at_once = float(moves[0] - moves[1]) / 1e-6
        assert at_once == pytest.approx(seen.rate * ratio, rel=0.1)
    else:
        assert seen.reason == "LARS does not tell how far it moves a weight per unit of gradient"
