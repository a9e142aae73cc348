"""Comparisons from end to end, tiny."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import joblib
import pytest
import torch
from comparison_models import Data, Explosive, Faulty, Net, PlainNet, loaders
from matplotlib.figure import Figure
from torch import nn

import thermo_callbacks
from thermo_callbacks import comparison
from thermo_callbacks.callbacks import ThermoMonitor
from thermo_callbacks.callbacks.output.publisher import Publisher
from thermo_callbacks.comparison import ComparisonResult, compare, compare_activations, run
from thermo_callbacks.comparison.recording import PathRecorder

with warnings.catch_warnings():  # of the parts that TensorBoard brings along
    warnings.simplefilter("ignore", DeprecationWarning)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

pytestmark = pytest.mark.filterwarnings("ignore:no value")  # what so short a run has no value of
SHORT = {"max_epochs": 2, "accelerator": "cpu"}
MONITOR = ThermoMonitor(window=8, steps_between_windows=0, curvature_every_n_steps=8)


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Figures take longer to draw than the runs to make."""
    monkeypatch.setattr(Publisher, "draw", lambda *_: None)
    monkeypatch.setattr(ComparisonResult, "figure", lambda _: Figure())


def go(directory, activations=("ReLU", "Tanh"), make=Net, data=None, **arguments):
    kwargs = {**SHORT, "callbacks": [MONITOR], **arguments.pop("trainer_kwargs", {})}
    return compare_activations(
        make,
        activations,
        loaders() if data is None else data,
        directory=directory,
        trainer_kwargs=kwargs,
        **{"seeds": 2, **arguments},
    )


def without_time(result):
    rows = []
    for record in result.records:
        values = {key: repr(value) for key, value in record.values.items() if key != "seconds"}
        rows.append(
            (
                record.name,
                record.engine,
                record.status,
                record.message,
                values,
                *map(repr, (list(record.work_efficiency), list(record.learning_efficiency), list(record.path))),
            )
        )
    return rows


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return go(tmp_path_factory.mktemp("whole"))


def test_each_activation_has_a_run_with_each_seed(whole):
    assert [record.name for record in whole.records] == ["ReLU-0", "ReLU-1", "Tanh-0", "Tanh-1"]
    assert {record.status for record in whole.records} == {"finished"}
    for record in whole.records:
        assert record.values["val_loss_best"] <= record.values["val_loss_final"] < math.log(3)
        assert 0.0 <= record.values["accuracy"] <= 1.0
        assert record.values["temperature"] > 0.0
        assert record.values["seconds"] > 0.0


def test_monitor_values_are_taken_over(whole):
    record = whole.records[0]
    assert [name for name, _ in record.work_efficiency] == ["activation", "activation#2"]
    assert all(0.0 < value < 1.0 for _, value in (*record.work_efficiency, *record.learning_efficiency))
    for key in ("work_efficiency", "entropy", "entropy_destruction", "laplacian", "transition_temperature"):
        assert math.isfinite(record.values[key]), key
    steps = [point.step for point in record.path]
    assert len(steps) == 6
    assert steps == sorted(set(steps))
    assert record.path[-1].entropy == record.values["entropy"]
    assert record.path[-1].temperature == record.values["temperature"]


def test_files_hold_the_result(whole):
    files = {path.name for path in whole.directory.iterdir() if not path.name.startswith(".")}
    assert files == {"runs", "runs.csv", "summary.csv", "report.md", "figure.png"}
    rows = (whole.directory / "runs.csv").read_text().splitlines()
    assert [row.split(",")[:2] for row in rows[1:]] == [["ReLU", "0"], ["ReLU", "1"], ["Tanh", "0"], ["Tanh", "1"]]
    assert "Lowest validation loss" in (whole.directory / "report.md").read_text()
    assert (whole.directory / "figure.png").stat().st_size > 10_000


def test_hyperparameters_are_written_once_a_run_with_the_results(whole):
    for record in whole.records:
        accumulator = EventAccumulator(str(whole.directory / "runs" / record.name))
        accumulator.Reload()
        metadata = accumulator.SummaryMetadata("_hparams_/session_start_info")
        content = plugin_data_pb2.HParamsPluginData.FromString(metadata.plugin_data.content)
        params = dict(content.session_start_info.hparams.items())
        assert params["activation"].string_value == record.activation
        assert params["seed"].number_value == record.seed
        assert params["lr"].number_value == 0.2
        assert params["activation_layers"].number_value == 2
        (loss,) = accumulator.Scalars("comparison/val_loss_best")
        assert loss.value == pytest.approx(record.values["val_loss_best"])
        assert "hp_metric" not in accumulator.Tags()["scalars"]
        assert len(accumulator.Scalars("thermo/temperature")) == 6


