"""Runs on disk."""

from __future__ import annotations

import json
import math

import pytest

from thermo_callbacks.comparison import storage
from thermo_callbacks.comparison.records import PathPoint, RunRecord
from thermo_callbacks.comparison.storage import StoredRun, read_run, run_folder, write_run, write_text

RECORD = RunRecord(
    activation="LeakyReLU(negative_slope=0.2)",
    seed=3,
    engine="passive",
    status="diverged",
    message="der Verlust war ∞",
    values={"val_loss_best": 0.1 + 0.2, "laplacian": math.inf},
    work_efficiency=[("net.1", 1 / 3), ("net.3", 1e-300)],
    learning_efficiency=[("net.1", 0.5)],
    path=[PathPoint(10, -3.0, 1e-5)],
)


def test_run_is_read_as_it_was_written_to_the_last_digit(tmp_path):
    folder = run_folder(tmp_path, RECORD.name)
    write_run(folder, StoredRun({"module": "Net()"}, RECORD))
    assert read_run(folder) == StoredRun({"module": "Net()"}, RECORD)
    assert [path.name for path in folder.iterdir()] == ["result.json"]


def test_missing_number_stays_one(tmp_path):
    write_run(tmp_path, StoredRun({}, RunRecord(activation="a", seed=0, values={"laplacian": math.nan})))
    assert math.isnan(read_run(tmp_path).record.values["laplacian"])


def test_run_that_has_not_ended_is_none(tmp_path):
    assert read_run(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "Expecting"), ("{}", "'version'"), ('{"version": 2}', "it has version 2, this package reads 1")],
)
def test_file_that_cannot_be_read_is_named_with_the_cure(text, reason, tmp_path):
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(ValueError, match=rf"can't be read, .*result.json \({reason}.*\): delete that file"):
        read_run(tmp_path)


def test_file_is_never_half_written(tmp_path, monkeypatch):
    write_text(tmp_path / "file", "old")

    def fail(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(storage.os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_text(tmp_path / "file", "new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "old")]


def test_content_is_plain_json(tmp_path):
    write_run(tmp_path, StoredRun({}, RECORD))
    assert json.loads((tmp_path / "result.json").read_text())["record"]["status"] == "diverged"
