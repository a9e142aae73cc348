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
CURVED = tuple(
    f"thermo{divider}{name}"
    for name in ("laplacian", "total_laplacian", "entropy_destruction", "rugh", "entropy_rate", "second_law")
    for divider in "/_"
)
"""Values that were averages over extra passes then, and are those of one pass now."""

BALANCE = ("thermo/entropy_production", "thermo/entropy_rate", "thermo/second_law")
BRIDGED = ("thermo/heat", "thermo_heat", "thermo/first_law", "thermo/transition", "thermo_transition")
NOISE = ("thermo/noise_scale", "thermo_noise_scale", "thermo/signal_share", "thermo_signal_share")
# with momentum, pairs of innovation and gradient are taken from one to the next now
KINETIC = (
    *(f"thermo{divider}temperature" for divider in "/_"),
    "thermo/einstein_temperature",
    "thermo/entropy_stderr",
    "thermo/bound_energy",
    "thermo/free_energy",
)
ELSEWHERE = (
    *BALANCE,
    *KINETIC,
    "thermo_entropy_production",
    *NOISE,
    *CURVED,
    "thermo_carnot_bound",
    "thermo_dead_fraction",
    *BRIDGED,
)
"""Of which version 2 logged another quantity under the same name."""


@pytest.mark.filterwarnings("ignore:.*NaN")
@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`.*ModelCheckpoint")
def test_a_run_of_version_2_goes_on_with_the_numbers_that_version_2_logged() -> None:
    logger = RecordingLogger()
    monitor = ThermoMonitor("full", 8, steps_between_windows=2, curvature_every_n_steps=6)
    trainer = quiet_trainer(callbacks=monitor, logger=logger, max_steps=60, max_epochs=2)
    trainer.fit(Regression(optimizer=momentum_sgd), loader(60), ckpt_path=VERSION_2)
    expected = torch.load(VERSION_2, weights_only=True)["rows_of_version_2"]
    assert [step for step, _ in logger.thermo_rows] == [step for step, _ in expected]
    for (_, row), (_, then) in zip(logger.thermo_rows, expected, strict=True):
        known = {tag: float.fromhex(value) for tag, value in then.items() if not tag.startswith(ELSEWHERE)}
        assert {tag: row.get(tag) for tag in known} == pytest.approx(known, rel=1e-9, nan_ok=True)


@pytest.mark.parametrize("version", [1, 4])
def test_other_versions_are_refused(version: int) -> None:
    with pytest.raises(ValueError, match=f"^the checkpoint's state has version {version}, this package reads 2 and 3$"):
        current_state({"version": version})