class Drawing(nn.Identity):
    """Draws numbers when it is built."""

    def __init__(self):
        super().__init__()
        torch.rand(7)


class Dropping(Net):
    """Draws numbers in training, and when it is built with one of the activations."""

    def __init__(self, activation):
        super().__init__(activation)
        self.dropout = nn.Dropout(0.3)
        if isinstance(activation, Drawing):
            torch.rand(3)

    def forward(self, inputs):
        return super().forward(self.dropout(inputs))


def test_what_building_draws_changes_nothing_else(tmp_path):
    plain, drawing = go(tmp_path, [nn.Identity, Drawing], make=Dropping, seeds=1).records
    assert plain.values["val_loss_final"] == drawing.values["val_loss_final"]
    assert plain.path == drawing.path


class OwnReLU(nn.ReLU):
    pass


def gate(z):
    return z * torch.sigmoid(z)


def test_efficiency_of_a_part_is_not_taken_for_that_of_the_activation(tmp_path):
    own, gated = go(tmp_path, [OwnReLU, gate], seeds=1).records
    assert own.values["work_efficiency"] > 0.0
    assert len(own.work_efficiency) == len(own.learning_efficiency) == 2
    assert "work_efficiency" not in gated.values
    assert not gated.work_efficiency
    assert not gated.learning_efficiency
    assert gated.engine == "passive"
    assert gated.values["laplacian"] != 0.0


def test_runs_of_a_seed_begin_alike_and_see_the_data_in_one_order(tmp_path):
    result = go(tmp_path, {"plain": nn.Identity(), "random": nn.RReLU(1.0, 1.0)})  # the second draws, and does the same
    first, second = ([(r.values["val_loss_final"], r.path) for r in result.records[i : i + 2]] for i in (0, 2))
    assert first == second
    assert first[0] != first[1]


def test_nothing_is_left_changed(tmp_path):
    data = loaders()
    torch.manual_seed(3)
    before = torch.get_rng_state(), os.environ.get("PL_GLOBAL_SEED"), signal.getsignal(signal.SIGINT)
    go(tmp_path, ["ReLU"], data=data, seeds=1)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (os.environ.get("PL_GLOBAL_SEED"), signal.getsignal(signal.SIGINT)) == before[1:]
    assert data[0].generator is None
    assert data[0].sampler.generator is None


@pytest.mark.parametrize("data", [Data(), loaders(torch.Generator())], ids=["module", "own generator"])
def test_data_in_any_form_gives_the_same_runs(data, whole, tmp_path):
    assert without_time(go(tmp_path, data=data, seeds=[1])) == without_time(whole)[1::2]


def test_replacement_gives_what_building_with_the_activation_gives(whole, tmp_path):
    assert without_time(go(tmp_path, make=PlainNet, seeds=[1])) == without_time(whole)[1::2]


@pytest.mark.slow
def test_processes_give_what_one_process_gives(whole, tmp_path, capfd):
    assert without_time(go(tmp_path, jobs=2)) == without_time(whole)
    assert "4/4" in capfd.readouterr().out


def test_threads_take_turns(whole, tmp_path):
    with joblib.parallel_config(backend="threading", n_jobs=3):
        assert without_time(go(tmp_path)) == without_time(whole)


class ElsewhereBackend(joblib.parallel.SequentialBackend):
    """Stands for one that gives all results at the end, and writes where this process can't style."""

    supports_return_generator = False


def test_backend_that_gives_a_list_somewhere_else(whole, tmp_path, monkeypatch):
    joblib.register_parallel_backend("elsewhere", ElsewhereBackend)
    monkeypatch.setattr(run, "write_run", lambda folder, stored: None)
    with joblib.parallel_config(backend="elsewhere"):
        result = go(tmp_path, seeds=[1])
    assert without_time(result) == without_time(whole)[1::2]
    monkeypatch.undo()
    assert go(tmp_path, seeds=[1]).records == result.records
    assert (tmp_path / "runs" / "Tanh-1" / "result.json").exists()


def test_finished_runs_are_read_and_not_repeated(whole, tmp_path, monkeypatch, capsys):
    go(tmp_path, ["ReLU"])
    made = []
    monkeypatch.setattr(compare, "execute", lambda job: made.append(job.name) or run.execute(job))
    result = go(tmp_path)
    assert made == ["Tanh-0", "Tanh-1"]
    assert without_time(result) == without_time(whole)
    assert "2 of 4 runs were made before and are read." in capsys.readouterr().out
    again = go(tmp_path)
    assert again.records == result.records
    assert made == ["Tanh-0", "Tanh-1"]


