"""The subcommand: what it prints, what it refuses, and what it leaves behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from thermo_callbacks.callbacks.output.publisher import Publisher
from thermo_callbacks.commands.cli import main
from thermo_callbacks.commands.compare import data
from thermo_callbacks.commands.compare.classifier import Classifier
from thermo_callbacks.commands.compare.settings import INPUTS, SIZES, CompareSettings
from thermo_callbacks.comparison import ComparisonResult, run
from thermo_callbacks.comparison.ownership import held

TINY = ["--data", "digits", "--depth", "2", "--width", "8", "--max-epochs", "1", "--seeds", "1", "--jobs", "1"]


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    monkeypatch.setattr(Publisher, "draw", lambda *_: None)  # figures take longer to draw than the runs to make
    monkeypatch.setattr(ComparisonResult, "figure", lambda _: Figure())
    monkeypatch.setenv("COLUMNS", "80")


def compare(directory, *arguments):
    return main(["compare", *TINY, "--directory", str(directory), *arguments])


def made(directory):
    return {path.parent.name: path.stat().st_mtime_ns for path in directory.glob("runs/*/result.json")}


def test_course_of_a_comparison(tmp_path, capsys):
    assert compare(tmp_path / "with space", "--activations", "relu", "Tanh") == 0
    text, errors = capsys.readouterr()
    assert errors == ""
    lines = [line for line in text.splitlines() if "/" not in line]
    assert max(map(len, lines)) <= 80
    words = " ".join(text.split())
    assert words.startswith(
        "Training mlp (depth 2, width 8) on digits with each of 2 activations and 1 seed: 23 steps of Adam at a "
        "learning rate of 0.001, 64 inputs a step."
    )
    assert re.search(r"ReLU, seed 0: validation loss \d\.\d+, accuracy \d+\.\d %", words)
    for title in ("What training came to", "Heat engines", "Temperatures and entropy", "Power ratio (work efficiency)"):
        assert title in words
    assert "What this says: Lowest validation loss: " in words
    assert f"tensorboard --logdir '{tmp_path}/with space/runs'" in words
    for name in re.findall(r"\b(\w+\.(?:png|md|csv))", words):
        assert (tmp_path / "with space" / name).exists()
    assert len(re.findall(r"\b\w+\.(?:png|md|csv)", words)) == 4


def test_second_call_reads_and_never_begins_afresh(tmp_path, capsys):
    assert compare(tmp_path, "--activations", "ReLU") == 0
    first = made(tmp_path)
    table = (tmp_path / "summary.csv").read_text()
    assert compare(tmp_path, "--activations", "ReLU") == 0
    assert made(tmp_path) == first
    assert (tmp_path / "summary.csv").read_text() == table
    assert "1 of 1 runs were made before and are read." in capsys.readouterr().out
    assert compare(tmp_path, "--activations", "ReLU", "--resume", "never") == 0
    assert made(tmp_path) != first


def test_other_settings_are_refused_with_the_cure(tmp_path, capsys):
    compare(tmp_path, "--activations", "ReLU")
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        compare(tmp_path, "--activations", "ReLU", "--lr", "0.5")
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "holds the run ReLU-0 of other settings: " in message
    assert message.endswith("; give another directory, or delete that one\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--activations", "Relo"], "activations holds 'Relo', which is no activation of torch.nn: did you mean ReLU"),
        (["--activations", "ReLU", "relu"], "activations must have different names, got ReLU more than once"),
        (["--data", "cifar"], "--data: invalid choice: 'cifar' (choose from 'mnist', 'digits', 'mnist1d')"),
        (["--model", "gru"], "--model: invalid choice: 'gru' (choose from 'mlp', 'cnn', 'resnet', 'transformer')"),
        (["--seeds", "0"], "--seeds: give a whole number from 1 to 1000, not '0'"),
        (["--max-epochs", "9" * 20], "--max-epochs: give a whole number from 1 to 1000000, not"),
        (["--directory", ""], "--directory: give the name of a folder"),
        (["--width", "100000"], "--width: give a whole number from 1 to 16384, not"),
        (["--lr", "0"], "--lr: give a number above 0 such as 0.01, not '0'"),
        (["--batch-size", "1437", "--max-epochs", "2"], "--batch-size 1437 with --max-epochs 2 makes too few"),
        (["--model", "transformer", "--width", "6"], "--width 6 does not fit the transformer"),
    ],
)
def test_bad_values_are_refused_in_one_line(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run, "execute", None)
    with pytest.raises(SystemExit) as end:
        compare(tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"thermo-callbacks: error: {message}")
    assert error.count("\n") == 1


def test_wrong_name_deletes_nothing(tmp_path):
    compare(tmp_path, "--activations", "ReLU")
    before = made(tmp_path)
    with pytest.raises(SystemExit):
        compare(tmp_path, "--activations", "Rely", "--resume", "never")
    assert made(tmp_path) == before


def test_directory_that_is_a_file_is_refused(tmp_path, capsys):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit):
        compare(tmp_path / "file")
    assert "--directory must be a folder" in capsys.readouterr().err


@pytest.mark.parametrize("resume", ["auto", "never"])
def test_a_project_with_files_of_its_own_is_refused_and_left_as_it_is(resume, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "execute", None)
    for name in ("runs/exp7/weights.pt", "runs/ReLU-0/weights.pt", "summary.csv", "report.md", "figure.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("weeks of work")
    for stranger in ("runs/ReLU-0", "summary.csv", "report.md", "figure.png"):
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        with pytest.raises(SystemExit) as end:
            compare(".", "--activations", "ReLU", "--resume", resume)
        assert end.value.code == 2
        error = capsys.readouterr().err
        assert f"directory '.' holds {stranger}, " in error or f"{str(tmp_path)!r} holds {stranger}, " in error
        assert error.endswith("give another directory, or move that away\n")
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
        (tmp_path / stranger).rename(tmp_path / f"moved-{Path(stranger).name}")


def test_what_others_put_beside_a_comparison_outlives_it(tmp_path):
    mine = tmp_path / "runs" / "exp7" / "weights.pt"
    mine.parent.mkdir(parents=True)
    mine.write_text("weeks of work")
    for resume in ("auto", "never", "never"):
        assert compare(tmp_path, "--activations", "ReLU", "--resume", resume) == 0
    assert mine.read_text() == "weeks of work"


@pytest.mark.parametrize("resume", ["auto", "never"])
def test_a_second_comparison_in_one_directory_is_told(resume, tmp_path, capsys):
    with held(tmp_path, []), pytest.raises(SystemExit) as end:
        compare(tmp_path, "--activations", "ReLU", "--resume", resume)
    assert end.value.code == 2
    assert "is in use by another comparison: wait for its end, or give another directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "--directory: give the name of a folder, . for the one that you are in, not ''"),
        ("x" * 300, "--directory has a name of 300 signs, longer than this file system takes: give a shorter one"),
    ],
    ids=["empty", "too long"],
)
def test_directory_without_a_name_or_with_one_too_long_is_refused(name, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        compare(name)
    assert end.value.code == 2
    assert capsys.readouterr().err == f"thermo-callbacks: error: {message}\n"
    assert not list(tmp_path.iterdir())


def test_sigterm_ends_with_the_status_of_it_and_nothing_is_taken_for_finished(tmp_path, monkeypatch):
    def terminate(self, batch, batch_idx):
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the training went on")

    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "training_step", terminate)
        with pytest.raises(SystemExit) as end:
            compare(tmp_path, "--activations", "ReLU")
    assert end.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
    assert made(tmp_path) == {}
    assert compare(tmp_path, "--activations", "ReLU") == 0


def test_missing_package_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(data, "find_spec", lambda _: None)
    with pytest.raises(SystemExit):
        compare(tmp_path)
    assert 'scikit-learn, and it is not installed: run pip install "thermo-callbacks[demo]"' in capsys.readouterr().err


def test_interrupt_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    def press(self, batch, batch_idx):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "training_step", press)
        assert compare(tmp_path, "--activations", "ReLU") == 130
    assert "The same command goes on with the runs that are finished." in capsys.readouterr().out
    assert made(tmp_path) == {}
    assert compare(tmp_path, "--activations", "ReLU") == 0


def test_no_finished_run_is_a_failure(tmp_path, capsys, monkeypatch):
    def fail(self, batch, batch_idx):
        raise RuntimeError("no such luck")

    monkeypatch.setattr(Classifier, "training_step", fail)
    assert compare(tmp_path, "--activations", "ReLU") == 1
    text = " ".join(capsys.readouterr().out.split())
    assert "ReLU, seed 0: failed, RuntimeError: no such luck" in text
    assert "No run finished with a validation loss" in text


@pytest.mark.parametrize("model", [name for name in SIZES if name != "mlp"])
def test_each_model_is_trained_and_measured(model, tmp_path):
    assert compare(tmp_path, "--activations", "GELU", "--model", model, "--data", "digits") == 0
    header, row = (line.split(",") for line in (tmp_path / "runs.csv").read_text().splitlines())
    values = dict(zip(header, row, strict=True))
    assert values["status"] == "finished"
    depth = 4 if model == "resnet" else 2
    for key in ("laplacian", "temperature", f"work_efficiency_{depth}", f"learning_efficiency_{depth}"):
        assert values[key], key
    assert f"work_efficiency_{depth + 1}" not in values


def test_help_names_each_option_with_its_default(capsys):
    with pytest.raises(SystemExit) as end:
        main(["compare", "--help"])
    assert end.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    default = CompareSettings()
    for option in ("data", "model", "seeds", "max_epochs", "lr", "batch_size"):
        explanation = text.partition(" options: ")[2].partition(f"--{option.replace('_', '-')} ")[2]
        assert f"default: {getattr(default, option)}" in explanation.partition(" --")[0], option
    assert all(name in text for name in (*INPUTS, *SIZES, *default.activations))
    assert all(f"{name}: {depth} and {width}" in text for name, (depth, width) in SIZES.items())


def test_program_answers_before_anything_slow_is_imported():
    code = (
        "import sys; from thermo_callbacks.commands.cli import main\n"
        "try: main(['compare', '--seeds', '0'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'lightning', 'joblib', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
