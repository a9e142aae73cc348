"""Schedules that come as optimizers of other packages, for schedules.py: schedule-free, SASA and SALSA.

SASA and SALSA (package statopt; Zhang et al. 2020) are kinds of SGD with dampened momentum, and in schedule-free SGD
none adds up: where the problem has momentum, their rate is that of the same step length, 1 / (1 - momentum) of the
column's. In problems with AdamW, SASA and SALSA have momentum 0.9, and rates of another kind: a hundred times the
column's. Their tests begin at a tenth of the run, or when statopt allows it, after 800 steps; by its defaults it would
be 8,000.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

OF_ADAM = 100.0
"""Rate of SGD over that of Adam, for problems with Adam."""
PACKAGES = {"schedule-free": "schedulefree", "SASA": "statopt", "SALSA": "statopt"}


def installed() -> list[str]:
    """Schedules whose package is there."""
    return [schedule for schedule, package in PACKAGES.items() if find_spec(package)]


def optimizer_of(schedule: str, parameters: Iterable[nn.Parameter], like: Any, *, steps: int, data: int) -> Any:
    """The schedule's optimizer in the place of the problem's own one.

    Args:
        schedule: One of ``PACKAGES``.
        parameters: What is trained.
        like: The problem's optimizer, whose rate and momentum are taken over.
        steps: Steps of the run.
        data: Batches in an epoch.

    Returns:
        The optimizer.
    """
    group = like.param_groups[0]
    rate, adam = group["lr"], "betas" in group
    momentum = 0.9 if adam else group["momentum"]
    same_step = rate / (1.0 - momentum)  # of SGD without momentum, or with a dampened one
    if schedule == "schedule-free":
        import schedulefree

        kind = schedulefree.AdamWScheduleFree if adam else schedulefree.SGDScheduleFree
        optimizer = kind(parameters, lr=rate if adam else same_step)
        optimizer.train()  # it begins in the mode for evaluation, and refuses to step in it
        return optimizer
    import statopt

    options: dict[str, Any] = {
        "lr": rate * OF_ADAM if adam else same_step,
        "momentum": momentum,
        "testfreq": min(100, data),
        "minN_stats": min(1000, max(100, steps // 80)),  # of which a bucket keeps one in eight
    }
    if schedule == "SASA":
        return statopt.SASA(parameters, **options)

    class LineSearch(statopt.SALSA):  # type: ignore[misc]
        """Lightning's closures take no argument; no network here has another mode for evaluation."""

        def step(self, closure: Callable[[], Tensor]) -> None:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints what it decides
                super().step(lambda eval_mode: closure())

    return LineSearch(parameters, gamma=math.sqrt(1.0 / data), **options)


def line_search_step(optimizer: Any, loss: Callable[[], Tensor]) -> None:
    """A step of SALSA, which evaluates the batch's loss a few times itself, at gradients that are there."""
    optimizer.zero_grad()
    loss().backward()
    optimizer.step(torch.no_grad()(loss))