class Pressed(Net):
    """Presses Ctrl-C in the middle of a run."""

    def training_step(self, batch, batch_idx):
        if self.global_step == 30 and isinstance(self.activation, nn.Tanh) and not Path("go on").exists():
            raise KeyboardInterrupt
        return super().training_step(batch, batch_idx)


def test_interrupted_comparison_goes_on_to_the_same_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        go("interrupted", make=Pressed, seeds=1)
    assert [path.parent.name for path in Path("interrupted").glob("runs/*/result.json")] == ["ReLU-0"]
    assert not Path("interrupted/runs.csv").exists()
    Path("go on").touch()
    resumed, whole = go("interrupted", make=Pressed, seeds=1), go("whole", make=Pressed, seeds=1)
    assert without_time(resumed) == without_time(whole)
    (folder,) = Path("interrupted/runs").glob("Tanh-0")
    assert len(list(folder.glob("events*"))) == len(list(Path("whole/runs/Tanh-0").glob("events*")))


def test_failing_and_diverging_activations_have_rows_that_say_so(tmp_path):
    result = go(tmp_path, ["ReLU", Explosive, Faulty], seeds=1)
    relu, explosive, faulty = result.records
    assert relu.status == "finished"
    assert (explosive.status, explosive.message) == ("diverged", "the training loss was not finite from batch 11 on")
    assert (faulty.status, faulty.message) == ("failed", "RuntimeError: no such luck")
    assert "no such luck\nand more" in (tmp_path / "runs" / "Faulty-0" / "error.txt").read_text()
    assert [each.outcome for each in result.summaries()] == ["1", "0, 1 diverged", "0, 1 failed"]
    report = (tmp_path / "report.md").read_text()
    assert "Explosive, seed 0, diverged: the training loss was not finite from batch 11 on." in report
    assert "Faulty, seed 0, failed: RuntimeError: no such luck." in report


class Recovered(nn.Module):
    """Fails until a file is there."""

    def forward(self, input):
        if not Path("recovered").exists():
            raise RuntimeError("not yet")
        return input.relu()


def test_failed_runs_are_tried_again_and_diverged_ones_are_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    go("out", [Explosive, Recovered], seeds=1)
    Path("recovered").touch()
    made = []
    monkeypatch.setattr(compare, "execute", lambda job: made.append(job.name) or run.execute(job))
    result = go("out", [Explosive, Recovered], seeds=1)
    assert made == ["Recovered-0"]
    assert [record.status for record in result.records] == ["diverged", "finished"]


class BadValidation(Net):
    def validation_step(self, batch, batch_idx):
        self.log("val_loss", torch.tensor(math.nan) if self.current_epoch else torch.tensor(1.0))


def test_validation_loss_that_is_not_finite_is_divergence(tmp_path):
    (record,) = go(tmp_path, ["ReLU"], make=BadValidation, seeds=1).records
    assert (record.status, record.message) == ("diverged", "the validation loss was nan after step 48")
    assert record.values["val_loss_best"] == 1.0


class Mute(Net):
    def validation_step(self, batch, batch_idx):
        self.log("error", self(batch[0]).square().mean())


def test_module_that_logs_no_loss_is_told_so(tmp_path):
    (record,) = go(tmp_path, ["ReLU"], make=Mute, seeds=1).records
    assert record.status == "failed"
    assert "logged no 'val_loss' in validation, but error: log it there, or name what is logged" in record.message
    (record,) = go(tmp_path, ["ReLU"], make=Mute, seeds=1, metrics=["error"]).records
    assert record.status == "finished"
    assert "accuracy" not in record.values


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trainer_kwargs": {"max_epochs": 3}}, r"trainer_kwargs was .*'max_epochs': 2.* and is .*'max_epochs': 3"),
        ({"make": lambda activation: Net(activation, lr=0.3)}, "hyperparameters was .*'lr': 0.2.* and is .*'lr': 0.3"),
        ({"data": Data(8)}, "holds the run ReLU-0 of other settings: data was"),
        ({"activations": {"ReLU": nn.ReLU6()}}, "activation was ReLU.* and is ReLU6"),
        ({"metrics": ["val_loss"]}, "metrics was"),
    ],
)
def test_other_settings_are_refused(changes, message, whole):
    before = {path: path.read_bytes() for path in whole.directory.rglob("result.json")}
    with pytest.raises(ValueError, match=message) as refusal:
        go(whole.directory, **changes)
    assert str(refusal.value).endswith("; give another directory, or delete that one")
    assert {path: path.read_bytes() for path in whole.directory.rglob("result.json")} == before


