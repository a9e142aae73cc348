"""Folders of runs: which are found, how they are named, what is refused."""

from __future__ import annotations

import re
import shutil

import pytest
from torch.utils.tensorboard import SummaryWriter

from thermo_callbacks.commands.report.csv_file import CSV_FILE
from thermo_callbacks.commands.report.discovery import find_runs


def make(folder, tag="thermo/temperature"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CSV_FILE).write_text(f"step,{tag}\n9,1.0\n")
    return folder


def names(*folders):
    return [run.name for run in find_runs(folders)]


def test_runs_of_a_folder_at_any_depth(logs):
    assert names(logs.root) == ["fast", "slow", "table"]


def test_one_run_is_named_with_the_folder_above_it(logs):
    assert names(logs.both) == ["digits/slow"]


def test_names_tell_runs_apart_and_are_as_short_as_that(tmp_path):
    for place in ("a/run/version_0", "b/run/version_0", "b/run/version_10", "b/run/version_9"):
        make(tmp_path / place)
    assert names(tmp_path / "a", tmp_path / "b") == [
        "a/run/version_0",
        "b/run/version_0",
        "b/run/version_9",
        "b/run/version_10",
    ]
    assert names(tmp_path / "b") == ["version_0", "version_9", "version_10"]


def test_a_run_with_another_below_it(tmp_path):
    make(tmp_path / "outer")
    make(tmp_path / "outer" / "inner")
    assert names(tmp_path / "outer") == ["outer", "outer/inner"]


def test_the_order_given_stays_and_a_run_named_twice_counts_once(tmp_path):
    late, early = make(tmp_path / "late"), make(tmp_path / "early")
    assert names(late, early, tmp_path, late / ".." / "early") == ["late", "early"]


def test_logs_of_others_beside_a_run_are_left_out(tmp_path):
    make(tmp_path / "run")
    make(tmp_path / "other", tag="val_loss")
    with SummaryWriter(tmp_path / "run" / "hparams") as writer:
        writer.add_scalar("hp_metric", 1.0, 0)
    (tmp_path / "other" / CSV_FILE).write_text("")
    (run,) = find_runs([tmp_path])
    assert run.name == "run"
    assert run.notices == ["In other: metrics.csv is empty."]


def test_a_folder_given_by_a_link(tmp_path):
    make(tmp_path / "real" / "version_0")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert names(tmp_path / "link") == ["real/version_0"]


def refusal(*folders):
    with pytest.raises(ValueError, match="LOGDIR") as fault:
        find_runs(folders)
    return str(fault.value)


def test_a_folder_that_does_not_exist(tmp_path):
    assert refusal(tmp_path / "nowhere") == (
        f"LOGDIR must be the folder of a run, or one with runs below it, got '{tmp_path}/nowhere', which does not "
        "exist: give the folder that the logger writes to, for example lightning_logs"
    )


def test_a_file_in_place_of_a_folder(tmp_path):
    make(tmp_path / "run")
    assert refusal(tmp_path / "run" / CSV_FILE) == (
        f"LOGDIR must be a folder, got '{tmp_path}/run/metrics.csv', which is a file: give '{tmp_path}/run'"
    )


def test_a_folder_with_nothing_in_it(tmp_path):
    make(tmp_path / "run")
    (tmp_path / "empty" / "below").mkdir(parents=True)
    # one good folder does not excuse the other, which was named
    assert refusal(tmp_path / "run", tmp_path / "empty") == (
        f"LOGDIR '{tmp_path}/empty' holds no run: there is neither an event file (events.out.tfevents...) nor "
        "metrics.csv in it or below it: give the folder that TensorBoardLogger or CSVLogger writes to, for example "
        "lightning_logs"
    )


def test_runs_of_weights_and_biases_alone(tmp_path):
    folder = tmp_path / "wandb" / "offline-run-20260101_000000-abc"
    folder.mkdir(parents=True)
    (folder / "run-abc.wandb").write_bytes(b":W&B")
    assert refusal(tmp_path) == (
        f"LOGDIR '{tmp_path}' holds runs of Weights & Biases alone, whose files can't be read here: log with CSVLogger "
        "beside it, Trainer(logger=[WandbLogger(...), CSVLogger(...)])"
    )
    make(tmp_path / "table")
    assert names(tmp_path) == [f"{tmp_path.name}/table"]


def test_logs_without_values_of_a_monitor(tmp_path):
    make(tmp_path / "run", tag="val_loss")
    assert refusal(tmp_path) == (
        f"LOGDIR '{tmp_path}' holds logs without any value of a monitor (thermo/...): train with "
        "Trainer(callbacks=[ThermoMonitor()]), and let one window of steps go by"
    )


def test_logs_of_which_nothing_can_be_read_are_named(tmp_path, logs):
    shutil.copytree(logs.prefixed, tmp_path / "run")
    (path,) = (tmp_path / "run").glob("*tfevents*")
    path.write_bytes(b"\x07" * 100)
    message = refusal(tmp_path)
    assert re.search(r"holds no values that can be read: events\S+ is cut off or damaged after 0 records", message)
    assert message.endswith("Give another run's folder")
