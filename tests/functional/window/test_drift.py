"""Drift share and its p-value: exact cases, honest under the null, and blind to no drift."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from metric_cases import added
from oracles import curvatures, normal, stationary_variance, torch_rule
from scipy.stats import kstest, ttest_1samp
from torch import Tensor

from thermo_callbacks.functional import drift_p_value, drift_share, momentum_response
from thermo_callbacks.functional.window.arrays import ArrayWindow
from thermo_callbacks.functional.window.drift import drift_p_value_sums, drift_sums

RUNS = 600


def moved(*squares: float) -> tuple[Tensor, Tensor]:
    """Parameter of one coordinate, and its displacements, whose square takes these values one after another."""
    values = torch.tensor(squares, dtype=torch.float64).sqrt().view(-1, 1)
    return values[:-1], values.diff(dim=0)


def changes(*steps: float) -> tuple[Tensor, Tensor]:
    """The same with a square that changes by these steps."""
    return moved(*(torch.tensor([100.0, *steps], dtype=torch.float64).cumsum(0).tolist()))


class Replicas:
    """Many runs side by side of SGD on a quadratic with unit noise, in equilibrium unless told otherwise."""

    def __init__(self, momentum: float, *, rate: float = 0.01, offset: float = 0.0, slope: float = 0.0) -> None:
        curvature, shape = curvatures(40), (RUNS, 40)
        spread = stationary_variance(curvature, torch.ones_like(curvature), rate, momentum).sqrt()
        rule = torch_rule(torch.optim.SGD, shape, lr=rate, momentum=momentum)
        q = spread * normal(*shape, seed=1)
        noise = normal(150, *shape, seed=2)
        steps = []
        for step, kick in enumerate(noise):
            d = rule(q, curvature * q + kick + slope)
            if step >= 100:  # momentum has filled its buffer
                steps.append((q + offset, d))
            q = q + d
        self.momentum = momentum
        self.parameters, self.displacements = (torch.stack(column) for column in zip(*steps, strict=True))

    def p_values(self, steps: int) -> Tensor:
        """p-value of each run's first steps, the runs as layers."""
        window = self._window(steps)
        return drift_p_value_sums(window).estimate().layers.value

    def shares(self, steps: int) -> Tensor:
        return drift_sums(self._window(steps)).estimate().layers.value

    def _window(self, steps: int) -> ArrayWindow:
        q, d = (list(x[:steps].unbind(1)) for x in (self.parameters, self.displacements))
        return ArrayWindow(3, parameters=q, displacements=d, response=momentum_response(self.momentum))


class TestExact:
    @pytest.mark.parametrize(("count", "batches"), [(2, 2), (3, 3), (8, 8), (16, 8), (24, 12), (48, 16), (52, 13)])
    def test_batch_means_of_equal_length(self, count: int, batches: int) -> None:
        steps = normal(count, seed=count) + 0.3
        means = steps.view(batches, -1).mean(1)
        result = ttest_1samp(means.numpy(), 0.0)
        share = result.statistic**2 / (result.statistic**2 + batches - 1)
        assert drift_share(*changes(*steps.tolist())).item() == pytest.approx(share, rel=1e-9)
        assert drift_p_value(*changes(*steps.tolist())).item() == pytest.approx(result.pvalue, rel=1e-9)

    def test_batches_of_unequal_length_count_by_their_length(self) -> None:
        """Nine steps in four batches of 3, 2, 2 and 2: Student's t of weighted means, written out."""
        steps = normal(9, seed=3) + 0.2
        lengths = torch.tensor([3.0, 2.0, 2.0, 2.0], dtype=torch.float64)
        means = torch.stack([part.mean() for part in steps.split([3, 2, 2, 2])])
        variance = (lengths * (means - steps.mean()).square()).sum() / 3.0  # of one step
        t2 = steps.mean().square() / (variance / 9.0)
        assert drift_share(*changes(*steps.tolist())).item() == pytest.approx((t2 / (t2 + 3.0)).item(), rel=1e-9)

    def test_momentum_takes_off_what_the_next_step_repeats(self) -> None:
        """Changes that momentum 1/2 makes of fresh ones: these are what is left."""
        fresh, change = [1.0, -2.0, 0.5, 3.0, 1.5, -1.0, 2.0, 0.25], [0.0]
        for value in fresh:
            change.append(0.5 * change[-1] + value)
        shown = drift_share(*changes(*change), momentum=0.5)
        assert shown.item() == pytest.approx(drift_share(*changes(*fresh)).item(), rel=1e-9)

    def test_steady_growth_is_all_drift(self) -> None:
        q, d = changes(*[1.0] * 8)
        assert drift_share(q, d).item() == pytest.approx(1.0)
        assert drift_p_value(q, d).item() < 1e-12

    def test_what_comes_back_is_none(self) -> None:
        q, d = changes(1.0, -1.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0)[0], None
        q, d = changes(1.0, 2.0, -1.0, -2.0)
        assert drift_share(q, d).item() == pytest.approx(0.0, abs=1e-20)
        assert drift_p_value(q, d).item() == pytest.approx(1.0)

    def test_no_change_has_no_value(self) -> None:
        still = torch.ones(8, 3, dtype=torch.float64)
        assert drift_share(still, 0.0 * still).isnan()
        assert drift_p_value(still, 0.0 * still).isnan()
        assert drift_p_value(still, 0.0 * still, 0.9).isnan()

    def test_a_layer_at_rest_takes_no_part(self) -> None:
        q, d = changes(*(normal(8, seed=5) + 0.5).tolist())
        sums = drift_sums(ArrayWindow(2, parameters=[q, q], displacements=[d, 0.0 * d]))
        share = sums.estimate()
        assert share.layers.value[1].isnan()
        assert share.whole.value == share.layers.value[0] == drift_share(q, d)

    def test_windows_add_up(self) -> None:
        first, second = changes(1.0, 3.0, -1.0, 2.0), changes(2.0, -1.0, 1.0, 0.5)
        windows = [ArrayWindow(2, parameters=[q], displacements=[d]) for q, d in (first, second)]
        values = torch.tensor([1.0, 3.0, -1.0, 2.0, 2.0, -1.0, 1.0, 0.5], dtype=torch.float64)
        pooled = added(map(drift_p_value_sums, windows)).estimate().whole.value
        assert pooled.item() == pytest.approx(ttest_1samp(values.numpy(), 0.0).pvalue, rel=1e-9)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
