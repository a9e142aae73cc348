"""Steps of a streaming window whose gradient is not finite."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from metric_cases import STEPS, empty_window, window_steps
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

from thermo_callbacks.functional import helmert_contrasts, momentum_response

BAD_STEPS = {
    "first": [0],
    "middle": [9],
    "last": [STEPS - 1],
    "two in a row": [6, 7],
    "two with one between": [6, 8],
    "every other": list(range(0, STEPS, 2)),
}


class TestStepsLeftOut:
    """A step whose gradient is not finite anywhere counts for nothing, and all others count."""

    @pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
    @pytest.mark.parametrize("bad", BAD_STEPS.values(), ids=BAD_STEPS)
    def test_without_momentum_the_window_is_that_of_the_other_steps(self, bad: list[int], value: float) -> None:
        steps = window_steps(4)
        good = torch.tensor([step not in bad for step in range(STEPS)])
        watched = statistics(fill(empty_window(sampled=False), spoil(steps, bad, value)))
        assert (watched.skipped, watched.steps, watched.pairs) == (len(bad), STEPS - len(bad), STEPS - len(bad))
        others = statistics(fill(empty_window(sampled=False), steps.at(good)))
        assert_same(dataclasses.replace(watched, skipped=0), others)

    @pytest.mark.parametrize("value", [math.inf, math.nan])
    @pytest.mark.parametrize("bad", BAD_STEPS.values(), ids=BAD_STEPS)
    @pytest.mark.parametrize("momentum", [0.0, 0.9])
    def test_pairs_are_those_of_valid_steps(self, momentum: float, bad: list[int], value: float) -> None:
        steps = window_steps(5)
        valid = [step not in bad for step in range(STEPS)]
        response = momentum_response(momentum).factor
        watched = statistics(fill(empty_window(), spoil(steps, bad, value), momentum, response), momentum)
        assert_reads(watched, second_reading(steps, valid, [momentum] * LAYERS, [response] * LAYERS))
        without_pairs = {"relaxation"} if watched.pairs < 2 else set()
        assert all(
            value.isnan().all() if name in without_pairs else value.isfinite().all()
            for name, value in fields(watched).items()
        )
        assert watched.skipped == len(bad)

    @given(valid=st.lists(st.booleans(), min_size=STEPS, max_size=STEPS), momentum=st.sampled_from([0.0, 0.5]))
    @example(valid=[False] * STEPS, momentum=0.0)
    @example(valid=[False] * STEPS, momentum=0.5)
    @example(valid=[True, True, True, False] * 5, momentum=0.5)
    def test_any_pattern_of_steps(self, valid: list[bool], momentum: float) -> None:
        steps = window_steps(6)
        bad = [step for step, good in enumerate(valid) if not good]
        response = momentum_response(momentum).factor
        watched = statistics(fill(empty_window(), spoil(steps, bad, math.nan), momentum, response), momentum)
        assert_reads(watched, second_reading(steps, valid, [momentum] * LAYERS, [response] * LAYERS))
        assert watched.skipped == len(bad)

    def test_infinities_that_cancel_are_seen(self) -> None:
        steps = spoil(window_steps(7), [4], math.inf)
        steps.gradients[0][4] = -math.inf
        assert statistics(fill(empty_window(), steps)).skipped == 1

    def test_momentum_that_starts_inside_a_window_starts_its_pairs_afresh(self) -> None:
        steps = window_steps(8)
        window = empty_window()
        for step, rows in enumerate(steps.rows()):
            window.update(rows, *((0.0, 1.0) if step < 5 else (0.9, 10.0)), 1.0)
        watched = statistics(window, 0.9)
        assert watched.steps == STEPS
        assert watched.pairs == 5 + (STEPS - 5 - 2)
        for layer, (_, moves, slopes) in enumerate(zip(*steps, strict=True)):
            innovation = torch.cat([moves[:5], 10.0 * (moves[6:-1] - 0.9 * moves[5:-2])])
            fresh = torch.cat([slopes[:5], slopes[6:-1] - 0.9 * slopes[7:]])
            before = helmert_contrasts(innovation[:5]) * helmert_contrasts(fresh[:5])
            # the first pair is one from the mean of the steps before, the next are one from the other
            first = (innovation[5] - innovation[:5].mean(0)) * (fresh[5] - slopes[:5].mean(0)) / 2.0
            after = innovation[5:].diff(dim=0) * fresh[5:].diff(dim=0) / (2.0 + 0.9)
            expected = torch.cat([before, first[None], after]).sum(1)
            assert_near(watched.innovation_gradient[:, layer], expected, 1e-12)

    def test_pairs_do_not_reach_over_steps_without_momentum(self) -> None:
        window = empty_window()
        for step, rows in enumerate(window_steps(8).rows()):
            window.update(rows, *((0.0, 1.0) if 6 <= step < 10 else (0.9, 10.0)), 1.0)
        assert statistics(window, 0.9).pairs == (6 - 2) + 4 + (STEPS - 10 - 2)