def test_more_seeds_and_activations_are_added(whole, tmp_path):
    go(tmp_path, ["Tanh"], seeds=[1])
    result = go(tmp_path, seeds=(1, 0))
    assert [record.name for record in result.records] == ["ReLU-1", "ReLU-0", "Tanh-1", "Tanh-0"]
    assert sorted(without_time(result), key=str) == sorted(without_time(whole), key=str)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        (
            {"trainer_kwargs": {"logger": True}},
            ValueError,
            "trainer_kwargs may not hold 'logger': each run has a logger",
        ),
        ({"data": loaders()[0]}, TypeError, "data must be a LightningDataModule, or a pair of loaders"),
        ({"metrics": "val_loss"}, ValueError, "metrics must name validation loss and accuracy, as in"),
        ({"metrics": ()}, ValueError, r"metrics must name .*, got \(\)"),
        ({"seeds": 0}, ValueError, "seeds must be a number from 1 to 10,000, or different seeds .*, got 0"),
        ({"seeds": [1, 1]}, ValueError, r"seeds must .*, got \[1, 1\]"),
        ({"seeds": [-1]}, ValueError, r"seeds must .*, got \[-1\]"),
        ({"activations": ["Rellu"]}, ValueError, "did you mean .*ReLU"),
    ],
)
def test_arguments_are_checked_before_anything_is_written(changes, kind, message, tmp_path):
    with pytest.raises(kind, match=message):
        go(tmp_path / "out", **changes)
    assert not (tmp_path / "out").exists()


def test_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = compare_activations(PlainNet, [nn.ReLU], loaders())
    assert [record.seed for record in result.records] == [0, 1, 2]
    assert result.directory == tmp_path / "comparison"
    settings = json.loads((tmp_path / "comparison" / "runs" / "ReLU-0" / "result.json").read_text())["settings"]
    assert settings["trainer_kwargs"] == "{'max_epochs': 10}"


def test_public_names():
    assert thermo_callbacks.compare_activations is comparison.compare_activations is compare_activations
    assert comparison.ComparisonResult is ComparisonResult
    with pytest.raises(AttributeError, match="it offers ComparisonResult, compare_activations"):
        _ = comparison.result_of


class Latest:
    def __init__(self, *records):
        self.records = iter(records)

    def latest(self):
        return next(self.records)


def test_path_has_a_point_for_each_new_pair_of_finite_values():
    tags = ("thermo/entropy", "thermo/temperature")
    pairs = [(math.nan, 1.0), (-2.0, 1.0), (-2.0, 1.0), (-3.0, 1.0), (-3.0, math.inf), (-2.0, 1.0)]
    recorder = PathRecorder(Latest({}, *(dict(zip(tags, pair, strict=True)) for pair in pairs)))
    for step in range(7):
        recorder.on_train_batch_end(type("Trainer", (), {"global_step": step}))
    assert [tuple(point) for point in recorder.points] == [(2, -2.0, 1.0), (4, -3.0, 1.0), (6, -2.0, 1.0)]


SCRIPT = """
import sys, warnings
warnings.simplefilter("ignore")
from comparison_models import *
from thermo_callbacks.comparison import compare_activations
if __name__ == "__main__":
    compare_activations(Net, ["ReLU", "Tanh", "GELU"], loaders(), seeds=2, jobs=2, directory=sys.argv[1],
                        trainer_kwargs={"max_epochs": 20, "accelerator": "cpu"})
"""


def start(directory, script):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, str(script), str(directory)], env=environment, stdout=subprocess.DEVNULL)


def workers_of(process):
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in children]


def command_of(process):
    path = Path(f"/proc/{process}/cmdline")
    return path.read_text() if path.exists() else ""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for the worker processes in /proc")
def test_killed_comparison_goes_on_to_the_same_table_and_leaves_no_workers(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    killed = start(tmp_path / "killed", script)
    deadline = time.monotonic() + 120
    while not (done := list((tmp_path / "killed").glob("runs/*/result.json"))):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    workers = workers_of(killed)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert len(done) < 6
    time.sleep(3.0)
    still_there = [worker for worker in workers if "LokyProcess" in command_of(worker)]
    assert len(workers) >= 2
    assert not still_there
    assert not (tmp_path / "killed" / "runs.csv").exists()
    assert start(tmp_path / "killed", script).wait(timeout=300) == 0
    assert start(tmp_path / "whole", script).wait(timeout=300) == 0
    tables = []
    for name in ("killed", "whole"):
        rows = [line.split(",") for line in (tmp_path / name / "runs.csv").read_text().splitlines()]
        place = rows[0].index("seconds")
        tables.append([row[:place] + row[place + 1 :] for row in rows])
    assert tables[0] == tables[1]
    assert len(tables[0]) == 7
