"""Metrics of the entropy of the trainable variables: twins of the functions, errors, sums over layers and ranks."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_cases import SIZES, WATCHED, WindowSteps, added, watch, window_steps
from oracles import curvatures, normal, simulate, stationary_variance, torch_rule
from torch import Tensor
from torch.testing import assert_close

from thermo_callbacks.functional import (
    momentum_response,
    parameter_entropy,
)
from thermo_callbacks.functional.window.parameter_entropy import parameter_entropy_sums
from thermo_callbacks.functional.window.statistics import WindowStatistics
from thermo_callbacks.metrics import ParameterEntropy

LAYERS = range(len(WATCHED))
# Python 3.12 warns of forks beside threads; the children below use none of the parent's
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def entropy_twin(steps: WindowSteps, layer: int, momentum: float, size: int) -> Tensor:
    return parameter_entropy(steps.parameters[layer].var(0), size, steps=len(steps.parameters[layer]))


class Case(NamedTuple):
    metric: type[ParameterEntropy]
    sums: Callable[[WindowStatistics], Any]
    twin: Callable[[WindowSteps, int, float, int], Tensor]
    momentum: float

    def build(self, sizes: Sequence[int] | None = SIZES) -> Any:
        return self.metric(sizes, momentum=self.momentum)

    def fed(self, *bursts: WindowSteps, metric: Any = None) -> Any:
        metric = self.build() if metric is None else metric
        for steps in bursts:
            metric.update(*steps, steps.mobility)
        return metric

    def watch(self, steps: WindowSteps, **options: Any) -> WindowStatistics:
        return watch(steps, SIZES, momentum=self.momentum, **options)

    def read(self, *windows: WindowStatistics) -> dict[str, Tensor]:
        """All that the functions say of windows that were watched step by step."""
        estimates = added(map(self.sums, windows)).estimate()
        said = {"layers": estimates.layers.value, "global": estimates.whole.value}
        for name, estimate in (("estimate", estimates.whole), ("layers", estimates.layers)):
            said |= {f"{name} {field}": value for field, value in estimate._asdict().items()}
        return said


CASES = {
    "entropy": Case(ParameterEntropy, parameter_entropy_sums, entropy_twin, 0.0),
    "entropy-momentum": Case(ParameterEntropy, parameter_entropy_sums, entropy_twin, 0.9),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def readings(metric: Any) -> dict[str, Tensor]:
    """All that a metric says."""
    said = {"layers": metric.compute_layers(), "global": metric.compute()}
    for name, estimate in (("estimate", metric.estimate()), ("layers", metric.estimate_layers())):
        said |= {f"{name} {field}": value for field, value in estimate._asdict().items()}
    return said


def assert_equal_readings(actual: dict[str, Tensor], expected: dict[str, Tensor], rtol: float = 1e-10) -> None:
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(actual[name], value, rtol=rtol, atol=0.0, equal_nan=True, msg=name)


@each_case
class TestValues:
    def test_layers_are_the_functional_twins_and_the_whole_is_their_sum(self, case: Case) -> None:
        metric = case.fed(window_steps(1))
        expected = torch.stack([case.twin(window_steps(1), layer, case.momentum, SIZES[layer]) for layer in LAYERS])
        assert_close(metric.compute_layers(), expected, rtol=1e-10, atol=0.0)
        assert_close(metric.compute(), expected.sum(), rtol=1e-10, atol=0.0)
        one = case.build(None)
        one.update(*window_steps(1).layer(2), window_steps(1).mobility[2])
        assert_close(one.compute(), expected[2], rtol=1e-10, atol=0.0)  # of layer 2 all is shown

    def test_watching_step_by_step_is_the_same(self, case: Case) -> None:
        bursts = (window_steps(1), window_steps(2, steps=30))
        assert_equal_readings(case.read(*map(case.watch, bursts)), readings(case.fed(*bursts)))

    def test_windows_are_averaged(self, case: Case) -> None:
        one, two, both = (
            readings(case.fed(*bursts))
            for bursts in ((window_steps(1),), (window_steps(2),), (window_steps(2), window_steps(1)))
        )
        for name in ("global", "layers"):
            assert_close(both[name], (one[name] + two[name]) / 2.0, rtol=1e-12, atol=0.0)
        name = "estimate degrees_of_freedom"
        assert both[name] == one[name] + two[name]

    def test_a_layer_that_rests_leaves_the_others_unharmed(self, case: Case) -> None:
        others = [layer for layer in LAYERS if layer != 3]
        still = WindowSteps(*([field[i] if i != 3 else 0.0 * field[i] for i in LAYERS] for field in window_steps(1)))
        few = case.build([SIZES[layer] for layer in others])
        rest = WindowSteps(*([field[layer] for layer in others] for field in window_steps(1)))
        few.update(*rest, rest.mobility)
        moved = case.fed(window_steps(2)).compute_layers()[3]
        later = case.watch(window_steps(2))
        for said, then in (
            (readings(case.fed(still)), readings(case.fed(still, window_steps(2)))),
            *(
                (case.read(window), case.read(window, later))
                for window in (
                    case.watch(still),
                    case.watch(still, missing=[3]),
                    case.watch(window_steps(1), missing=[3]),  # moves, and yet has no gradient
                )
            ),
        ):
            assert_close(said["global"], few.compute(), rtol=1e-10, atol=0.0)
            assert_close(said["estimate stderr"], few.estimate().stderr, rtol=1e-10, atol=0.0)
            assert said["layers"][3].isnan()
            assert_close(then["layers"][3], moved, rtol=1e-10, atol=0.0)

    def test_dead_coordinates_do_not_kill_a_layer(self, case: Case) -> None:
        steps = window_steps(1)
        for field in steps:
            field[5][:, 10:] = 0.0
        few = WindowSteps(*([*field[:5], field[5][:, :10]] for field in steps))
        alone = case.build([*SIZES[:5], SIZES[5] * 10 // WATCHED[5]])
        mobility = [*steps.mobility[:5], steps.mobility[5][:10]]
        alone.update(*few, mobility)
        size = SIZES[5] * 10 // WATCHED[5] * WATCHED[5] / (10 * SIZES[5])
        value = case.fed(steps).compute_layers()[5]
        assert_close(value * size, alone.compute_layers()[5], rtol=1e-10, atol=0.0)

    @pytest.mark.parametrize("lost", [0, 1, 3], ids="{} steps".format)
    def test_a_window_that_lost_its_steps_is_forgotten(self, case: Case, lost: int) -> None:
        steps = window_steps(1)
        steps.gradients[0][lost:] = math.nan
        window = case.watch(steps)
        said = case.read(window)
        assert said["global"].isnan()
        assert said["estimate stderr"].isnan()
        both = case.read(window, case.watch(window_steps(2)))
        assert_equal_readings(both, readings(case.fed(window_steps(2))))

    def test_before_the_first_window(self, case: Case) -> None:
        metric = case.build()
        with pytest.warns(UserWarning, match="was called before the ``update`` method"):
            assert metric.compute().isnan()
        assert metric.compute_layers().isnan().all()
        assert metric.estimate().stderr.isnan()

    def test_too_short_a_window(self, case: Case) -> None:
        case.fed(window_steps(1, steps=4))
        with pytest.raises(ValueError, match=r"^parameters must hold at least 4 steps, got 3: measure longer$"):
            case.fed(window_steps(1, steps=3))

    def test_wrong_number_of_layers(self, case: Case) -> None:
        with pytest.raises(ValueError, match=r"^parameters must hold one tensor for each layer \(1\), got 6: say"):
            case.fed(window_steps(1), metric=case.build(None))

    def test_conventions(self, case: Case) -> None:
        metric = case.fed(window_steps(1))
        assert not case.metric.is_differentiable
        assert case.metric.full_state_update is False
        expected = readings(case.fed(window_steps(1), window_steps(2)))
        for twin in (pickle.loads(pickle.dumps(metric)), copy.deepcopy(metric), metric.half().float()):
            assert {state.dtype for state in twin.metric_state.values()} == {torch.float64}
            assert_equal_readings(readings(case.fed(window_steps(2), metric=twin)), expected, rtol=1e-14)
        metric.reset()
        assert not any(state.any() for state in metric.metric_state.values())

    def test_follows_its_windows_to_their_device(self, case: Case) -> None:
        # "meta" has shapes and devices but no numbers: a tensor left behind on the CPU shows, on any machine
        metric = case.build().to("meta")
        steps = window_steps(1)
        metric.update(*([x.to("meta") for x in field] for field in (*steps, steps.mobility)))
        metric.update(*steps, steps.mobility)  # also to where it was put
        assert {state.device.type for state in metric.metric_state.values()} == {"meta"}
        assert metric.compute_layers().shape == (len(SIZES),)

    def test_layers_of_optimizers_with_different_momentum(self, case: Case) -> None:
        steps = window_steps(4)
        parts = [WindowSteps(*(field[part] for field in steps)) for part in (slice(2), slice(2, None))]
        windows = [watch(parts[0], SIZES[:2], momentum=0.9), watch(parts[1], SIZES[2:], momentum=0.5)]
        said = case.read(WindowStatistics.join(windows))
        assert said["global"].isfinite()
        for layer in LAYERS:
            expected = case.twin(steps, layer, 0.9 if layer < 2 else 0.5, SIZES[layer])
            # each optimizer's mobility belongs to its own layers
            assert_close(said["layers"][layer], expected, rtol=1e-10, atol=0.0)

    @settings(max_examples=10)
    @given(factor=st.floats(-3.0, 3.0).map(lambda power: 10.0**power))
    def test_units_of_the_parameters(self, case: Case, factor: float) -> None:
        steps = window_steps(2)
        plain, scaled = case.fed(steps), case.build()
        fields = ([x * c for x in field] for field, c in zip(steps, (factor, factor, 1.0 / factor), strict=True))
        scaled.update(*fields, [m * factor**2 for m in steps.mobility])
        shift = sum(SIZES) * math.log(factor) if case.metric is ParameterEntropy else 0.0
        assert_close(scaled.compute(), plain.compute() + shift, rtol=1e-9, atol=1e-6)
        assert_close(scaled.estimate().stderr, plain.estimate().stderr, rtol=1e-6, atol=0.0)

    def test_scale_of_the_loss(self, case: Case) -> None:
        steps = window_steps(2)
        scaled = case.build()
        louder = [7.0 * g for g in steps.gradients]
        scaled.update(steps.parameters, steps.displacements, louder, [m / 7.0 for m in steps.mobility])
        assert_equal_readings(readings(scaled), readings(case.fed(steps)))


class TestErrors:
    """Standard errors against what repetitions scatter."""

    @pytest.mark.parametrize(
        ("rank", "steps", "slowest", "momentum"),
        [(0, 60, 0.05, 0.0), (0, 200, 0.05, 0.0), (3, 200, 0.05, 0.0), (3, 60, 1e-5, 0.0), (0, 300, 0.005, 0.9)],
    )
    def test_are_the_scatter_of_windows(self, rank: int, steps: int, slowest: float, momentum: float) -> None:
        coordinates, repetitions, warm = 30, 80, 100
        rates = torch.logspace(0.0, 1.0, coordinates).double() * slowest
        directions = normal(coordinates, rank, seed=1) if rank else torch.eye(coordinates).double()
        directions = directions / directions.norm(dim=1, keepdim=True)  # noise of variance 1 in all coordinates
        spread = stationary_variance(rates, torch.ones(coordinates).double(), 1.0, momentum)
        start = normal(repetitions, directions.shape[1], seed=2) @ directions.T * spread.sqrt()
        noise = normal(warm + steps, repetitions, directions.shape[1], seed=3) @ directions.T
        rule = torch_rule(torch.optim.SGD, (repetitions, coordinates), lr=1.0, momentum=momentum)
        run = simulate(rates, start, noise, rule).last(steps)
        mobility = torch.tensor(momentum_response(momentum).factor).double()
        estimates = []
        for repetition in range(repetitions):
            one = ParameterEntropy(momentum=momentum)
            q, d, g = (field[:, repetition] for field in run)
            one.update(q, d, g, mobility)
            estimates.append(torch.stack(one.estimate()[:2]))
        values, errors = torch.stack(estimates, 1)
        ratio = errors.square().mean().sqrt() / values.std()
        assert 0.75 < ratio < 1.7, ratio  # with momentum 1.6: contrasts from step to step scatter more

    def test_watching_a_sample_costs_what_other_samples_scatter(self) -> None:
        size, sample, steps = 2000, 100, 200
        rates = curvatures(size) * 0.05
        spread = stationary_variance(rates, torch.ones(size).double(), 1.0)
        rule = torch_rule(torch.optim.SGD, (size,), lr=1.0)
        run = simulate(rates, normal(size, seed=1) * spread.sqrt(), normal(steps, size, seed=2), rule)
        one = torch.tensor(1.0).double()
        estimates = []
        for seed in range(60):
            chosen = torch.randperm(size, generator=torch.Generator().manual_seed(seed))[:sample]
            part = ParameterEntropy([size])
            part.update(*([field[:, chosen]] for field in run), [one])
            estimates.append(torch.stack(part.estimate()[:2]))
        values, errors = torch.stack(estimates, 1)
        assert 0.75 < errors.square().mean().sqrt() / values.std() < 1.5
        whole = ParameterEntropy([size])
        whole.update(*([field] for field in run), [one])
        assert abs(values.mean() - whole.compute()) < 4.0 * values.std() / 60**0.5
        assert whole.estimate().stderr < 0.3 * values.std()

    def test_layers_share_the_noise_of_a_step(self) -> None:
        q, d, g = window_steps(3).layer(2)
        one, three = ParameterEntropy(), ParameterEntropy([255] * 3)
        one.update(q[0], d[0], g[0], torch.tensor(0.1).double())
        three.update([q[0]] * 3, [d[0]] * 3, [g[0]] * 3, [torch.tensor(0.1).double()] * 3)
        assert_close(three.estimate().stderr, 3.0 * one.estimate().stderr, rtol=1e-10, atol=0.0)

    def test_one_contribution_has_no_error(self) -> None:
        metric = CASES["entropy-momentum"].fed(window_steps(1, steps=4))
        assert metric.compute().isfinite()
        assert metric.estimate().stderr.isnan()

    def test_an_unknown_mobility(self) -> None:
        window = watch(window_steps(8), SIZES, unknown=[0])
        entropy = parameter_entropy_sums(window).estimate()  # it is known, but not how well
        assert_close(entropy.whole.value, CASES["entropy"].fed(window_steps(8)).compute(), rtol=1e-10, atol=0.0)
        assert entropy.whole.stderr.isnan()
        assert entropy.layers.stderr.isnan().tolist() == [True] + [False] * 5

    @pytest.mark.parametrize("momentum", [1.0, -0.1])
    def test_bad_momentum(self, momentum: float) -> None:
        with pytest.raises(ValueError, match=rf"^momentum must lie in \[0, 1\), got {momentum}"):
            ParameterEntropy(SIZES, momentum=momentum)
