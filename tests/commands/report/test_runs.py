"""What the files of a run are put together to."""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path

import numpy as np
import pytest
from commands.report.conftest import BATCH, STEPS, WINDOW
from torch.utils.tensorboard import SummaryWriter

from thermo_callbacks.commands.report.csv_file import CSV_FILE
from thermo_callbacks.commands.report.naming import natural
from thermo_callbacks.commands.report.runs import Run, is_ours, members_of, read_runs
from thermo_callbacks.commands.report.series import Series
from thermo_callbacks.display.text.configuration import configuration_text

TEMPERATURE = "thermo/temperature"


def run_of(folder):
    (run,) = read_runs(folder, "run")
    return run


def run_with(records, name="run", files=("events",)):
    run = Run(name, Path("run"), files=list(files))
    for step, record in records.items():
        for tag, value in record.items():
            run.scalars.setdefault(tag, Series()).add(step, value, 0.0)
    return run


@pytest.mark.parametrize("which", ["both", "prefixed", "table"])
def test_the_last_values_are_those_of_the_monitor(logs, which):
    folder = getattr(logs, which)
    run, latest = run_of(folder), logs.latest[folder.name]
    assert run.notices == []
    assert len(latest) > 50
    for tag, value in latest.items():
        assert run.scalars[tag].last == pytest.approx(value, rel=1e-6, nan_ok=True), tag


def test_a_table_has_all_digits_where_event_files_have_seven(logs):
    run = run_of(logs.both)
    with (logs.both / CSV_FILE).open() as stream:
        rows = [row for row in csv.DictReader(stream) if row[TEMPERATURE]]
    assert len(rows) == STEPS // WINDOW
    assert run.scalars[TEMPERATURE].steps.tolist() == [int(row["step"]) for row in rows]
    assert run.scalars[TEMPERATURE].values.tolist() == [float(row[TEMPERATURE]) for row in rows]
    assert any(name.startswith("events") for name in run.files)
    assert CSV_FILE in run.files


def test_a_table_older_than_the_event_files_does_not_overrule_them(tmp_path):
    (tmp_path / CSV_FILE).write_text(f"step,{TEMPERATURE}\n10,1.0\n20,2.0\n")
    os.utime(tmp_path / CSV_FILE, (100.0, 100.0))
    with SummaryWriter(tmp_path) as writer:
        writer.add_scalar(TEMPERATURE, 5.0, 20, walltime=200.0)
        writer.add_scalar(TEMPERATURE, 6.0, 30, walltime=201.0)
    assert run_of(tmp_path).scalars[TEMPERATURE].values.tolist() == [1.0, 5.0, 6.0]


def test_resumed_runs_are_merged_by_step(tmp_path):
    for start, walltime, suffix in ((0, 100.0, "first"), (20, 200.0, "second")):
        with SummaryWriter(tmp_path, filename_suffix=suffix) as writer:
            for step in range(start, start + 40, 10):
                writer.add_scalar(TEMPERATURE, walltime + step, step, walltime=walltime + step)
    run = run_of(tmp_path)
    assert run.scalars[TEMPERATURE].steps.tolist() == [0, 10, 20, 30, 40, 50]
    assert run.scalars[TEMPERATURE].values.tolist() == [100.0, 110.0, 220.0, 230.0, 240.0, 250.0]
    assert len(run.files) == 2


def test_the_prefix_of_a_logger_is_taken_off_all_tags(logs):
    run = run_of(logs.prefixed)
    assert {TEMPERATURE, "train_loss", "thermo_heat/net.0"} <= run.tags
    assert not any(tag.startswith("x-") for tag in run.tags)
    assert run.name == "run"


def test_a_prefix_of_one_logger_alone_makes_no_second_run(tmp_path):
    (tmp_path / CSV_FILE).write_text(f"step,{TEMPERATURE}\n10,1.0\n")
    with SummaryWriter(tmp_path) as writer:
        writer.add_scalar(f"a-b-{TEMPERATURE}", 2.0, 20)
        writer.add_scalar("unprefixed", 3.0, 20)
    run = run_of(tmp_path)
    assert run.scalars[TEMPERATURE].values.tolist() == [1.0, 2.0]


