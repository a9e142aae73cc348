"""Errors name the argument, the value it got, and the cure."""

from __future__ import annotations

import math
from collections.abc import Callable
from re import escape

import pytest
import torch

from thermo_callbacks.functional import (
    drift_p_value,
    drift_share,
    einstein_temperature,
    equilibrium_ratio,
    gradient_moments,
    gradient_noise_scale,
    heat,
    helmert_contrasts,
    kinetic_sampling_variance,
    kinetic_temperature,
    mean_estimate,
    momentum_response,
    signal_share,
    virial_temperature,
)

WINDOW, NARROW = torch.zeros(5, 3), torch.zeros(5, 2)
RATE = torch.tensor(0.1)
SHAPE = "must be a floating-point tensor of shape [W, n] (W steps of n coordinates), got shape"
MISMATCH = "(5, 3), got (5, 2): give the same steps and coordinates to both"
FORGETS = "at 1 the optimizer never forgets a gradient"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: momentum_response(1.0), f"momentum must lie in [0, 1), got 1.0: {FORGETS}"),
        (lambda: momentum_response(-0.1), f"momentum must lie in [0, 1), got -0.1: {FORGETS}"),
        (lambda: momentum_response(math.nan), f"momentum must lie in [0, 1), got nan: {FORGETS}"),
        (lambda: kinetic_temperature(WINDOW, WINDOW, 1.5), f"momentum must lie in [0, 1), got 1.5: {FORGETS}"),
        (lambda: einstein_temperature(WINDOW, RATE, 1.5), f"momentum must lie in [0, 1), got 1.5: {FORGETS}"),
        (lambda: kinetic_temperature(WINDOW, NARROW), f"gradients must have the shape of displacements, {MISMATCH}"),
        (lambda: virial_temperature(WINDOW, NARROW), f"gradients must have the shape of parameters, {MISMATCH}"),
        (lambda: equilibrium_ratio(WINDOW, NARROW), f"displacements must have the shape of parameters, {MISMATCH}"),
        (lambda: heat(WINDOW, NARROW), f"gradients must have the shape of displacements, {MISMATCH}"),
        (lambda: kinetic_temperature(WINDOW[0], WINDOW[0]), f"displacements {SHAPE} (3,) and torch.float32"),
        (lambda: kinetic_temperature(WINDOW, WINDOW.int()), f"gradients {SHAPE} (5, 3) and torch.int32"),
        (lambda: virial_temperature(WINDOW[None], WINDOW), f"parameters {SHAPE} (1, 5, 3) and torch.float32"),
        (lambda: einstein_temperature(WINDOW[0], RATE), f"displacements {SHAPE} (3,) and torch.float32"),
        (lambda: equilibrium_ratio(WINDOW.bool(), WINDOW), f"parameters {SHAPE} (5, 3) and torch.bool"),
        (lambda: gradient_moments(WINDOW.long()), f"gradients {SHAPE} (5, 3) and torch.int64"),
        (lambda: heat(WINDOW[0], WINDOW[0]), f"displacements {SHAPE} (3,) and torch.float32"),
        (
            lambda: kinetic_temperature(WINDOW[:1], WINDOW[:1]),
            "displacements must hold at least 2 steps, got 1: measure longer",
        ),
        (
            lambda: kinetic_temperature(WINDOW[:3], WINDOW[:3], 0.9),
            "displacements must hold at least 4 steps, got 3: measure longer",
        ),
        (
            lambda: virial_temperature(WINDOW[:1], WINDOW[:1]),
            "parameters must hold at least 2 steps, got 1: measure longer",
        ),
        (
            lambda: einstein_temperature(WINDOW[:3], RATE, 0.9),
            "displacements must hold at least 4 steps, got 3: measure longer",
        ),
        (lambda: drift_share(WINDOW[:1], WINDOW[:1]), "parameters must hold at least 2 steps, got 1"),
        (lambda: drift_p_value(WINDOW[:2], WINDOW[:2], 0.9), "parameters must hold at least 3 steps, got 2"),
        (lambda: drift_share(WINDOW, WINDOW, 1.0), "momentum must lie in [0, 1), got 1.0"),
        (lambda: equilibrium_ratio(WINDOW[:0], WINDOW[:0]), "parameters must hold at least 1 steps, got 0"),
        (lambda: heat(WINDOW[:0], WINDOW[:0]), "displacements must hold at least 1 steps, got 0: measure longer"),
        (lambda: signal_share(WINDOW[:1]), "gradients must hold at least 2 steps, got 1: measure longer"),
        (lambda: gradient_noise_scale(WINDOW[:1], 8), "gradients must hold at least 2 steps, got 1: measure longer"),
        (lambda: gradient_noise_scale(WINDOW, 0), "batch_size must be at least 1 sample, got 0"),
        (
            lambda: einstein_temperature(WINDOW, torch.ones(2)),
            "mobility must be a scalar or of shape [3] like the coordinates, got (2,)",
        ),
        (
            lambda: kinetic_sampling_variance(WINDOW[:3], WINDOW[:3], 9, 0.9),
            "displacements must hold at least 4 steps, got 3: measure longer",
        ),
        (
            lambda: kinetic_sampling_variance(WINDOW, NARROW, 9),
            f"gradients must have the shape of displacements, {MISMATCH}",
        ),
        (
            lambda: helmert_contrasts(WINDOW[:1]),
            "a window needs at least 2 steps to show a fluctuation, got 1: measure longer",
        ),
        (
            lambda: helmert_contrasts(RATE),
            "a window needs at least 2 steps to show a fluctuation, got 0: measure longer",
        ),
        (
            lambda: mean_estimate(WINDOW[:0]),
            "contributions must hold at least one step, got shape (0, 3): measure longer",
        ),
        (lambda: mean_estimate(RATE), "contributions must hold at least one step, got shape (): measure longer"),
        (lambda: mean_estimate(WINDOW, batch_length=0), "batch_length must be at least 1 step, got 0"),
        (
            lambda: mean_estimate(WINDOW).interval(1.0),
            "level must lie between 0 and 1 (for example 0.95), got 1.0",
        ),
        (
            lambda: mean_estimate(WINDOW).interval(95),
            "level must lie between 0 and 1 (for example 0.95), got 95",
        ),
    ],
)
def test_message(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{escape(message)}"):
        call()
