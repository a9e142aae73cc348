"""Production against destruction in simulated training on a quadratic, far from equilibrium and in it."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from oracles import Rule, Trajectory, curvatures, normal, simulate, stationary_variance, torch_rule
from torch import Tensor
from torch.testing import assert_close

from thermo_callbacks.functional import (
    entropy_destruction,
    entropy_production,
    free_diffusion_production,
    kinetic_temperature,
    momentum_response,
    parameter_entropy,
    second_law,
)
from thermo_callbacks.functional.window.entropy_production import entropy_production_sums, free_diffusion_sums
from thermo_callbacks.functional.window.parameter_entropy import parameter_entropy_sums
from thermo_callbacks.functional.window.statistics import WindowStatistics
from thermo_callbacks.functional.window.streaming import CHUNK, StreamingWindow
from thermo_callbacks.metrics import EntropyDestruction

N, LR = 100, 0.01
STEPS = 8_000
CURVATURE = curvatures(N)


def preconditioned(lr: float, preconditioner: Tensor) -> Rule:
    return lambda _, gradient: -lr * preconditioner * gradient


def watched(run: Trajectory, mobility: Tensor | float, momentum: float = 0.0) -> WindowStatistics:
    """Statistics of a run as one layer's, streamed step by step."""
    steps, coordinates = run.gradients.shape
    window = StreamingWindow(
        torch.zeros(1, dtype=torch.int64),
        1,
        length=steps,
        device=torch.device("cpu"),
        dtype=torch.float64,
        sampled=False,
    )
    rows = torch.zeros(steps, 3, CHUNK, dtype=torch.float64)
    rows[:, :, :coordinates] = torch.stack((run.parameters, run.gradients, run.displacements), 1)
    spread = torch.ones(CHUNK, dtype=torch.float64)
    spread[:coordinates] = torch.as_tensor(mobility)
    for row in rows:
        window.update(row, momentum, momentum_response(momentum).factor, spread)
    count = torch.tensor([float(coordinates)], dtype=torch.float64)
    decay = torch.tensor([momentum], dtype=torch.float64)
    return window.layer_sums(decay).statistics(count, count, decay, batch_size=1.0)


def in_equilibrium(rule: Rule, steps: int, spread: Tensor, seed: int = 0) -> Trajectory:
    """A run from equilibrium on; ``spread`` is the variance to start with."""
    return simulate(CURVATURE, normal(N, seed=seed + 1) * spread.sqrt(), normal(steps, N, seed=seed), rule)


@pytest.fixture(scope="module")
def run() -> Trajectory:
    """A long run of plain descent."""
    spread = stationary_variance(CURVATURE, torch.ones(N).double(), LR)
    return in_equilibrium(torch_rule(torch.optim.SGD, (N,), lr=LR), STEPS, spread)


