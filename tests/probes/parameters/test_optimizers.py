"""What optimizers say of themselves, against what they do: the answer of the real ones to a small kick."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn, optim
from torch.optim import Optimizer

from thermo_callbacks.functional import momentum_response
from thermo_callbacks.probes.parameters.optimizers import decay_contraction, group_momentum, parameter_mobility
from thermo_callbacks.probes.parameters.stated import gradient_sign

WARM_UP, AFTER = 400, 250
KICK = 1e-7
AMPLITUDES = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64)
WATCHED = torch.tensor([0, 2])


class Unknown(Optimizer):
    """Steps as SGD does; keeps something in its state, if asked to."""

    def __init__(self, parameters: Any, lr: float, *, state: dict[str, Any] | None = None) -> None:
        super().__init__(parameters, {"lr": lr})
        self._own_state = state

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for parameter in self.param_groups[0]["params"]:
            parameter.sub_(self.param_groups[0]["lr"] * parameter.grad)
            if self._own_state is not None:
                self.state[parameter].update(self._own_state)


class Case(NamedTuple):
    make: Callable[[Any], Optimizer]
    momentum: float = 0.0
    known: bool = True  # whether it shows its mobility


CASES = {
    "SGD": Case(lambda p: optim.SGD(p, lr=0.1)),
    "SGD, tensor learning rate": Case(lambda p: optim.SGD(p, lr=torch.tensor(0.1, dtype=torch.float64))),
    "momentum": Case(lambda p: optim.SGD(p, lr=0.1, momentum=0.9), 0.9),
    "dampening": Case(lambda p: optim.SGD(p, lr=0.1, momentum=0.8, dampening=0.5), 0.8),
    "Nesterov": Case(lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True), 0.9),
    "Adam": Case(lambda p: optim.Adam(p, lr=0.1), 0.9),
    "Adam, large eps": Case(lambda p: optim.Adam(p, lr=0.1, eps=1.0, betas=(0.7, 0.999)), 0.7),
    "Adam without momentum": Case(lambda p: optim.Adam(p, lr=0.1, betas=(0.0, 0.999))),
    "AdamW": Case(lambda p: optim.AdamW(p, lr=0.1, weight_decay=0.0), 0.9),
    "AdamW, amsgrad": Case(lambda p: optim.AdamW(p, lr=0.1, weight_decay=0.0, amsgrad=True), 0.9),
    "RAdam": Case(lambda p: optim.RAdam(p, lr=0.1), 0.9, known=False),
    "RMSprop": Case(lambda p: optim.RMSprop(p, lr=0.1)),
    "RMSprop with momentum": Case(lambda p: optim.RMSprop(p, lr=0.1, momentum=0.6, alpha=0.999), 0.6),
    "RMSprop, centered": Case(lambda p: optim.RMSprop(p, lr=0.1, centered=True, alpha=0.999)),
    "Adagrad": Case(lambda p: optim.Adagrad(p, lr=0.1)),
    "Adagrad, decaying": Case(lambda p: optim.Adagrad(p, lr=0.1, lr_decay=0.01)),
    "custom without state": Case(lambda p: Unknown(p, 0.1)),
    "custom with state": Case(lambda p: Unknown(p, 0.1, state={"trace": 0.0}), known=False),
}


def run(make: Callable[[Any], Optimizer], kick: float, steps: int) -> tuple[Optimizer, nn.Parameter, Tensor]:
    """Gradients of one size and alternating sign; one of them is kicked. Displacements from that step on."""
    parameter = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    optimizer = make([parameter])
    moves = []
    for step in range(WARM_UP + steps):
        parameter.grad = AMPLITUDES * (-1.0) ** step + (kick if step == WARM_UP else 0.0)
        before = parameter.detach().clone()
        optimizer.step()
        moves.append(parameter.detach() - before)
    return optimizer, parameter, torch.stack(moves[WARM_UP:])


def answer(make: Callable[[Any], Optimizer]) -> Tensor:
    """Displacement per unit of gradient, in the step of the kick and after it, ``[AFTER, 3]``."""
    return (run(make, 0.0, AFTER)[2] - run(make, KICK, AFTER)[2]) / KICK


@pytest.mark.parametrize("name", CASES)
def test_momentum_and_response_are_those_of_the_optimizers_answer(name: str) -> None:
    make, momentum, _ = CASES[name]
    moves = answer(make)[:, 1]
    optimizer = run(make, 0.0, 1)[0]
    decay, factor = group_momentum(optimizer, optimizer.param_groups[0])
    assert decay == momentum
    assert factor == pytest.approx(float(moves.sum() / moves[0]), rel=0.02)
    if momentum:
        assert float(moves[2] / moves[1]) == pytest.approx(momentum, rel=0.02)


@pytest.mark.parametrize("name", CASES)
def test_mobility_is_the_whole_answer(name: str) -> None:
    make, _, known = CASES[name]
    optimizer, parameter, _ = run(make, 0.0, 1)
    mobility = parameter_mobility(optimizer, optimizer.param_groups[0], parameter, lambda tensor: tensor[WATCHED])
    if not known:
        assert isinstance(mobility, float)
        assert math.isnan(mobility)
        return
    expected = answer(make).sum(0)[WATCHED]
    torch.testing.assert_close(torch.as_tensor(mobility).expand(2).double(), expected, rtol=0.02, atol=0.0)


HIDDEN = {
    "NAdam": lambda p: optim.NAdam(p, lr=0.1),
    "Adamax": lambda p: optim.Adamax(p, lr=0.1),
    "Adadelta": lambda p: optim.Adadelta(p, lr=0.1),
    "Adafactor": lambda p: optim.Adafactor(p, lr=0.1),
    "ASGD": lambda p: optim.ASGD(p, lr=0.1),
    "Rprop": lambda p: optim.Rprop(p, lr=0.1),
    "LBFGS": lambda p: optim.LBFGS(p, lr=0.1),
}
if hasattr(optim, "Muon"):
    HIDDEN["Muon"] = lambda p: optim.Muon(p, lr=0.1)


@pytest.mark.parametrize("name", HIDDEN)
def test_mobility_that_is_not_shown_is_nan(name: str) -> None:
    parameter = nn.Parameter(torch.eye(3))
    optimizer = HIDDEN[name]([parameter])
    for _ in range(3):
        parameter.grad = torch.ones(3, 3)
        optimizer.step(lambda: parameter.sum())
    mobility = parameter_mobility(optimizer, optimizer.param_groups[0], parameter, lambda tensor: tensor.flatten()[:2])
    assert math.isnan(float(mobility))


@pytest.mark.parametrize("momentum_decay", [1.0, 0.004], ids=["settled", "warming up"])
def test_nadam_answers_as_far_as_its_look_ahead_has_come(momentum_decay: float) -> None:
    def make(parameters: Any) -> Optimizer:
        return optim.NAdam(parameters, lr=0.1, momentum_decay=momentum_decay)

    optimizer, _, _ = run(make, 0.0, 1)
    decay, factor = group_momentum(optimizer, optimizer.param_groups[0])
    measured = answer(make)[:, 1]
    assert decay == 0.9
    assert factor == pytest.approx(float(measured.sum() / measured[0]), rel=0.03)
    settled = momentum_response(0.9, nesterov=True).factor
    assert factor == pytest.approx(settled, rel=0.02) if momentum_decay == 1.0 else factor < settled / 2


@pytest.mark.parametrize("step_count", ["state", "group", "nowhere"])
def test_step_counts_of_optimizers_outside_of_torch(step_count: str) -> None:
    """A plain number in the state or in the group; without any the bias correction is unknown."""
    parameter = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    state: dict[str, Any] = {"exp_avg": torch.zeros(3), "exp_avg_sq": 0.0199 * AMPLITUDES.square()}
    optimizer = Unknown([parameter], 0.1, state=state | ({"step": 2} if step_count == "state" else {}))
    optimizer.param_groups[0].update({"betas": (0.9, 0.99), "eps": 0.0})
    if step_count == "group":
        optimizer.param_groups[0]["step"] = 2
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    mobility = parameter_mobility(optimizer, optimizer.param_groups[0], parameter, lambda tensor: tensor)
    if step_count == "nowhere":
        assert isinstance(mobility, float)
        assert math.isnan(mobility)
    else:
        torch.testing.assert_close(mobility, 0.1 / AMPLITUDES)  # 1 - 0.99^2 = 0.0199


def test_without_a_step_there_is_nothing_in_the_state_to_trip_over() -> None:
    parameter = nn.Parameter(torch.zeros(3))
    for make in (CASES["Adam"].make, CASES["Adagrad"].make, CASES["RMSprop"].make, CASES["momentum"].make):
        optimizer = make([parameter])
        parameter_mobility(optimizer, optimizer.param_groups[0], parameter, lambda tensor: tensor)
        assert group_momentum(optimizer, optimizer.param_groups[0]).momentum in {0.0, 0.9}


def test_groups_differ() -> None:
    parameters = [nn.Parameter(torch.zeros(2)) for _ in range(2)]
    groups = [{"params": parameters[:1], "momentum": 0.5, "maximize": True}, {"params": parameters[1:]}]
    optimizer = optim.SGD(groups, lr=0.1, momentum=0.0)
    assert [group_momentum(optimizer, group).momentum for group in optimizer.param_groups] == [0.5, 0.0]
    assert [gradient_sign(group) for group in optimizer.param_groups] == [-1.0, 1.0]


def test_momentum_that_never_forgets_is_refused() -> None:
    optimizer = optim.SGD([nn.Parameter(torch.zeros(2))], lr=0.1, momentum=1.0)
    with pytest.raises(ValueError, match="momentum must lie in"):
        group_momentum(optimizer, optimizer.param_groups[0])


DECAY, RATE = 0.3, 0.02


@pytest.mark.parametrize(
    "make",
    [
        partial(torch.optim.SGD, lr=RATE),
        partial(torch.optim.AdamW, lr=RATE),
        partial(torch.optim.Adam, lr=RATE, betas=(0.0, 0.9), eps=1e4),  # so large that it is the preconditioner
        partial(torch.optim.NAdam, lr=RATE, decoupled_weight_decay=True),
    ],
    ids=lambda make: make.func.__name__,
)
def test_decay_contracts_as_much_as_the_optimizer_draws_in(make: Any) -> None:
    """Two copies that start apart by a little come closer by the contraction, when their gradients are the same."""
    ends = []
    for shift in (0.0, 1e-3):
        parameter = torch.nn.Parameter(torch.full((3,), 2.0, dtype=torch.float64) + shift)
        optimizer = make([parameter], weight_decay=DECAY)
        for _ in range(60):  # second moments settle
            parameter.grad = torch.full_like(parameter, 5.0)
            optimizer.step()
        before = parameter.detach().clone()
        parameter.grad = torch.full_like(parameter, 5.0)
        optimizer.step()
        ends.append((before, parameter.detach().clone()))
    (first, first_after), (second, second_after) = ends
    shrunk = 1.0 - (second_after - first_after) / (second - first)
    group = optimizer.param_groups[0]
    contraction = torch.as_tensor(decay_contraction(optimizer, group, parameter, lambda tensor: tensor))
    torch.testing.assert_close(shrunk, contraction.double().expand(3), rtol=0.05, atol=0.0)


def test_no_decay_no_contraction() -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([parameter], lr=RATE, weight_decay=0.0)
    assert decay_contraction(optimizer, optimizer.param_groups[0], parameter, lambda tensor: tensor) == 0.0
