"""Odd runs, written down before they were tried: training is what it is without a monitor, values and words are right.

Each is one function, whose first line says what is odd: in ``odd_runs`` how a Trainer is driven, in ``odd_batches``,
``odd_models``, ``odd_modules`` and ``odd_steps`` what is trained. The fast ones are tried with each change, all of them
with each preset in the slow step.
"""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from integration import odd_batches, odd_models, odd_modules, odd_runs, odd_steps
from integration.models import RecordingLogger
from integration.observers import differences
from integration.odd_runs import Ended, Started
from lightning.pytorch import Callback, seed_everything

from thermo_callbacks import ThermoMonitor

Drive = Callable[[Started], Ended]
WINDOW = 8


def runs_of(*modules: ModuleType) -> dict[str, Drive]:
    """Functions that drive a run, by name."""
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if getattr(value, "__annotations__", {}) == {"start": "Started", "return": "Ended"}
    }


RUNS = runs_of(odd_runs, odd_batches, odd_models, odd_modules, odd_steps) | {"finders": odd_runs.finders}
RUNS["finders, the monitor first"] = partial(odd_runs.finders, first=True)
FAST = ("thrice", "without_a_loss", "every_second", "clipped", "in_backward", "by_layer")

BY_HAND = "steps its optimizers by hand: give loss_fn"
NO_BATCH = "must be called with a tensor whose first dimension is the batch, got none"
REFUSED = {
    **dict.fromkeys(("unequal", "in_backward", "truncated"), ("standard", BY_HAND)),
    **dict.fromkeys(("packed", "meta"), ("full", NO_BATCH)),
    "nested_tensors": ("standard", "curvature comes from finite differences of the gradient"),
    "binary": ("full", "network must be a module that the training step calls"),
    "two_threads": ("standard", "makes no extra passes while another monitored run trains in another thread"),
}
"""What is told of a run, and from which preset on; nothing of the others."""
SEVERAL = {"unequal", "in_backward", "truncated", "two_threads", "nested", "resumed"}
"""Several optimizers, Trainers, or steps in one batch: there is no one sum of heat to compare with."""
LATE = {"thawed", "growing", "by_layer"}
"""Layers that come later are watched from the next window on: less heat, never more."""
WITHOUT = {"without_a_loss", "developed"}
"""A loss that is the mean of fewer batches than Lightning divides by; no rows."""


class Heat(Callback):
    """The heat of each step by hand: gradients as they are before clipping, times the moves."""

    def __init__(self) -> None:
        self.by_step: list[float] = []
        self._open: list[Any] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        owned = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        self._open.append([(p, p.detach().clone(), p.grad.to_dense().clone()) for p in owned])

    def on_train_batch_end(self, *_: Any) -> None:
        for step in self._open:
            heat = math.fsum(((p.detach() - before) * slope).sum().item() for p, before, slope in step)
            self.by_step.append(heat + (self.by_step[-1] if self.by_step else 0.0))
        self._open = []

    on_exception = on_train_batch_end  # one that another callback raised after the step


def observed(
    drive: Drive, folder: Path, *others: Callable[[], Any]
) -> tuple[dict[str, Any], RecordingLogger, list[str]]:
    """What is left of a run, what was logged, and what was told."""
    seed_everything(17, verbose=False)
    logger = RecordingLogger()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        ended = drive(Started(lambda: [make() for make in others], logger, folder))
    left = {
        "modules": [dict(module.state_dict()) for module in ended.modules],
        "gradients": [{n: p.grad for n, p in module.named_parameters()} for module in ended.modules],
        "optimizers": [[optimizer.state_dict() for optimizer in trainer.optimizers] for trainer in ended.trainers],
        "hooks": [[len(o._optimizer_step_post_hooks) for o in trainer.optimizers] for trainer in ended.trainers],
        "streams": [random.getstate(), np.random.get_state(), torch.get_rng_state()],  # noqa: NPY002
        "rows": logger.user_rows,
    }
    if len(ended.trainers) > 1 and len(ended.modules) > 1 and ended.trainers[0].logger is None:
        del left["streams"]  # threads take turns with them
    return left, logger, [str(warning.message) for warning in told]


def tried(name: str, preset: Any, folder: Path) -> None:
    """Compare one run with a monitor to the same run without."""
    bare, _, ordinary = observed(RUNS[name], folder / "bare")
    truth = Heat()
    monitor = partial(ThermoMonitor, preset, WINDOW, steps_between_windows=0, sample=None, curvature_every_n_steps=4)
    others = [monitor] if name in SEVERAL else [lambda: truth, monitor]
    watched, logger, told = observed(RUNS[name], folder / "watched", *others)
    assert differences(bare, watched) == []
    ours = [text for text in told if text not in ordinary]
    first, reason = REFUSED.get(name, ("", ""))
    if first in {preset, "standard"} and preset != "light":
        assert ours
        assert reason in ours[0]
        assert len(ours) <= 2
    else:
        assert ours == []
    values = [value for _, row in logger.thermo_rows for value in row.values()]
    assert not any(map(math.isinf, values))
    if name not in SEVERAL | WITHOUT:
        compare_heat(logger.series("thermo/heat"), truth.by_step, late=name in LATE)


def compare_heat(heat: list[float], truth: list[float], *, late: bool) -> None:
    """The heat at the end of each window is that of its steps by hand."""
    assert len(heat) >= 4
    ends = [truth[WINDOW * (window + 1) - 1] for window in range(len(heat)) if WINDOW * (window + 1) <= len(truth)]
    if late:
        assert truth[-1] <= heat[-1] < 0.0
    else:
        assert heat == pytest.approx(ends, rel=1e-5)


def test_layers_that_take_turns_miss_no_heat_after_the_first_window(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    truth = Heat()
    monitor = partial(ThermoMonitor, "light", WINDOW, steps_between_windows=0, sample=None)
    with caplog.at_level("INFO", "thermo_callbacks"):
        _, logger, _ = observed(odd_steps.by_layer, tmp_path, lambda: truth, monitor)
    heat = dict(zip((step for step, row in logger.thermo_rows), logger.series("thermo/heat"), strict=True))
    (first, start), *later = heat.items()
    assert len(later) >= 4
    for step, value in later:
        assert value - start == pytest.approx(truth.by_step[step] - truth.by_step[first], rel=1e-5)
    assert sum("layers freeze and thaw in turn" in message for message in caplog.messages) == 1


@pytest.mark.parametrize("name", FAST)
def test_a_fast_odd_run(name: str, tmp_path: Path) -> None:
    tried(name, "standard", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["light", "standard", "full"])
@pytest.mark.parametrize("name", RUNS)
def test_an_odd_run(name: str, preset: str, tmp_path: Path) -> None:
    tried(name, preset, tmp_path)


def test_there_are_more_than_twenty() -> None:
    assert len(RUNS) > 20
    assert set(FAST) | REFUSED.keys() | SEVERAL | LATE | WITHOUT <= RUNS.keys()