class TestEquilibrium:
    def test_functions(self, run: Trajectory) -> None:
        temperature = kinetic_temperature(run.displacements, run.gradients)
        variances = run.parameters.var(0)
        production = entropy_production(variances, temperature, LR, steps=STEPS)
        destruction = entropy_destruction(CURVATURE.sum(), LR)
        assert_close(production, destruction, rtol=0.05, atol=0.0)
        entropy = parameter_entropy(variances, steps=STEPS)
        exact = 0.5 * (2.0 * math.pi * math.e * stationary_variance(CURVATURE, torch.ones(N).double(), LR)).log().sum()
        textbook = 0.5 * (2.0 * math.pi * math.e * LR / 2.0 / CURVATURE).log().sum()
        lost = (1.5 / (LR * CURVATURE) / STEPS).sum()  # in a window of finite length, to first order
        assert_close(entropy + lost, exact, rtol=0.01, atol=0.0)
        assert_close(exact, textbook, rtol=0.01, atol=0.0)

    def test_estimates(self, run: Trajectory) -> None:
        destruction = EntropyDestruction([N])
        window = watched(run, LR)
        entropy = parameter_entropy_sums(window).estimate().whole
        destruction.update(LR * CURVATURE.sum().view(1), torch.zeros(1).double())
        value, stderr, _ = entropy_production_sums(window).estimate().whole
        assert_close(value, destruction.compute(), rtol=0.05, atol=0.0)
        assert value - destruction.compute() < free_diffusion_sums(window).estimate().whole.value + 4.0 * stderr
        assert 0.002 < stderr / value < 0.02
        exact = parameter_entropy(stationary_variance(CURVATURE, torch.ones(N).double(), LR))
        lost = (1.5 / (LR * CURVATURE) / STEPS).sum()
        assert abs(entropy.value + lost - exact) < 4.0 * entropy.stderr

    def test_a_diagonal_preconditioner(self) -> None:
        preconditioner = 10.0 ** normal(N, seed=4).clamp(-0.7, 0.7)
        rates = preconditioner * CURVATURE
        spread = preconditioner * stationary_variance(rates, preconditioner, LR)
        run = in_equilibrium(preconditioned(LR, preconditioner), STEPS, spread)
        production = entropy_production_sums(watched(run, LR * preconditioner)).estimate().whole
        assert_close(production.value, entropy_destruction(rates.sum(), LR), rtol=0.05, atol=0.0)

    @pytest.mark.parametrize("lr", [0.001, 0.005])
    def test_momentum(self, lr: float) -> None:
        momentum = 0.9
        spread = stationary_variance(CURVATURE, torch.ones(N).double(), lr, momentum)
        run = in_equilibrium(torch_rule(torch.optim.SGD, (N,), lr=lr, momentum=momentum), STEPS, spread)
        production = entropy_production_sums(watched(run, lr / (1.0 - momentum), momentum)).estimate().whole
        destruction = entropy_destruction(CURVATURE.sum(), lr, momentum)
        # the gap that remains at a finite learning rate
        gap = lr * (momentum + 0.5 - 0.5 / (1.0 + momentum)) * CURVATURE.square().sum() / CURVATURE.sum()
        assert_close(production.value, destruction * (1.0 + gap), rtol=0.05, atol=0.0)


class TestSecondLaw:
    def law(self, steps: Trajectory) -> tuple[float, float]:
        """Flag and entropy of a run watched as one window."""
        window = watched(steps, LR)
        value, stderr, _ = entropy_production_sums(window).estimate().whole
        verdict = second_law(
            value,
            entropy_destruction(CURVATURE.sum(), LR),
            production_stderr=stderr,
            destruction_stderr=torch.zeros_like(stderr),
            resolution=free_diffusion_sums(window).estimate().whole.value,
        )
        return verdict.flag.item(), parameter_entropy_sums(window).estimate().whole.value.item()

    def test_entropy_falls_in_a_quench_until_equilibrium(self) -> None:
        rule = torch_rule(torch.optim.SGD, (N,), lr=LR)
        run = simulate(CURVATURE, 30.0 * normal(N, seed=1), normal(1200, N, seed=0), rule)
        windows = [Trajectory(*(field[start : start + 200] for field in run)) for start in range(0, 1200, 200)]
        flags, entropies = zip(*(self.law(window) for window in windows), strict=True)
        assert flags[0] == -1.0
        assert all(later < earlier for earlier, later in pairwise(entropies))

    @pytest.mark.parametrize("steps", [50, 400])
    def test_no_growth_is_claimed_in_equilibrium(self, steps: int) -> None:
        spread = stationary_variance(CURVATURE, torch.ones(N).double(), LR)
        rule = torch_rule(torch.optim.SGD, (N,), lr=LR)
        flags = [self.law(in_equilibrium(rule, steps, spread, seed=10 * seed))[0] for seed in range(30)]
        assert sum(flag != 0.0 for flag in flags) <= 3
        # a window of 50 steps is too short to see any coordinate relax: it reads free diffusion
        production = entropy_production_sums(watched(in_equilibrium(rule, steps, spread), LR)).estimate().whole
        surplus = production.value - entropy_destruction(CURVATURE.sum(), LR)
        assert surplus > 0.5 * N * free_diffusion_production(steps)
