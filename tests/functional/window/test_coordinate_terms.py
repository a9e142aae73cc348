"""What a streaming window says of the entropy and its error."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from metric_cases import STEPS, WATCHED, WindowSteps, empty_window, window_steps
from window_oracle import ENTROPY_SUMS, LAYERS, assert_near, assert_same, contrasts, fill, second_reading, statistics

from thermo_callbacks.functional import parameter_entropy
from thermo_callbacks.functional.window.statistics import WindowStatistics
from thermo_callbacks.functional.window.streaming import CHUNK


class TestEntropy:
    """Sums for the entropy and its error: which coordinates are in them, and with which mobility."""

    @staticmethod
    def read(steps: WindowSteps, *mobilities: Any) -> WindowStatistics:
        """Statistics of steps whose mobility changes from each to the next in equal parts."""
        window = empty_window()
        for step, rows in enumerate(steps.rows()):
            window.update(rows, 0.0, 1.0, mobilities[step * len(mobilities) // STEPS])
        return statistics(window)

    @pytest.mark.parametrize("offset", [0.0, 1e3], ids=["centred", "offset"])
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
    def test_functions(self, dtype: torch.dtype, offset: float) -> None:
        steps = WindowSteps(
            *([layer.to(dtype).double() for layer in field] for field in window_steps(1, offset=offset))
        )
        watched = statistics(fill(empty_window(dtype=dtype), steps))
        rounding = 1e3 * torch.finfo(dtype).eps * max(1.0, offset)
        for layer, (positions, moves, slopes) in enumerate(zip(*steps, strict=True)):
            variances = positions.var(0)
            entropy = 0.5 * (watched.log_variance[layer] + WATCHED[layer] * math.log(2.0 * math.pi * math.e))
            expected = parameter_entropy(variances, steps=STEPS)
            assert_near(entropy, expected, rounding)
            temperatures = -0.5 * (contrasts(moves) * contrasts(slopes)).mean(0)
            rates = temperatures / variances * (STEPS - 3.0) / (STEPS - 1.0)
            assert_near(watched.relaxation[layer], (1.0 / rates.clamp(min=1.0 / STEPS)).sum(), 10.0 * rounding)
        assert watched.moving.tolist() == list(WATCHED)

    def test_what_does_not_move_is_not_counted(self) -> None:
        steps = window_steps(4)
        for field, value in zip(steps, (0.3, 0.0, 0.0), strict=True):
            field[3][:, 100:] = value  # of layer 3, 100 coordinates move
            field[4][:] = value
        expected = second_reading(steps, [True] * STEPS, [0.0] * LAYERS, [1.0] * LAYERS)
        watched = statistics(fill(empty_window(), steps))
        assert watched.moving.tolist() == [1, 7, 255, 100, 0, 300]
        for name in ENTROPY_SUMS:
            assert getattr(watched, name)[4] == 0.0
            assert_near(getattr(watched, name), expected[name], 1e-10)

    def test_the_last_mobility_counts(self) -> None:
        steps = window_steps(4)
        one, two = self.read(steps, 1.0), self.read(steps, 1.0, 2.0)
        assert bool((two.relaxation < one.relaxation).all())  # twice as fast, but for those at the window's length
        each = torch.cat([torch.full((-(-n // CHUNK) * CHUNK,), 1.0 + layer) for layer, n in enumerate(WATCHED)])
        layers = self.read(steps, 1.0, each.double())
        assert layers.relaxation[0] == one.relaxation[0]
        assert bool((layers.relaxation[1:] < one.relaxation[1:]).all())
        for known in (two, layers):
            assert torch.equal(known.log_variance, one.log_variance)

    @pytest.mark.parametrize("form", [float, torch.tensor], ids=["number", "tensor"])
    def test_a_learning_rate_that_ends_at_zero_forgets_nothing(self, form: Any) -> None:
        steps = window_steps(4)
        zero = form(0.0) if form is float else torch.zeros(empty_window().references.shape[1], dtype=torch.float64)
        watched = self.read(steps, 1.0, zero)
        assert torch.equal(watched.relaxation, STEPS * watched.moving)
        assert torch.equal(
            watched.innovation_square, self.read(steps, 1.0).innovation_square
        )  # nothing is divided by 0

    def test_an_unknown_mobility_leaves_the_entropy(self) -> None:
        watched = self.read(window_steps(4), math.nan)
        assert torch.equal(watched.log_variance, self.read(window_steps(4), 1.0).log_variance)
        assert watched.relaxation.isnan().all()

    @pytest.mark.parametrize("length", [0, 1, 2, 3, 4])
    def test_a_short_window_has_none(self, length: int) -> None:
        steps = window_steps(4)
        watched = statistics(fill(empty_window(), steps.at(torch.arange(length))))
        assert bool(watched.log_variance.isfinite().all()) == (length in {0, 1, 4})  # nothing has moved in one step
        assert watched.moving.tolist() == ([0] * LAYERS if length < 2 else list(WATCHED))

    @pytest.mark.parametrize("momentum", [0.0, 0.9])
    @pytest.mark.parametrize("mobility", ["number", "tensor"])
    def test_a_checkpoint_keeps_the_mobility(self, mobility: str, momentum: float) -> None:
        steps = window_steps(9)
        coordinates = empty_window().references.shape[1]
        given = 0.3 if mobility == "number" else torch.linspace(0.1, 1.0, coordinates, dtype=torch.float64)
        window, resumed = empty_window(), empty_window()
        for rows in steps.rows():
            window.update(rows, momentum, 10.0, given)
        resumed.load_state_dict(window.state_dict())
        assert_same(statistics(resumed, momentum), statistics(window, momentum))
        assert set(window.state_dict()) == window.state_keys()