class TestNull:
    """In equilibrium; the parameters may lie around a minimum that is far from zero."""

    @pytest.mark.parametrize("offset", [0.0, 3.0])
    def test_false_alarms(self, momentum: float, offset: float) -> None:
        replicas = Replicas(momentum, rate=0.01 if not momentum else 0.001, offset=offset)
        most = 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / RUNS)  # 7.2 %
        for steps in (8, 16, 50):
            alarms = (replicas.p_values(steps) < 0.05).double().mean().item()
            assert 0.0 < alarms < most, steps

    def test_p_values_are_uniform_in_windows_that_see_no_swing(self, momentum: float) -> None:
        replicas = Replicas(momentum, rate=1e-4, offset=3.0)
        for steps in (8, 16, 50):
            assert kstest(replicas.p_values(steps).numpy(), "uniform").pvalue > 0.01, steps

    def test_the_mean_share_is_one_over_the_batches(self, momentum: float) -> None:
        replicas = Replicas(momentum, rate=1e-4, offset=3.0)
        for steps, batches in ((8, 8 - bool(momentum)), (16, 8 - bool(momentum)), (50, 12)):
            shares = replicas.shares(steps)
            error = shares.std().item() / math.sqrt(RUNS)
            assert shares.mean().item() == pytest.approx(1.0 / batches, abs=3.0 * error)

    def test_a_drift_is_seen(self, momentum: float) -> None:
        """A run that moves, against its slow truth: the size of the parameters grows along a slope."""
        replicas = Replicas(momentum, rate=0.01 * (1.0 - momentum), offset=3.0, slope=-2.0)
        growth = (replicas.parameters[-1].square().sum(1) - replicas.parameters[0].square().sum(1)).mean()
        assert growth > 0.0
        assert (replicas.p_values(50) < 0.05).double().mean() > 0.99
        assert replicas.shares(50).median() > 0.8


@given(
    scale=st.floats(0.01, 100.0),
    angle=st.floats(0.0, 6.0),
    order=st.permutations(range(4)),
    momentum=st.sampled_from([0.0, 0.9]),
    seed=st.integers(0, 1000),
)
def test_units_rotation_and_order_of_the_parameters_do_not_matter(
    scale: float, angle: float, order: list[int], momentum: float, seed: int
) -> None:
    q, d = normal(12, 4, seed=seed) + 1.0, 0.1 * normal(12, 4, seed=seed + 5000)
    turn = torch.eye(4, dtype=torch.float64)
    cosine, sine = math.cos(angle), math.sin(angle)
    turn[:2, :2] = torch.tensor([[cosine, -sine], [sine, cosine]], dtype=torch.float64)
    new = [scale * (x @ turn)[:, order] for x in (q, d)]
    for function in (drift_share, drift_p_value):
        torch.testing.assert_close(function(*new, momentum), function(q, d, momentum), rtol=1e-7, atol=1e-9)
