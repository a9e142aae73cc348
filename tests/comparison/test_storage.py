"""Runs on disk."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict

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
    write_run(tmp_path / "a-0", StoredRun({}, RunRecord(activation="a", seed=0, values={"laplacian": math.nan})))
    assert math.isnan(read_run(tmp_path / "a-0").record.values["laplacian"])


def test_run_that_has_not_ended_is_none(tmp_path):
    assert read_run(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "Expecting"), ("{}", "it lacks 'version'"), ('{"version": 2}', "it has version 2, this package reads 1")],
)
def test_file_that_cannot_be_read_is_named_with_the_cure(text, reason, tmp_path):
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(ValueError, match=rf"can't be read, .*result.json \({reason}.*\): delete that file"):
        read_run(tmp_path)


def damaged(**fields):
    record = {**asdict(RECORD), **fields}
    return {"version": 1, "settings": {"module": "Net()"}, "record": record}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([], "list indices must be integers"),
        (None, "'NoneType' object is not subscriptable"),
        (damaged() | {"version": "1"}, "it has version '1', this package reads 1"),
        (damaged() | {"settings": []}, "settings is no table, but"),
        (damaged() | {"settings": {"module": 5}}, "settings is no text, but 5"),
        (damaged() | {"record": "ReLU-0"}, "record is no table, but 'ReLU-0'"),
        ({"version": 1, "settings": {}}, "it lacks 'record'"),
        (damaged() | {"record": {}}, "its record lacks "),
        (damaged(surprise=1), r"its record lacks \[\] and has \['surprise'\] besides"),
        (damaged(activation=["ReLU"]), "activation is no text, but"),
        (damaged(activation="Tanh"), "it is that of the run Tanh-3"),
        (damaged(seed="3"), "seed holds '3' in the place of a whole number"),
        (damaged(seed=True), "seed holds True in the place of a whole number"),
        (damaged(engine="Module"), "engine is 'Module', and none of passive, driven"),
        (damaged(status="done"), "status is 'done', and none of finished, diverged, failed"),
        (damaged(status=[]), r"status is \[\], and none of"),
        (damaged(message=None), "message is no text, but None"),
        (damaged(values=[1.0]), "values is no table, but"),
        (damaged(values={"accuracy": "0.5"}), "values holds '0.5' in the place of a number"),
        (damaged(values={"accuracy": 10**400}), "values holds a number of 401 digits"),
        (damaged(work_efficiency=[["net.1"]]), "work_efficiency is no list of rows of 2"),
        (damaged(learning_efficiency=[["net.1", None]]), "learning_efficiency holds None in the place of a number"),
        (damaged(path=[[10, -3.0]]), "path is no list of rows of 3"),
        (damaged(path=[[10.5, -3.0, 1.0]]), "path holds 10.5 in the place of a whole number"),
    ],
)
def test_each_damaged_state_is_named_with_the_cure(content, reason, tmp_path):
    folder = tmp_path / RECORD.name
    folder.mkdir()
    (folder / "result.json").write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match=rf"can't be read, .*result.json \({reason}.*\): delete that file, and the run"
    ):
        read_run(folder)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.mkdir(), "it is no file"),
        (os.mkfifo, "it is no file"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "'utf-8' codec can't decode"),
        (lambda path: path.write_bytes(b""), "Expecting value"),
        (lambda path: path.write_text("[" * 100_000), "maximum recursion depth exceeded"),
        (lambda path: path.write_text('{"version": ' + "9" * 5000 + "}"), "Exceeds the limit"),
    ],
)
def test_what_is_no_json_is_named_and_not_waited_for(make, reason, tmp_path):
    make(tmp_path / "result.json")
    with pytest.raises(ValueError, match=rf"result.json \({reason}.*\): delete that file"):
        read_run(tmp_path)
    assert not storage.is_result(tmp_path / "result.json")


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
