"""Traces from contributions of samples."""

from __future__ import annotations

import re

import pytest
import torch
from oracles import normal

from thermo_callbacks.functional.curvature.sample_trace import sample_trace


def test_the_error_is_that_of_a_sum_of_independent_samples() -> None:
    contributions = normal(2000, 30, seed=0) * 2.0 + 1.0
    trace = sample_trace(contributions.T)
    assert trace.value.shape == (2000,)
    assert trace.value.mean().item() == pytest.approx(30.0, abs=4 * 2 * 30**0.5 / 2000**0.5)
    assert trace.stderr.square().mean().item() == pytest.approx(trace.value.var().item(), rel=0.1)
    low, high = trace.interval(0.95)
    assert ((low < 30.0) & (high > 30.0)).double().mean().item() == pytest.approx(0.95, abs=0.015)
    assert (trace.degrees_of_freedom == 29.0).all()


def test_layers_share_samples() -> None:
    contributions = normal(50, 1, seed=1).expand(50, 2)
    layers, whole = sample_trace(contributions), sample_trace(contributions.sum(1))
    torch.testing.assert_close(whole.stderr, layers.stderr.sum())


def test_a_single_sample_has_no_error() -> None:
    trace = sample_trace(torch.ones(1, 2))
    assert trace.value.tolist() == [1.0, 1.0]
    assert trace.stderr.isnan().all()


def test_no_sample_is_refused() -> None:
    text = "contributions must hold at least one sample, got shape (0, 2): give a batch"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        sample_trace(torch.ones(0, 2))