def test_loggers_with_several_prefixes_are_several_runs(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        for value, prefix in enumerate(("first-", "second-")):
            writer.add_scalar(f"{prefix}{TEMPERATURE}", float(value), 10)
    runs = read_runs(tmp_path, "run")
    assert {run.name: run.scalars[TEMPERATURE].last for run in runs} == {"run (first)": 0.0, "run (second)": 1.0}


@pytest.mark.parametrize(
    ("tag", "ours"),
    [
        ("thermo/temperature", True),
        ("thermo_work_efficiency/net.1", True),
        ("thermo_heat/a/b", True),
        ("thermometer/kitchen", False),
        ("my_thermo/temperature", False),
        ("x-thermo/temperature", False),
        ("thermo", False),
        ("val_loss", False),
    ],
)
def test_what_is_a_tag_of_the_monitors(tag, ours):
    assert is_ours(tag) is ours


def test_a_tag_that_only_ends_like_ours_is_no_prefix(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        writer.add_scalar("my_thermo/temperature", 1.0, 10)
        writer.add_scalar(TEMPERATURE, 2.0, 10)
    assert run_of(tmp_path).scalars[TEMPERATURE].last == 2.0


def test_settings_beside_a_run(logs):
    assert run_of(logs.both).hyperparameters == {"rate": "0.05"}


@pytest.mark.parametrize("content", ["!!python/object:os.system {}", "a: [", "", "- 1", "\x00"])
def test_settings_that_are_no_plain_values_are_left_out(tmp_path, content):
    (tmp_path / "hparams.yaml").write_text(content)
    (tmp_path / CSV_FILE).write_text("step,a\n1,2\n")
    assert run_of(tmp_path).hyperparameters == {}


@pytest.mark.parametrize("which", ["both", "prefixed", "table"])
def test_a_run_says_what_it_was(logs, which):
    run = run_of(getattr(logs, which))
    (configuration,) = run.configurations.all
    assert configuration["watched_layers"] == ["net.0", "net.2", "net.4"]
    assert (run.configurations.number("window"), run.configurations.number("batch_size")) == (WINDOW, BATCH)
    assert run.configurations.engine_types == {"net.1": "passive", "net.3": "passive"}
    assert not any("configuration" in tag for tag in run.tags)


def test_configurations_of_several_monitors_are_in_their_order():
    run = run_with({1: {TEMPERATURE: 1.0}})
    for number, window in (("_10", 7), ("", 0), ("_2", 9)):
        run.texts[f"thermo/run_configuration{number}"] = configuration_text({"window": window})
    run.texts["thermo/run_configuration_3"] = "{ cut o"
    assert [each["window"] for each in run.configurations.all] == [0, 9, 7]
    assert run.configurations.number("window") == 9
    assert run.configurations.number("batch_size") is None


def test_a_configuration_that_cannot_be_read_is_left_out(tmp_path):
    (tmp_path / CSV_FILE).write_text(f"step,{TEMPERATURE}\n10,1.0\n")
    (tmp_path / "thermo_run_configuration.json").mkdir()
    (tmp_path / "thermo_run_configuration_2.json").write_bytes(b'{"window": 7, "monitor": "\xff"}')
    assert [each["window"] for each in run_of(tmp_path).configurations.all] == [7]


def test_a_record_a_window_with_what_a_look_found_after_it():
    run = run_with(
        {
            5: {"thermo/laplacian": 1.0},
            10: {TEMPERATURE: 3.0},
            12: {"thermo/laplacian": 2.0},
            20: {TEMPERATURE: math.nan, "val_loss": 9.0},
            30: {"val_loss": 8.0},
        }
    )
    assert run.records()[0] == {TEMPERATURE: 3.0, "thermo/laplacian": 2.0}
    np.testing.assert_equal(run.records()[1:], [{TEMPERATURE: math.nan, "thermo/laplacian": 2.0}])
    assert run.record_steps == [10, 20]


def test_a_record_a_look_where_there_are_no_windows():
    run = run_with({5: {"thermo/work_efficiency": 0.5}, 9: {"thermo/work_efficiency": 0.25}})
    assert [record["thermo/work_efficiency"] for record in run.records()] == [0.5, 0.25]


def test_records_of_a_real_run_end_with_what_the_monitor_knew(logs):
    records = run_of(logs.table).records()
    assert len(records) == STEPS // WINDOW
    np.testing.assert_equal(records[-1], logs.latest["table"])


def test_layers_are_in_order_of_depth_and_tables_come_last():
    table = run_with({1: {f"thermo_heat/{name}": 0.0 for name in ("a.10", "a.2", "z")}}, files=[CSV_FILE])
    events = run_with({1: {f"thermo_heat/{name}": 0.0 for name in ("stem", "a.2", "a.10", "head")}})
    assert members_of([table, events], "thermo_heat") == ["stem", "a.2", "a.10", "z", "head"]
    assert members_of([table], "thermo_heat") == ["a.2", "a.10", "z"]


def test_names_sort_as_people_count():
    assert sorted(["v10", "v9", "a2b", "a2", "v"], key=natural) == ["a2", "a2b", "v", "v9", "v10"]


def test_the_run_is_the_one_described(logs):
    run = run_of(logs.both)
    assert run.measured
    assert run.members("thermo_temperature") == ["net.0", "net.2", "net.4"]
    assert "thermo/bulk_spectrum" in run.histograms
    assert BATCH == 16
