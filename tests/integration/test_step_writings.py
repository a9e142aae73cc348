"""However a training step is written, training is bit for bit what it is without a monitor."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from integration.models import INPUTS
from integration.observers import differences, observe
from integration.step_writings import LARGE, WRITINGS, Writing, Written
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import SGD

from thermo_callbacks import ThermoMonitor

CURE = "give loss_fn, a function of module and batch that returns the loss and does nothing else"
TRACE = "the training step can't be run once more without a trace"
ORDINARY = [name for name in WRITINGS if name != "large buffer"]


def left_behind(writing: Writing, folder: Path, *callbacks: Any) -> tuple[dict[str, Any], list[str]]:
    """Everything that is left of a run, outside of the module too, and the warnings that name a replay."""
    made: list[Written] = []

    def make() -> Written:
        made.append(Written(writing, folder))
        return made[0]

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        left = observe(make, folder, *callbacks, tensorboard=False)
    left["left"] = writing.left(made[0])
    left["rates"] = [group["lr"] for group in made[0].trainer.optimizers[0].param_groups]
    return left, [str(warning.message) for warning in told if "switched off" in str(warning.message)]


@pytest.mark.parametrize("name", ORDINARY)
def test_a_step_that_leaves_something_is_put_back_or_refused(name: str, tmp_path: Path) -> None:
    writing = WRITINGS[name]
    bare, _ = left_behind(writing, tmp_path)
    for preset in ("standard", "full"):
        watched, told = left_behind(writing, tmp_path, ThermoMonitor(preset, 8, curvature_every_n_steps=4))
        assert differences(bare, watched) == []
        tags = {tag for _, row in watched["thermo_rows"] for tag in row}
        assert "thermo/temperature" in tags
        assert ("thermo/laplacian" in tags) == (not writing.refused)
        assert bool(told) == writing.refused
        assert all(TRACE in text and CURE in text for text in told)


@pytest.mark.slow
def test_a_large_buffer_is_known_before_the_replay(tmp_path: Path) -> None:
    assert 4 * LARGE > 2**28
    writing = WRITINGS["large buffer"]
    bare, _ = left_behind(writing, tmp_path)
    watched, told = left_behind(writing, tmp_path, ThermoMonitor("standard", 8, curvature_every_n_steps=4))
    assert differences(bare, watched) == []
    assert "Written.kept was written to, and there was no room for a copy of it" in told[0]


class Making(LightningModule):
    """Makes tensors in its step, of the default type and of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(INPUTS, 4)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        made = torch.eye(4)
        asked = torch.ones(4, 1, dtype=self.dtype)
        if self.trainer.precision.endswith("-true") and not self.seen:
            self.seen.append(made.dtype)
        return (self.net(batch[0].to(self.dtype)) @ made.to(asked) @ asked).square().mean() + 0.0 * (
            asked.T @ made
        ).sum()

    def configure_optimizers(self) -> Any:
        return SGD(self.parameters(), lr=0.01)

    seen: list[torch.dtype] = []  # noqa: RUF012


@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "16-true", "32-true"])
def test_tensors_made_in_the_step_are_of_the_precision_of_the_replay(precision: str, tmp_path: Path) -> None:
    Making.seen.clear()
    bare = observe(Making, tmp_path, tensorboard=False, precision=precision)
    watched = observe(
        Making,
        tmp_path,
        ThermoMonitor("standard", 8, curvature_every_n_steps=4),
        tensorboard=False,
        precision=precision,
    )
    assert differences(bare, watched) == []
    numbers = {"64-true": torch.float64, "bf16-true": torch.bfloat16, "16-true": torch.float16}
    assert Making.seen == [numbers.get(precision, torch.float32)]
    curvature = [row["thermo/laplacian"] for _, row in watched["thermo_rows"] if "thermo/laplacian" in row]
    assert curvature
    assert all(value > 0.0 for value in curvature)
