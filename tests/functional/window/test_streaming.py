"""The streaming window against the functions of the stacked window; what it keeps, forgets and joins."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import pytest
import torch
from metric_cases import SIZES, STEPS, WATCHED, WindowSteps, empty_window, watch, window_steps
from torch import Tensor
from window_oracle import (
    LAYERS,
    assert_near,
    assert_reads,
    assert_same,
    fields,
    fill,
    second_reading,
    spoil,
    statistics,
)

from thermo_callbacks import functional
from thermo_callbacks.functional import momentum_response
from thermo_callbacks.functional.momentum import as_independent
from thermo_callbacks.functional.window.statistics import WindowStatistics
from thermo_callbacks.functional.window.streaming import CHUNK
from thermo_callbacks.functional.window.temperature import kinetic_contributions

MOMENTA = {"plain": (0.0, False), "heavy-ball": (0.9, False), "nesterov": (0.9, True)}


@pytest.mark.parametrize("offset", [0.0, 1e3], ids=["centred", "offset"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(("momentum", "nesterov"), MOMENTA.values(), ids=MOMENTA)
class TestFunctions:
    """The statistics give what the functions give of the stacked window."""

    @pytest.fixture
    def steps(self, dtype: torch.dtype, offset: float) -> WindowSteps:
        drawn = window_steps(1, offset=offset)
        return WindowSteps(*([layer.to(dtype).double() for layer in field] for field in drawn))

    @pytest.fixture
    def watched(self, steps: WindowSteps, dtype: torch.dtype, momentum: float, nesterov: bool) -> WindowStatistics:
        response = momentum_response(momentum, nesterov=nesterov).factor
        return statistics(fill(empty_window(dtype=dtype), steps, momentum, response), momentum)

    @pytest.fixture
    def rounding(self, dtype: torch.dtype) -> float:
        return 64.0 * torch.finfo(dtype).eps

    def test_kinetic_temperature(
        self, steps: WindowSteps, watched: WindowStatistics, momentum: float, nesterov: bool, rounding: float
    ) -> None:
        contributions = kinetic_contributions(watched)
        for layer, (_, moves, slopes) in enumerate(zip(*steps, strict=True)):
            expected = functional.kinetic_temperature_contributions(moves, slopes, momentum, nesterov=nesterov)
            assert_near(contributions[:, layer], expected, rounding)
            variance = functional.kinetic_sampling_variance(moves, slopes, SIZES[layer], momentum, nesterov=nesterov)
            assert_near(watched.temperature_sampling_variance[layer], variance, rounding)
        assert [bool(v > 0) for v in watched.temperature_sampling_variance] == [False, True, False, True, False, True]

    def test_einstein_temperature(
        self, steps: WindowSteps, watched: WindowStatistics, momentum: float, nesterov: bool, rounding: float
    ) -> None:
        # the functions know heavy balls only; Nesterov's response is smaller by 1 + momentum
        ratio = 1.0 + momentum * nesterov
        for layer, moves in enumerate(steps.displacements):
            mobility = torch.tensor(1.0, dtype=torch.float64)
            expected = functional.einstein_temperature_contributions(moves, mobility, momentum)
            actual = watched.innovation_square[:, layer] * ratio**2 / (2.0 * WATCHED[layer])
            assert_near(as_independent(actual, torch.tensor(momentum)), expected, rounding)

    def test_virial_temperature(
        self, steps: WindowSteps, watched: WindowStatistics, offset: float, rounding: float
    ) -> None:
        rounding *= max(1.0, offset / 8.0)  # the means of parameters have the digits that their offset leaves
        for layer, (positions, _, slopes) in enumerate(zip(*steps, strict=True)):
            expected = functional.virial_temperature_contributions(positions, slopes)
            actual = watched.position_gradient[:, layer] / WATCHED[layer]
            assert_near(actual, expected, rounding)

    def test_moments_heat_and_equilibrium_ratio(
        self, steps: WindowSteps, watched: WindowStatistics, rounding: float
    ) -> None:
        noise = watched.gradient_square.mean(0)
        for layer, (positions, moves, slopes) in enumerate(zip(*steps, strict=True)):
            expected_noise, expected_signal = functional.gradient_moments(slopes)
            assert_near(noise[layer], expected_noise, rounding)
            signal = watched.mean_gradient_square[layer] - noise[layer] / STEPS
            assert abs(signal - expected_signal) <= rounding * (expected_signal + expected_noise)
            assert_near(watched.gradient_displacement.sum(0)[layer], functional.heat(moves, slopes), rounding)
            ratio = -2.0 * watched.position_displacement.sum(0) / watched.displacement_square.sum(0)
            assert_near(ratio[layer], functional.equilibrium_ratio(positions, moves), rounding)


class TestMomentumOfEveryCoordinate:
    """Momentum and response given as tensors, one entry a coordinate."""

    DECAYS = (0.0, 0.5, 0.9, 0.0, 0.99, 0.8)

    @staticmethod
    def spread(numbers: Sequence[float]) -> Tensor:
        chunks = torch.tensor([-(-count // CHUNK) for count in WATCHED])
        return torch.tensor(numbers, dtype=torch.float64).repeat_interleave(chunks * CHUNK)

    def test_layers_of_different_optimizers(self) -> None:
        responses = [momentum_response(decay).factor for decay in self.DECAYS]
        steps = window_steps(2)
        window = fill(empty_window(), steps, self.spread(self.DECAYS), self.spread(responses))
        watched = statistics(window, self.DECAYS)
        assert_reads(watched, second_reading(steps, [True] * STEPS, self.DECAYS, responses))
        contributions = kinetic_contributions(watched)
        for layer, decay in enumerate(self.DECAYS):
            _, moves, slopes = steps.layer(layer)
            if decay:
                expected = functional.kinetic_temperature_contributions(moves[0], slopes[0], decay)
            else:  # a layer without momentum has the pairs of the others: the inner steps, one from the other
                products = moves[0][1:-1].diff(dim=0) * slopes[0][1:-1].diff(dim=0)
                expected = as_independent(-products.mean(1) / 4.0, torch.tensor(decay))
            assert_near(contributions[:, layer], expected, 1e-12)

    def test_a_layer_of_several_groups(self) -> None:
        steps = window_steps(3)
        decays = [torch.linspace(0.0, 0.95, count, dtype=torch.float64) for count in WATCHED]
        responses = [1.0 / (1.0 - decay) for decay in decays]
        padded = WindowSteps(decays, responses, decays)  # rows() pads layers of any kind
        momentum, _, response = WindowSteps(*([x[None] for x in field] for field in padded)).rows()[0]
        watched = statistics(fill(empty_window(), steps, momentum, response), [0.5] * LAYERS)
        expected = second_reading(steps, [True] * STEPS, decays, responses)
        for name in ("temperature_sampling_variance", "relaxation"):
            del expected[name]  # have one scale for a layer
        assert_reads(watched, expected)


class TestState:
    """What a window keeps, forgets and hands over."""

    @pytest.mark.parametrize("sampled", [True, False], ids=["sampled", "whole"])
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
    @pytest.mark.parametrize("momentum", [0.0, 0.9])
    def test_a_checkpoint_in_mid_window_changes_no_bit(
        self, momentum: float, dtype: torch.dtype, sampled: bool
    ) -> None:
        steps = spoil(window_steps(9), [3, 12], math.nan)
        begin, end = steps.at(torch.arange(9)), steps.at(torch.arange(9, STEPS))
        straight = fill(empty_window(dtype=dtype, sampled=sampled), begin, momentum, 10.0)
        file = io.BytesIO()
        torch.save(straight.state_dict(), file)
        file.seek(0)
        resumed = fill(
            empty_window(dtype=dtype, sampled=sampled), window_steps(10), momentum, 10.0
        )  # its own past is dropped
        resumed.load_state_dict(torch.load(file, weights_only=True))
        assert resumed.steps == 9
        expected = statistics(fill(straight, end, momentum, 10.0), momentum)
        assert_same(statistics(fill(resumed, end, momentum, 10.0), momentum), expected)
        assert expected.skipped == 2

    def test_a_state_is_a_copy(self) -> None:
        steps = window_steps(9)
        window = fill(empty_window(), steps.at(torch.arange(6)))
        state, expected = window.state_dict(), statistics(window)
        fill(window, steps.at(torch.arange(6, STEPS)))
        window.load_state_dict(state)
        assert_same(statistics(window), expected)

    def test_there_is_nothing_to_keep_between_windows(self) -> None:
        window = fill(empty_window(), window_steps(9))
        window.clear()
        assert window.state_dict() == {}
        other = fill(empty_window(), window_steps(10))
        other.load_state_dict({})
        assert other.steps == 0
        assert_same(statistics(fill(other, window_steps(9))), statistics(fill(empty_window(), window_steps(9))))

    def test_a_longer_window_takes_the_state_of_a_shorter_one(self) -> None:
        steps = window_steps(9)
        short = fill(empty_window(steps=7), steps.at(torch.arange(6)))
        longer = empty_window(steps=STEPS)
        longer.load_state_dict(short.state_dict())
        assert_same(statistics(fill(longer, steps.at(torch.arange(6, STEPS)))), statistics(fill(empty_window(), steps)))

    @pytest.mark.parametrize("momentum", [0.0, 0.9])
    @pytest.mark.parametrize("past", [math.inf, math.nan, 1.0])
    def test_a_cleared_window_is_as_new(self, momentum: float, past: float) -> None:
        # where the past is not finite, a run that blew up at the tenth step, parameters included
        late = torch.arange(STEPS)[:, None] >= 9
        window = empty_window()
        fill(
            window,
            WindowSteps(*([torch.where(late, past, x) for x in field] for field in window_steps(11))),
            momentum,
            10.0,
        )
        assert statistics(window, momentum).skipped == (0 if math.isfinite(past) else STEPS - 9)
        window.clear()
        assert not window.full
        expected = statistics(fill(empty_window(), window_steps(12), momentum, 10.0), momentum)
        assert_same(statistics(fill(window, window_steps(12), momentum, 10.0), momentum), expected)

    def test_statistics_leave_the_window_as_it_is(self) -> None:
        steps = window_steps(13)
        window, watched = empty_window(), []
        for step, rows in enumerate(steps.rows()):
            assert not window.full
            window.update(rows, 0.9, 10.0, 1.0)
            watched.append(statistics(window, 0.9))
            assert watched[-1].steps == step + 1
        assert window.full
        assert_same(watched[-1], statistics(fill(empty_window(), steps, 0.9, 10.0), 0.9))
        early = steps.at(torch.arange(8))
        assert_reads(watched[7], second_reading(early, [True] * 8, [0.9] * LAYERS, [10.0] * LAYERS))


class TestJoin:
    """Windows of several optimizers as one model's."""

    @staticmethod
    def halves(first: WindowSteps, second: WindowSteps) -> list[WindowStatistics]:
        return [
            watch(WindowSteps(*(field[:2] for field in first)), SIZES[:2], momentum=0.9),
            watch(WindowSteps(*(field[2:] for field in second)), SIZES[2:], momentum=0.9),
        ]

    def test_is_the_window_of_all_layers(self) -> None:
        steps = window_steps(14)
        joined, whole = WindowStatistics.join(self.halves(steps, steps)), watch(steps, SIZES, momentum=0.9)
        assert fields(joined).keys() == fields(whole).keys()
        for name, value in fields(whole).items():
            assert torch.equal(getattr(joined, name), value), name

    def test_the_shorter_window_counts(self) -> None:
        steps = window_steps(14)
        first, second = self.halves(steps.at(torch.arange(12)), steps)
        joined = WindowStatistics.join([first, second])
        assert (joined.steps, joined.pairs) == (12, 10)
        assert torch.equal(joined.displacement_square[:, :2], first.displacement_square)
        assert torch.equal(joined.displacement_square[:, 2:], second.displacement_square[:12])

    def test_one_window_is_itself(self) -> None:
        window = watch(window_steps(14), SIZES)
        assert WindowStatistics.join([window]) is window

    def test_steps_left_out_add_up(self) -> None:
        first, second = self.halves(window_steps(14), spoil(window_steps(14), [4, 5], math.inf))
        assert WindowStatistics.join([first, second]).skipped == 2
