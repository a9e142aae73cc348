"""Checkpoints of the version before."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from integration.models import RecordingLogger, Regression, loader, momentum_sgd, quiet_trainer

from thermo_callbacks import ThermoMonitor
from thermo_callbacks.callbacks.checkpoint import current_state

# written by version 2 in the middle of a window, between two extra passes, with the rows that it went on to log
VERSION_2 = Path(__file__).parent / "data" / "version_2.ckpt"


@pytest.mark.filterwarnings("ignore:.*NaN")
@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`.*ModelCheckpoint")
def test_a_run_of_version_2_goes_on_with_its_extra_passes_and_begins_its_window_afresh() -> None:
    """Its windows lack sums that this version keeps; the averages over extra passes are those that it had."""
    logger = RecordingLogger()
    monitor = ThermoMonitor("full", 8, steps_between_windows=2, curvature_every_n_steps=6)
    trainer = quiet_trainer(callbacks=monitor, logger=logger, max_steps=60, max_epochs=2)
    with pytest.warns(UserWarning, match="those that don't fit start afresh"):
        trainer.fit(Regression(optimizer=momentum_sgd), loader(60), ckpt_path=VERSION_2)
    expected = torch.load(VERSION_2, weights_only=True)["rows_of_version_2"]
    passes = {step: row["thermo/laplacian"] for step, row in logger.thermo_rows if "thermo/laplacian" in row}
    then = {step: float.fromhex(row["thermo/laplacian"]) for step, row in expected if "thermo/laplacian" in row}
    assert passes == pytest.approx(then, rel=1e-9)
    assert len(passes) > 2
    assert any("thermo/temperature" in row for _, row in logger.thermo_rows)


@pytest.mark.parametrize("version", [1, 4])
def test_other_versions_are_refused(version: int) -> None:
    with pytest.raises(ValueError, match=f"^the checkpoint's state has version {version}, this package reads 2 and 3$"):
        current_state({"version": version})
