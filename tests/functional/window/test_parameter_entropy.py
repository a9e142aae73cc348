"""Entropy of the trainable variables, its production and destruction, against closed forms."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import curvatures, normal, stationary_variance
from scipy.integrate import quad
from torch import Tensor
from torch.testing import assert_close

from thermo_callbacks.functional import (
    entropy_destruction,
    entropy_production,
    free_diffusion_production,
    momentum_response,
    parameter_entropy,
)
from thermo_callbacks.functional.window.coordinate_terms import coordinate_terms

SPREADS = st.lists(st.floats(-10.0, 3.0), min_size=1, max_size=12).map(
    lambda powers: 10.0 ** torch.tensor(powers, dtype=torch.float64)
)
FACTORS = st.floats(-4.0, 4.0).map(lambda power: 10.0**power)


def kinetic_temperatures(curvature: Tensor, noise_variance: Tensor, lr: float, momentum: float = 0.0) -> Tensor:
    r"""Expected kinetic temperature of each coordinate of a quadratic in equilibrium, exact in the learning rate.

    From Var(g) and Cov(g_t, g_{t+1}), the parameters being an AR(2) series:
    q_{t+1} = (1 + mu - lr lambda) q_t - mu q_{t-1} - lr xi_t.
    """
    variance = stationary_variance(curvature, noise_variance, lr, momentum)
    next_one = (1.0 + momentum - lr * curvature) / (1.0 + momentum)  # correlation of neighbours
    force = curvature.square() * variance
    gradient = noise_variance + force
    neighbours = force * next_one - lr * noise_variance * curvature
    return 0.5 * lr * momentum_response(momentum).factor * (gradient - momentum * neighbours)


class TestParameterEntropy:
    def test_is_that_of_a_gaussian(self) -> None:
        variances = torch.tensor([0.25, 1.0, 9.0], dtype=torch.float64)
        expected = torch.distributions.Normal(torch.zeros(3).double(), variances.sqrt()).entropy().sum()
        assert_close(parameter_entropy(variances), expected, rtol=1e-14, atol=0.0)
        assert_close(parameter_entropy(variances, total=30), 10.0 * expected, rtol=1e-14, atol=0.0)

    @pytest.mark.parametrize("steps", [4, 8, 50])
    def test_independent_steps_have_no_bias(self, steps: int) -> None:
        reps, coordinates = 4000, 5
        variances = normal(reps, steps, coordinates, seed=steps).var(1)
        values = torch.stack([parameter_entropy(row, steps=steps) for row in variances])
        expected = coordinates * 0.5 * math.log(2.0 * math.pi * math.e)
        stderr = values.std() / reps**0.5
        assert abs(values.mean() - expected) < 4.0 * stderr
        plain = torch.stack([parameter_entropy(row) for row in variances])
        assert expected - plain.mean() > 10.0 * stderr

    def test_what_does_not_move_is_left_out_and_kills_nothing(self) -> None:
        variances = torch.tensor([0.5, 0.0, 2.0, 0.0], dtype=torch.float64)
        moved = parameter_entropy(torch.tensor([0.5, 2.0], dtype=torch.float64))
        assert_close(parameter_entropy(variances), moved, rtol=1e-14, atol=0.0)
        assert_close(parameter_entropy(variances, total=8), 2.0 * moved, rtol=1e-14, atol=0.0)
        production = entropy_production(variances, 0.1, lr=0.5, total=8)
        assert_close(production.item(), 2.0 * 0.5 * 0.1 * (1.0 / 0.5 + 1.0 / 2.0), rtol=1e-14, atol=0.0)

    @pytest.mark.parametrize("variances", [[0.0, 0.0], [1.0, math.nan], [1.0, -1.0]], ids=["rest", "nan", "negative"])
    def test_no_value(self, variances: list[float]) -> None:
        assert parameter_entropy(torch.tensor(variances)).isnan()
        if variances[1] != -1.0:
            assert entropy_production(torch.tensor(variances), 1.0, lr=0.1).isnan()

    @given(SPREADS, FACTORS)
    def test_other_units_shift_it(self, variances: Tensor, factor: float) -> None:
        shifted = parameter_entropy(variances * factor**2)
        expected = parameter_entropy(variances) + len(variances) * math.log(factor)
        assert_close(shifted, expected, rtol=1e-12, atol=1e-10)

    @given(SPREADS, SPREADS)
    def test_layers_add_up(self, first: Tensor, second: Tensor) -> None:
        whole = torch.cat([first, second])
        for quantity in (parameter_entropy, lambda variances: entropy_production(variances, 0.2, lr=0.3)):
            assert_close(quantity(whole), quantity(first) + quantity(second), rtol=1e-12, atol=1e-10)

    @pytest.mark.parametrize("shape", [(), (2, 2), (0,)], ids=str)
    @pytest.mark.parametrize("quantity", [parameter_entropy, lambda v, **_: entropy_production(v, 1.0, lr=1.0)])
    def test_bad_shapes(self, quantity: object, shape: tuple[int, ...]) -> None:
        with pytest.raises(
            ValueError, match=r"^variances must be a floating-point tensor of shape \[n\] with n >= 1, "
        ):
            quantity(torch.zeros(shape))  # type: ignore[operator]

    def test_bad_arguments(self) -> None:
        variances = torch.ones(3)
        with pytest.raises(ValueError, match=r"^variances must be a floating-point .* torch.int64: flatten it$"):
            parameter_entropy(torch.ones(3, dtype=torch.int64))
        with pytest.raises(ValueError, match=r"^total must be at least the 3 coordinates of variances, got 2$"):
            parameter_entropy(variances, total=2)
        pattern = "^steps must be at least 4 for a variance to have a mean inverse, got 3$"
        with pytest.raises(ValueError, match=pattern):
            parameter_entropy(variances, steps=3)
        with pytest.raises(ValueError, match=pattern):
            free_diffusion_production(3)
        for name in ("temperature", "preconditioner"):
            given_ = {"temperature": 1.0, name: torch.ones(2)}
            with pytest.raises(
                ValueError, match=rf"^{name} must be a scalar or of shape \[3\] like variances, got \(2,"
            ):
                entropy_production(variances, lr=1.0, **given_)  # type: ignore[arg-type]
        for bad in (1.0, -0.5):
            with pytest.raises(ValueError, match=r"^momentum must lie in \[0, 1\)"):
                entropy_destruction(torch.tensor(1.0), 0.1, bad)
            with pytest.raises(ValueError, match=r"^momentum must lie in \[0, 1\)"):
                entropy_production(variances, 1.0, lr=0.1, momentum=bad)
            with pytest.raises(ValueError, match=r"^momentum must lie in \[0, 1\)"):
                free_diffusion_production(10, bad)


class TestBalance:
    """In equilibrium on a quadratic, production is destruction: closed forms, no simulation."""

    CURVATURE = curvatures(100)
    NOISE = 0.1 + normal(100, seed=3).square()  # a variance for each coordinate: none has the temperature of another

    @pytest.mark.parametrize("lr", [0.001, 0.05, 0.19])
    def test_exact_for_sgd_at_any_learning_rate(self, lr: float) -> None:
        variances = stationary_variance(self.CURVATURE, self.NOISE, lr)
        production = entropy_production(variances, kinetic_temperatures(self.CURVATURE, self.NOISE, lr), lr)
        assert_close(production, entropy_destruction(self.CURVATURE.sum(), lr), rtol=1e-12, atol=0.0)

    def test_exact_for_a_diagonal_preconditioner(self) -> None:
        lr, preconditioner = 0.01, 10.0 ** normal(100, seed=4).clamp(-1.0, 1.0)
        # q' = q - lr M (lambda q + xi) is plain descent of q / sqrt(M)
        curvature, noise = preconditioner * self.CURVATURE, preconditioner * self.NOISE
        variances = preconditioner * stationary_variance(curvature, noise, lr)
        production = entropy_production(
            variances, kinetic_temperatures(curvature, noise, lr), lr, preconditioner=preconditioner
        )
        assert_close(production, entropy_destruction(curvature.sum(), lr), rtol=1e-12, atol=0.0)

    def test_momentum_leaves_a_gap_of_the_order_of_the_learning_rate(self) -> None:
        gaps = []
        for lr in (1e-4, 1e-3, 1e-2):
            variances = stationary_variance(self.CURVATURE, self.NOISE, lr, 0.9)
            temperatures = kinetic_temperatures(self.CURVATURE, self.NOISE, lr, 0.9)
            destruction = entropy_destruction(self.CURVATURE.sum(), lr, momentum=0.9)
            gaps.append((entropy_production(variances, temperatures, lr, momentum=0.9) / destruction - 1.0).item())
        # to first order (1 + lr lambda (mu + 1/2)) / (1 + lr lambda / (2 (1 + mu))), weighted by lambda
        weight = self.CURVATURE.square().sum() / self.CURVATURE.sum()
        slope = (0.9 + 0.5 - 0.5 / 1.9) * weight
        assert_close(gaps[0], slope.item() * 1e-4, rtol=0.01, atol=0.0)
        assert_close(gaps[1] / gaps[0], 10.0, rtol=0.02, atol=0.0)
        assert 0.0 < gaps[2] < 0.08

    def test_one_temperature_is_right_where_there_is_one(self) -> None:
        lr, temperature = 0.01, 0.005
        variances = temperature / self.CURVATURE
        production = entropy_production(variances, temperature, lr)
        assert_close(production, entropy_destruction(self.CURVATURE.sum(), lr), rtol=1e-12, atol=0.0)
        entropy = 0.5 * (2.0 * math.pi * math.e * temperature / self.CURVATURE).log().sum()
        assert_close(parameter_entropy(variances), entropy, rtol=1e-12, atol=0.0)

    def test_one_temperature_is_wrong_where_coordinates_differ(self) -> None:
        noise = torch.ones(100, dtype=torch.float64)
        noise[::10] = 1e-6  # behind nearly constant inputs
        variances = stationary_variance(self.CURVATURE, noise, 0.001)
        temperatures = kinetic_temperatures(self.CURVATURE, noise, 0.001)
        destruction = entropy_destruction(self.CURVATURE.sum(), 0.001)
        assert entropy_production(variances, temperatures.mean(), 0.001) > 1e4 * destruction
        assert_close(entropy_production(variances, temperatures, 0.001), destruction, rtol=1e-12, atol=0.0)

    def test_destruction_is_the_contraction_of_volume(self) -> None:
        for lr in (1e-3, 1e-4):
            contraction = -torch.log1p(-lr * self.CURVATURE).sum()
            second = 0.5 * (lr * self.CURVATURE).square().sum()
            difference = contraction - entropy_destruction(self.CURVATURE.sum(), lr)
            assert_close(difference, second, rtol=0.01, atol=0.0)
        assert entropy_destruction(torch.tensor(-2.0), 0.5, momentum=0.75).item() == -4.0

    @given(SPREADS, FACTORS, FACTORS)
    def test_production_knows_no_units(self, variances: Tensor, factor: float, loss_factor: float) -> None:
        expected = entropy_production(variances, 0.3, 0.01)
        # q -> c q at one loss takes the learning rate c^2; L -> a L takes lr / a
        assert_close(entropy_production(variances * factor**2, 0.3, 0.01 * factor**2), expected, rtol=1e-10, atol=0.0)
        scaled = entropy_production(variances, 0.3 * loss_factor, 0.01 / loss_factor)
        assert_close(scaled, expected, rtol=1e-10, atol=0.0)


class TestFreeDiffusion:
    """A coordinate that no force holds."""

    @pytest.mark.parametrize("steps", [4, 5, 8, 50, 1000])
    def test_closed_form_without_momentum(self, steps: int) -> None:
        # prod_k (1 + 2 s lambda_k) = sinh(W u) / (W sinh u) with s = cosh u - 1, the path graph's determinant
        def integrand(u: float) -> float:
            return math.sqrt(steps * math.sinh(u) / math.sinh(steps * u)) * math.sinh(u) if u else 0.0

        ends = (0.0, 40.0 / steps, 600.0 / steps)
        integral = sum(quad(integrand, *pair, epsrel=1e-10)[0] for pair in pairwise(ends))
        assert_close(free_diffusion_production(steps), (steps - 3) / 2.0 * integral, rtol=1e-6, atol=0.0)

    def test_long_windows(self) -> None:
        integral = quad(lambda v: v**1.5 / math.sqrt(math.sinh(v)) if v else 0.0, 0.0, 600.0)[0]
        for steps in (1000, 5000, 100_000):
            assert_close(free_diffusion_production(steps) * steps, integral / 2.0, rtol=0.01, atol=0.0)

    @pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
    @pytest.mark.parametrize("steps", [5, 20, 100])
    def test_is_what_walks_show(self, steps: int, momentum: float) -> None:
        reps, lr = 4000, 0.3
        kicks = normal(reps, steps + 200, seed=steps) * lr
        move, moves = torch.zeros(reps, dtype=torch.float64), []
        for kick in kicks.T:
            move = momentum * move + kick
            moves.append(move)
        walks = torch.stack(moves[200:], 1).cumsum(1)
        temperature = 0.5 * lr * momentum_response(momentum).factor  # of gradient noise of variance 1
        productions = [
            entropy_production(row.view(1), temperature, lr, momentum=momentum, steps=steps) for row in walks.var(1)
        ]
        values = torch.stack(productions)
        expected = free_diffusion_production(steps, momentum)
        assert abs(values.mean() - expected) < 4.0 * values.std() / reps**0.5
        if momentum == 0.0:  # the mean variance of a walk about its mean
            spread = walks.var(1)
            mean = lr * temperature * (steps + 1) / 3.0
            assert abs(spread.mean() - mean) < 4.0 * spread.std() / reps**0.5

    @pytest.mark.parametrize("relaxation", [0.3, 3.0, 20.0, 80.0], ids="{} windows".format)
    def test_bounds_the_excess_in_equilibrium(self, relaxation: float) -> None:
        steps, reps = 400, 2000
        rate = relaxation / steps
        variance = stationary_variance(torch.tensor(rate).double(), torch.tensor(1.0).double(), 1.0)
        position, rows = normal(reps, seed=1) * variance.sqrt(), []
        for kick in normal(steps, reps, seed=2):
            rows.append(position)
            position = (1.0 - rate) * position + kick
        diffusion = rate * variance  # lr = 1, T = lambda Var
        terms = coordinate_terms(torch.stack(rows).var(0), diffusion, steps)
        excess = terms.production - rate
        error = 4.0 * excess.std() / reps**0.5
        assert -error < excess.mean() < free_diffusion_production(steps) + error
        if relaxation > 50.0:
            assert_close(excess.mean().item() * steps, 4.0, rtol=0.0, atol=1.0 + error.item() * steps)
        loss = terms.log_variance.mean() / 2.0 - variance.log() / 2.0
        if relaxation > 10.0:
            assert_close(loss.item(), -1.5 / relaxation, rtol=0.3, atol=0.0)

    @pytest.mark.parametrize("relaxation", [0.0, 1.0, 20.0, 100.0])
    def test_the_correction_of_independent_steps_helps_correlated_ones(self, relaxation: float) -> None:
        steps, reps = 50, 2000
        decay = 0.0 if relaxation == 0.0 else math.exp(-1.0 / relaxation)
        position, rows = normal(reps, seed=3), []
        for kick in normal(steps, reps, seed=4):
            rows.append(position)
            position = decay * position + (1.0 - decay**2) ** 0.5 * kick  # variance 1
        variances = torch.stack(rows).var(0)
        terms = coordinate_terms(variances, torch.ones(reps, dtype=torch.float64), steps)
        for plain, corrected, exact in (
            (variances.log(), terms.log_variance, 0.0),
            (1.0 / variances, terms.production, 1.0),
        ):
            assert abs(corrected.mean() - exact) < abs(plain.mean() - exact)
