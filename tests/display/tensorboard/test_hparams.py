"""The table of hyperparameters as TensorBoard itself reads it back from event files."""

from __future__ import annotations

import pytest
from tensorboard.plugins.hparams import metadata
from tensorboard_page import plugin_of, table_of
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from thermo_callbacks.display import PrefixedWriter
from thermo_callbacks.display.tensorboard.hparams import FINAL_VALUES, write_columns

TAGS = ["thermo/temperature", "thermo/equilibrium_ratio"]


def test_run_without_hyperparameters_has_a_row_of_final_values(tmp_path):
    with SummaryWriter(tmp_path / "run") as writer:
        write_columns([PrefixedWriter(writer)], TAGS)
        for step, value in enumerate([3.0, 2.0, 0.5]):
            writer.add_scalar("thermo/temperature", value, step)
    hyperparameters, metrics, rows = table_of(tmp_path)
    assert (hyperparameters, metrics) == ([], TAGS)
    assert rows == {"run": ({}, {"thermo/temperature": 0.5})}


def test_row_of_hyperparameters_is_left_to_who_writes_them(tmp_path):
    theirs = {"rate": 0.5, "name": "adam", "nesterov": True}
    with SummaryWriter(tmp_path / "run") as writer:
        write_columns([PrefixedWriter(writer)], TAGS, theirs, ["hp_metric"])
        assert_no_row_before_theirs(tmp_path, writer)
        for entry in hparams(theirs, {"hp_metric": -1}):
            writer._get_file_writer().add_summary(entry)
        writer.add_scalar("hp_metric", 7.0, 0)
        writer.add_scalar("thermo/temperature", 2.0, 0)
    hyperparameters, metrics, rows = table_of(tmp_path)
    assert sorted(hyperparameters) == sorted(theirs)
    assert metrics == ["hp_metric", *TAGS]
    assert rows == {"run": (theirs, {"hp_metric": 7.0, "thermo/temperature": 2.0})}


def assert_no_row_before_theirs(folder, writer):
    writer.flush()
    assert table_of(folder)[2] == {}


def test_who_asks_first_keeps_the_columns(tmp_path):
    with SummaryWriter(tmp_path / "run") as writer:
        for entry in hparams({"rate": 0.5}, {"accuracy": 0.0}):
            writer._get_file_writer().add_summary(entry)
        writer.add_scalar("accuracy", 0.75, 0)
        write_columns([PrefixedWriter(writer)], TAGS)
    assert table_of(tmp_path) == (["rate"], ["accuracy"], {"run": ({"rate": 0.5}, {"accuracy": 0.75})})


def test_prefix_of_a_logger_is_in_the_tags_and_not_in_the_heads(tmp_path):
    with SummaryWriter(tmp_path / "run") as writer:
        write_columns([PrefixedWriter(writer, "p-")], TAGS, {}, ["hp_metric"])
    assert table_of(tmp_path)[1] == ["p-hp_metric", "p-thermo/temperature", "p-thermo/equilibrium_ratio"]
    multiplexer = plugin_of(tmp_path)._data_provider._multiplexer
    content = multiplexer.SummaryMetadata("run", metadata.EXPERIMENT_TAG).plugin_data.content
    heads = [info.display_name for info in metadata.parse_experiment_plugin_data(content).metric_infos]
    assert heads == ["", "temperature", "equilibrium ratio"]


def test_writers_that_are_not_pytorchs_are_left_out():
    class Other:
        def _get_file_writer(self):
            raise AssertionError("it was written to")

    write_columns([PrefixedWriter(Other())], TAGS)


@pytest.mark.parametrize("tag", FINAL_VALUES)
def test_final_values_are_of_the_whole_run(tag):
    assert tag.startswith("thermo/")
