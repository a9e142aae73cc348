"""Complexity over samples as a metric: its functional twin, sums that add up, errors of the mean."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from bulk_oracles import random_chain
from torch import Tensor
from torch.testing import assert_close

from thermo_callbacks.functional import bulk_complexity
from thermo_callbacks.metrics import BulkComplexity

WEIGHTS, SLOPES = random_chain([5, 4, 3], samples=9)


def rows(start: int, stop: int) -> list[Tensor]:
    return [slope[start:stop] for slope in SLOPES]


def test_mean_and_error_of_the_samples() -> None:
    values = bulk_complexity(WEIGHTS, SLOPES, 0.3)
    metric = BulkComplexity(0.3)
    metric.update(WEIGHTS, rows(0, 2))
    metric.update(WEIGHTS, rows(2, 8))
    metric.update(WEIGHTS, [slope[8] for slope in SLOPES])
    assert_close(metric.compute(), values.mean())
    value, stderr, degrees_of_freedom = metric.estimate()
    assert_close(value, values.mean())
    assert_close(stderr, values.std() / 3)
    assert degrees_of_freedom == 8
    assert metric.compute().shape == ()
    assert (metric.is_differentiable, metric.higher_is_better, metric.full_state_update) == (False, None, False)


def test_known_complexities_are_the_same() -> None:
    values = bulk_complexity(WEIGHTS, SLOPES)
    expected, metric = BulkComplexity(), BulkComplexity(compute_with_cache=True)
    expected.update(WEIGHTS, SLOPES)
    metric.update_complexity(values[:4])
    assert_close(metric.compute(), values[:4].mean())
    for value in values[4:]:
        metric.update_complexity(value.float())
    assert_close(metric.estimate(), expected.estimate(), rtol=1e-6, atol=1e-6)
    assert_close(metric.compute(), expected.compute(), rtol=1e-6, atol=0.0)  # the first value was in the cache
    assert metric.update_count == 6


def test_samples_without_a_value_are_left_out() -> None:
    metric = BulkComplexity()
    metric.update_complexity(torch.tensor([1.0, math.nan, 3.0, math.inf]))
    value, stderr, degrees_of_freedom = metric.estimate()
    assert (value, stderr, degrees_of_freedom) == (2.0, 1.0, 1.0)


def test_too_few_samples() -> None:
    metric = BulkComplexity()
    assert metric.estimate().value.isnan()
    metric.update_complexity(torch.tensor(4.0))
    value, stderr, degrees_of_freedom = metric.estimate()
    assert (value, degrees_of_freedom) == (4.0, 0.0)
    assert stderr.isnan()
    metric.reset()
    assert metric.num_samples == 0


def test_equal_samples_have_no_error() -> None:
    for count in range(2, 40):
        metric = BulkComplexity()
        metric.update_complexity(torch.full((count,), 123456.789, dtype=torch.float64))
        assert metric.estimate().stderr == 0.0


def test_forward_gives_the_batch_and_adds_it() -> None:
    values, metric = bulk_complexity(WEIGHTS, SLOPES), BulkComplexity()
    assert_close(metric(WEIGHTS, rows(0, 4)), values[:4].mean())
    assert_close(metric(WEIGHTS, rows(4, 9)), values[4:].mean())
    assert_close(metric.compute(), values.mean())


def test_states_add_up_over_ranks() -> None:
    """What torchmetrics does with two processes that have unequal shares."""
    whole, shares = BulkComplexity(), [BulkComplexity(), BulkComplexity()]
    whole.update(WEIGHTS, SLOPES)
    shares[0].update(WEIGHTS, rows(0, 2))
    shares[1].update(WEIGHTS, rows(2, 9))
    gathered = {name: [share.metric_state[name] for share in shares] for name in whole.metric_state}

    def gather(state: Tensor, group: object) -> list[Tensor]:
        return next(both for both in gathered.values() if any(torch.equal(state, one) for one in both))

    for share in shares:
        share.distributed_available_fn = lambda: True
        share.dist_sync_fn = gather
        own = dict(share.metric_state)
        assert_close(share.compute(), whole.compute())
        assert_close(share.estimate(), whole.estimate())
        assert share.metric_state == own


def test_copies_and_pickles() -> None:
    metric = BulkComplexity(0.2)
    metric.update(WEIGHTS, SLOPES)
    for twin in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        assert_close(twin.estimate(), metric.estimate())
        assert twin.regulator == 0.2


@pytest.mark.parametrize("regulator", [-0.1, math.nan, math.inf])
def test_errors(regulator: float) -> None:
    with pytest.raises(ValueError, match=f"regulator must be finite and not negative .* got {regulator}"):
        BulkComplexity(regulator)


def test_complexities_given_as_weights_are_refused() -> None:
    message = r"^weights must be a sequence of matrices, got a tensor of shape \(3,\): give the complexities of samples"
    with pytest.raises(ValueError, match=message):
        BulkComplexity().update(torch.ones(3))
