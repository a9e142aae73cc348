"""Production against destruction along single directions, in simulated training on a quadratic."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from oracles import Rule, Trajectory, langevin_rule, normal, simulate, stationary_variance, torch_rule
from torch import Tensor
from torch.testing import assert_close

from thermo_callbacks.functional import Motion, momentum_response, resolved_balance, second_law
from thermo_callbacks.functional.window.linear_motion import equilibrium_runs
from thermo_callbacks.functional.window.resolved import ResolvedBalance

CURVATURES = torch.tensor([2.0, 5.0, 10.0, 15.0], dtype=torch.float64)
RUNS, BURN = 24, 100


class Case(NamedTuple):
    rule: Callable[[int], Rule]  # of the number of coordinates
    motion: Motion
    noise: float = 1.0


def sgd(lr: float, **options: object) -> Callable[[int], Rule]:
    return lambda size: torch_rule(torch.optim.SGD, (size,), lr=lr, **options)


def decoupled(lr: float, decay: float) -> Callable[[int], Rule]:
    return lambda _: lambda q, g: -lr * g - decay * q


def averaging(lr: float, beta: float) -> Callable[[int], Rule]:
    """Adam with a second moment that stands still at 1."""

    def make(size: int) -> Rule:
        buffer = torch.zeros(size, dtype=torch.float64)

        def step(_: Tensor, gradient: Tensor) -> Tensor:
            buffer.mul_(beta).add_((1.0 - beta) * gradient)
            return -lr * buffer

        return step

    return make


PLAIN = momentum_response(0.0)
CASES = {
    "SGD": Case(sgd(0.1), Motion(0.1, PLAIN)),
    "momentum": Case(sgd(0.05, momentum=0.5), Motion(0.05, momentum_response(0.5))),
    "much momentum": Case(sgd(0.05, momentum=0.9), Motion(0.05, momentum_response(0.9))),
    "Nesterov": Case(
        sgd(0.05, momentum=0.9, nesterov=True), Motion(0.05, momentum_response(0.9, nesterov=True), nesterov=True)
    ),
    "Adam": Case(averaging(0.1, 0.5), Motion(0.1 * (1.0 - 0.5), momentum_response(0.5))),
    "decoupled decay": Case(decoupled(0.05, 0.1), Motion(0.05, PLAIN, decay=0.1)),
    "Langevin": Case(lambda size: langevin_rule(0.1, 0.5, normal(1000, size, seed=9)), Motion(0.1, PLAIN), 0.0),
}


def run(case: Case, steps: int, curvatures: Tensor, seed: int = 0) -> Trajectory:
    size = len(curvatures)
    noise = case.noise * normal(BURN + steps, size, seed=seed)
    return simulate(curvatures, normal(size, seed=seed + 1), noise, case.rule(size)).last(steps)


def balance(case: Case, steps: int, seed: int = 0) -> ResolvedBalance:
    curvatures = CURVATURES.repeat(RUNS)
    return resolved_balance(*run(case, steps, curvatures, seed), curvatures=curvatures, motion=case.motion)


@pytest.mark.parametrize(
    ("name", "steps"),
    [("SGD", 50), ("momentum", 80), ("much momentum", 200), ("Nesterov", 200), ("Adam", 80), ("decoupled decay", 80),
     ("Langevin", 50)],
)  # fmt: skip
def test_balance_in_equilibrium(name: str, steps: int) -> None:
    found = balance(CASES[name], steps)
    motion = CASES[name].motion
    assert_close(found.destruction, motion.mobility * CURVATURES.repeat(RUNS) + motion.decay)
    resolved = found.resolved.view(RUNS, -1)
    assert (resolved == resolved[0]).all()
    assert resolved[0, 1:].all()
    ratio = (found.production / found.destruction).view(RUNS, -1)[:, resolved[0]]
    errors = (found.production_stderr / found.production).view(RUNS, -1)[0, resolved[0]]
    assert ((ratio.mean(0) - 1.0).abs() < 4.0 * errors / RUNS**0.5).all()
    assert (errors / ratio.std(0) > 0.6).all()
    assert (errors / ratio.std(0) < 1.8).all()


@pytest.mark.parametrize("name", ["SGD", "momentum", "Langevin"])
def test_the_flag_claims_nothing_in_equilibrium(name: str) -> None:
    found = balance(CASES[name], 100, seed=5)
    parts = [part.view(RUNS, -1) for part in found]
    flags = []
    for row in range(RUNS):
        values, errors = ResolvedBalance(*(part[row] for part in parts)).total(torch.zeros(len(CURVATURES)).double())
        law = second_law(*values, production_stderr=errors[0], destruction_stderr=errors[1])
        flags.append(law.flag.item())
    assert sum(flag != 0.0 for flag in flags) <= 4  # of 24, where 1 is expected


def test_a_quench_lowers_the_entropy_and_heat_raises_it() -> None:
    case = CASES["SGD"]
    curvatures = torch.full((40,), 1.0, dtype=torch.float64)
    cooling = simulate(curvatures, 30.0 * normal(40, seed=1), normal(60, 40, seed=2), case.rule(40))
    found = resolved_balance(*cooling, curvatures=curvatures, motion=case.motion)
    assert found.production.mean() < 0.1 * found.destruction.mean()
    # from a tight ball: a window of which the weights spend the larger part close together
    heating = simulate(
        curvatures,
        torch.zeros(40).double(),
        normal(60, 40, seed=4) * torch.linspace(0.05, 1.0, 60)[:, None].double(),
        case.rule(40),
    )
    hot = resolved_balance(*heating, curvatures=curvatures, motion=case.motion)
    assert hot.production.mean() > 1.05 * hot.destruction.mean()


def test_copies_of_an_input_are_one_mode() -> None:
    """Six weights behind the same input: each alone reads six times what the one mode does."""
    case, copies, curvature = CASES["SGD"], 6, 1.0
    direction = torch.ones(copies, dtype=torch.float64) / copies**0.5
    q, rows = torch.zeros(copies, dtype=torch.float64), []
    for kick in normal(3000, seed=3):
        g = direction * (curvature * (direction @ q) + kick)
        rows.append((q, -0.1 * g, g))
        q = q - 0.1 * g
    window = [torch.stack(field) for field in zip(*rows, strict=True)]
    projected = [field @ direction[:, None] for field in window]
    found = resolved_balance(*projected, curvatures=torch.tensor([curvature]), motion=case.motion)
    assert abs(found.production.item() / found.destruction.item() - 1.0) < 4.0 * (
        found.production_stderr.item() / found.destruction.item()
    )
    by_coordinates = (0.05 * window[2].var(0) * 0.1 / window[0].var(0)).sum().item()
    assert by_coordinates > 5.0 * found.destruction.item()


def test_what_a_window_does_not_resolve() -> None:
    case = CASES["SGD"]
    curvatures = torch.tensor([0.5, 1.5, -1.0, 21.0, torch.nan], dtype=torch.float64)  # 50 steps; the edge is at 20
    steps = [normal(50, 5, seed=seed) for seed in range(3)]
    found = resolved_balance(*steps, curvatures=curvatures, motion=case.motion)
    assert found.resolved.tolist() == [False, True, False, False, False]
    assert found.production.isnan().tolist() == [True, False, True, True, True]
    assert found.destruction.isfinite().tolist() == [True] * 4 + [False]
    nothing = ResolvedBalance(*found[:3], torch.zeros(5, dtype=torch.bool))
    assert all(part.isnan().all() for part in nothing.total(torch.zeros(5).double()))


def test_errors_of_curvatures_add_up() -> None:
    one = torch.ones(3, dtype=torch.float64)
    found = ResolvedBalance(2.0 * one, 3.0 * one, 0.5 * one, torch.tensor([True, True, False]))
    values, errors = found.total(0.1 * one)
    assert_close(values, torch.tensor([6.0, 4.0]).double())
    assert_close(errors, torch.tensor([0.5**0.5, 0.2]).double())


def test_bad_arguments() -> None:
    message = r"^positions, displacements and gradients must have one shape \[W, k\] with W at least 8, got \(7, 2\)"
    with pytest.raises(ValueError, match=message):
        resolved_balance(*(torch.ones(7, 2) for _ in range(3)), curvatures=torch.ones(2), motion=CASES["SGD"].motion)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_simulated_runs_start_in_equilibrium(momentum: float) -> None:
    motion = Motion(0.05, momentum_response(momentum))
    still = torch.zeros(4, dtype=torch.bool)
    runs = equilibrium_runs(CURVATURES, motion, steps=5, runs=20_000, injected=still)
    expected = stationary_variance(CURVATURES, torch.ones(4).double(), 0.05, momentum)
    assert_close(runs.positions.var(1), expected.expand(5, -1), rtol=0.05, atol=0.0)
    again = equilibrium_runs(CURVATURES, motion, steps=5, runs=20_000, injected=still)
    assert torch.equal(runs.gradients, again.gradients)
