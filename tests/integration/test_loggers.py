"""Loggers besides TensorBoard: what arrives there, and at which step."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from integration.models import LoggingRegression, RecordingLogger, loader
from integration.wandb_runs import history, records
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, WandbLogger

from thermo_callbacks import ThermoMonitor

STEP = "trainer/global_step"
"""The axis that Lightning's logger makes the default one of all charts."""
Series = dict[tuple[str, int], float]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, RecordingLogger]]:
    """One run with three loggers: the folder of two of them, and the third."""
    folder = tmp_path_factory.mktemp("run")
    recorder = RecordingLogger()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CACHE", "CONFIG", "DATA"):  # nothing outside the folder
            patch.setenv(f"WANDB_{name}_DIR", str(folder / name.lower()))
        patch.setenv("WANDB_SILENT", "true")
        loggers = [WandbLogger(offline=True, save_dir=folder, project="test"), CSVLogger(folder), recorder]
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=3,
            logger=loggers,
            log_every_n_steps=4,
            callbacks=[ThermoMonitor("full", 8, curvature_every_n_steps=10)],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(LoggingRegression(), loader(30))  # a few NaN are wanted here, and there are some
        wandb.finish()
        wandb.teardown()  # ends the service process too
        yield folder, recorder


def of_wandb(folder: Path) -> Series:
    series: Series = {}
    for row in history(folder):
        for tag, value in row.items():
            if not tag.startswith("_") and tag != STEP:
                series[tag, row[STEP]] = value
    return series


def of_csv(folder: Path) -> Series:
    (file,) = folder.glob("lightning_logs/version_0/metrics.csv")
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    return {
        (tag, int(row["step"])): float(value) for row in rows for tag, value in row.items() if value and tag != "step"
    }


def same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


@pytest.mark.parametrize("read", [of_wandb, of_csv])
def test_every_value_arrives_at_its_step(run: tuple[Path, RecordingLogger], read: Any) -> None:
    folder, recorder = run
    sent = {(tag, step): value for step, values in recorder.rows for tag, value in values.items()}
    arrived = read(folder)
    assert arrived.keys() == sent.keys()
    assert [key for key in sent if not same(arrived[key], sent[key])] == []
    assert any(math.isnan(value) for value in arrived.values())
    tags = {tag for tag, _ in arrived}
    assert tags > {"loss", "epoch", "thermo/temperature", "thermo/laplacian", "thermo/complexity", "thermo_heat/net.0"}


def test_charts_have_the_axis_of_the_users_own_values(run: tuple[Path, RecordingLogger]) -> None:
    folder, _ = run
    axes = {
        record.metric.glob_name: record.metric.step_metric
        for record in records(folder)
        if record.WhichOneof("record_type") == "metric" and record.metric.glob_name
    }
    assert axes == {"*": STEP}
    steps = {
        start: [row[STEP] for row in history(folder) if any(tag.startswith(start) for tag in row)]
        for start in ("loss", "thermo")
    }
    assert steps["loss"] == list(range(3, 90, 4))
    assert steps["thermo"][0] == 7  # the last step of the first window, counted from 0 as Lightning does
    assert steps["thermo"] == sorted(steps["thermo"])


def test_the_log_of_the_run_has_no_complaint(run: tuple[Path, RecordingLogger]) -> None:
    folder, _ = run
    printed = "".join(record.output_raw.line for record in records(folder))
    logged = "".join(file.read_text(encoding="utf-8") for file in folder.glob("wandb/offline-run-*/logs/*.log"))
    assert logged
    assert "less than current step" not in printed + logged
