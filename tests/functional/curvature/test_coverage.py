"""Honest errors of traces: 95 % intervals cover the truth in 90 to 99 of 100 repetitions, single probes in 90 or more.

The losses are the quadratics of real networks' whole Hessians: their curvature, at the price of a matrix product. A few
large eigenvalues, as networks have them, make the probes' distribution skewed, which costs the intervals some percent.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch
from curvature_oracles import Problem, block_traces, decoder, digits_net, exact_hessian, quadratic
from torch import Tensor

from thermo_callbacks.functional import Estimate
from thermo_callbacks.functional.curvature import TraceEstimate, hessian_trace

REPETITIONS = 200
NORMAL_QUANTILE = 1.96
NETS = (digits_net, decoder)
# network, whether each layer has probes of its own, and how many; those of the decoder cost nine times as much
QUICK = [(digits_net, False, 8), (decoder, False, 8), (digits_net, True, 4), (decoder, True, 2)]
ALL = [(net, restricted, 8) for net in NETS for restricted in (False, True)]


def describe(value: object) -> str:
    """Names for the cases."""
    return ("common", "restricted")[value] if isinstance(value, bool) else getattr(value, "__name__", str(value))


@cache
def traces(make: Callable[[], Problem], restricted: bool, probes: int, repetitions: int) -> list[TraceEstimate]:
    """Estimates with fresh probes each time."""
    net = make()
    problem = quadratic(exact_hessian(make).float(), net.sizes, net.layers)  # half the memory to go through
    generator = torch.Generator().manual_seed(10 * probes + restricted)
    blocks = net.layers if restricted else None
    return [
        hessian_trace(problem.loss(problem.parameters), problem.parameters, probes, generator, blocks=blocks)
        for _ in range(repetitions)
    ]


def columns(make: Callable[[], Problem]) -> list[list[int]]:
    """The parameters of each layer, and of the whole."""
    return [*make().layers, list(range(len(make().parameters)))]


def coverage(make: Callable[[], Problem], estimates: list[TraceEstimate], probes: int) -> Tensor:
    """Part of the repetitions whose first probes give an interval that holds the exact trace, [layers + 1].

    Single probes have normal quantiles here: with Student's t of their one degree of freedom all would be covered.
    """
    exact = block_traces(exact_hessian(make), make().sizes)
    truths = torch.stack([exact[parameters].sum() for parameters in columns(make)])
    found = []
    for trace in estimates:
        first = trace._replace(contributions=trace.contributions[:probes], variances=trace.variances[:probes])
        found.append([torch.stack(first.total(parameters)) for parameters in columns(make)])
    estimate = Estimate(*torch.stack([torch.stack(row) for row in found]).unbind(-1))  # [repetitions, columns]
    low, high = estimate.interval(0.95)
    if probes == 1:
        low, high = (estimate.value + sign * NORMAL_QUANTILE * estimate.stderr for sign in (-1.0, 1.0))
    return ((low <= truths) & (truths <= high)).double().mean(0)


@pytest.mark.parametrize(("make", "restricted", "most"), QUICK, ids=describe)
def test_intervals_cover_the_truth(make: Callable[[], Problem], restricted: bool, most: int) -> None:
    estimates = traces(make, restricted, most, REPETITIONS)
    for probes in (count for count in (1, 2, 4, 8) if count <= most):
        covered, highest = coverage(make, estimates, probes), 1.0 if probes == 1 else 0.99
        # of the layers their mean: that one of them lies 2 % off in 200 repetitions is chance
        assert 0.90 <= covered[-1] <= highest, (probes, covered)
        assert 0.90 <= covered[:-1].mean() <= highest, (probes, covered)


@pytest.mark.slow
@pytest.mark.parametrize(("make", "restricted", "most"), ALL, ids=describe)
def test_ten_times_the_repetitions_cover_it_in_each_layer(
    make: Callable[[], Problem], restricted: bool, most: int
) -> None:
    estimates = traces(make, restricted, most, 10 * REPETITIONS)
    for probes in (1, 2, 4, 8):
        covered = coverage(make, estimates, probes)
        assert ((covered >= 0.90) & (covered <= (1.0 if probes == 1 else 0.98))).all(), (probes, covered)


@pytest.mark.parametrize("make", NETS, ids=describe)
def test_a_single_probes_error_is_at_least_the_real_one(make: Callable[[], Problem]) -> None:
    values, variances = (
        torch.cat([
            torch.stack([getattr(trace, field)[:, parameters].sum(1) for parameters in columns(make)], 1)
            for trace in traces(make, False, 8, REPETITIONS)
        ])
        for field in ("contributions", "variances")
    )  # fmt: skip
    ratio = variances.mean(0) / values.var(0)
    scatter = 4.0 * (2.0 / (8 * REPETITIONS)) ** 0.5  # of a variance, were the values normal
    assert (ratio > 1.0 - scatter).all(), ratio
    assert ratio.max() < 2.0 * (1.0 + scatter)  # and no more than the stated factor above it
