"""The checks for a GPU hold on a CPU too, and see what they are there to see."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from gpu.check import compared, main, waits_only_where_something_is_logged
from gpu.runs import TINY
from lightning.pytorch import Callback
from torch.optim import SGD

pytestmark = pytest.mark.filterwarnings("ignore:.*no value")  # windows of 8 steps show no signal now and then


class Impatient(Callback):
    """Reads a number at every batch."""

    def __init__(self, preset: str) -> None:
        """Take a preset's name, as a monitor does."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        outputs["loss"].item()


class Drawing(Impatient):
    """Draws a number at every batch."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        torch.rand(())


@pytest.mark.slow
def test_all_hold_with_tiny_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--device", "cpu"]) == 0
    table = capsys.readouterr().out
    assert table.count("│ yes ") == 10
    assert "│ NO " not in table
    assert "steps per second with / without" in table


def test_waiting_at_every_batch_is_seen() -> None:
    quiet, _ = waits_only_where_something_is_logged("cpu", TINY, Impatient)
    assert quiet.holds is False
    assert quiet.figure.startswith("32 of 32 batches log nothing; 32 of these wait more: ")


def test_a_run_that_changes_is_seen() -> None:
    row = compared("drawing", "cpu", TINY, partial(SGD, lr=0.02), attach=Drawing)
    assert row.holds is False
    assert not row.figure.startswith("0 places differ")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device")
def test_without_a_device_it_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert (
        "torch sees no CUDA device here: --device cpu runs the same checks with tiny sizes" in capsys.readouterr().err
    )
