"""What a comparison replaces is what it made; all else is refused, before training."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from comparison_models import Net, loaders

from thermo_callbacks import compare_activations
from thermo_callbacks.comparison.ownership import clear_run, forget_runs, held, is_own_run, mark
from thermo_callbacks.comparison.records import RunRecord
from thermo_callbacks.comparison.storage import StoredRun, run_folder, write_run
from thermo_callbacks.comparison.written_files import FILES, claim, write_files

RECORD = StoredRun({}, RunRecord(activation="ReLU", seed=0))


def refusal(directory: Path, stranger: str) -> str:
    return (
        f"^directory {re.escape(repr(str(directory)))} holds {re.escape(stranger)}, which no comparison made and this "
        "one would replace: give another directory, or move that away$"
    )


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_somebody_else_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=refusal(tmp_path, name)), held(tmp_path, ["ReLU-0"]):
        raise AssertionError
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("marked", [False, True], ids=["first time", "again"])
@pytest.mark.parametrize("content", ["notes.txt", "result.json"])
def test_a_folder_of_somebody_else_is_refused(content: str, marked: bool, tmp_path: Path) -> None:
    if marked:
        claim(tmp_path)
    folder = run_folder(tmp_path, "ReLU-0")
    folder.mkdir(parents=True)
    (folder / content).write_text('{"accuracy": 1.0}')
    with pytest.raises(ValueError, match=refusal(tmp_path, "runs/ReLU-0")), held(tmp_path, ["Tanh-0", "ReLU-0"]):
        raise AssertionError
    forget_runs(tmp_path)
    assert (folder / content).read_text() == '{"accuracy": 1.0}'


def test_what_a_comparison_made_is_its_own(tmp_path: Path) -> None:
    run_folder(tmp_path, "ReLU-0").mkdir(parents=True)  # nothing is lost with an empty folder
    with held(tmp_path, ["ReLU-0"]):
        mark(run_folder(tmp_path, "ReLU-0"))
        write_files(tmp_path, {"report.md": b"ours"})
    with held(tmp_path, ["ReLU-0"]):
        pass


def test_a_comparison_from_before_the_marker_is_its_own(tmp_path: Path) -> None:
    write_run(run_folder(tmp_path, "ReLU-0"), RECORD)
    with held(tmp_path, ["ReLU-0"]):
        assert is_own_run(run_folder(tmp_path, "ReLU-0"))


def test_a_folder_that_holds_the_result_of_another_run_is_not_a_run(tmp_path: Path) -> None:
    write_run(run_folder(tmp_path, "exp7"), RECORD)  # somebody keeps a copy of a result beside his own files
    (run_folder(tmp_path, "exp7") / "weights.pt").write_text("weeks of work")
    forget_runs(tmp_path)
    assert (run_folder(tmp_path, "exp7") / "weights.pt").read_text() == "weeks of work"


@pytest.mark.parametrize("kind", ["runs is a file", "report.md is a folder", "a run is a link"])
def test_what_can_not_be_written_over_is_refused_before_training(kind: str, tmp_path: Path) -> None:
    directory = tmp_path / "out"
    claim(directory)
    if kind == "runs is a file":
        (directory / "runs").write_text("mine")
        stranger = "runs"
    elif kind == "report.md is a folder":
        (directory / "report.md").mkdir()
        stranger = "report.md"
    else:
        mark(tmp_path / "elsewhere")
        (directory / "runs").mkdir()
        run_folder(directory, "ReLU-0").symlink_to(tmp_path / "elsewhere")
        stranger = "runs/ReLU-0"
    with pytest.raises(ValueError, match=refusal(directory, stranger)):
        compare_activations(Net, ["ReLU"], loaders(), seeds=1, directory=directory)
    assert kind != "a run is a link" or (tmp_path / "elsewhere").is_dir()


def test_nothing_is_forgotten_where_the_next_comparison_is_refused(tmp_path: Path) -> None:
    write_run(run_folder(tmp_path, "ReLU-0"), RECORD)
    run_folder(tmp_path, "Tanh-0").mkdir()
    (run_folder(tmp_path, "Tanh-0") / "weights.pt").touch()
    with pytest.raises(ValueError, match=refusal(tmp_path, "runs/Tanh-0")):
        forget_runs(tmp_path, ["ReLU-0", "Tanh-0"])
    assert is_own_run(run_folder(tmp_path, "ReLU-0"))


def test_a_run_never_deletes_a_folder_that_came_while_others_trained(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, "ReLU-0")
    folder.mkdir(parents=True)
    (folder / "weights.pt").touch()
    with pytest.raises(ValueError, match=refusal(tmp_path, "runs/ReLU-0")):
        clear_run(folder)
    assert (folder / "weights.pt").exists()


def test_a_name_that_is_empty_or_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match=r"^directory must name a folder, got '': give '\.' for the one that you are in$"
    ):
        compare_activations(Net, ["ReLU"], loaders(), seeds=1, directory="")
    with pytest.raises(ValueError, match=r"must be one that can be written to and locked, .*File name too long"):
        compare_activations(Net, ["ReLU"], loaders(), seeds=1, directory="x" * 300)
    with pytest.raises(ValueError, match=r"of at most 240 bytes, .* got y{30}\.\.\. of 300: give a mapping"):
        compare_activations(Net, {"y" * 300: "ReLU"}, loaders(), seeds=1, directory="out")
    assert not list(tmp_path.iterdir())


def test_a_run_broken_off_before_there_was_a_marker_is_its_own_beside_a_result(tmp_path: Path) -> None:
    broken, other = run_folder(tmp_path, "Tanh-0"), run_folder(tmp_path, "GELU-0")
    for folder, names in ((broken, ["events.out.tfevents.17.host", "hparams.yaml"]), (other, ["hparams.yaml", "w.pt"])):
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).touch()
    with pytest.raises(ValueError, match=refusal(tmp_path, "runs/Tanh-0")), held(tmp_path, ["Tanh-0"]):
        raise AssertionError  # no comparison is known to have been here
    write_run(run_folder(tmp_path, "ReLU-0"), RECORD)
    with pytest.raises(ValueError, match=refusal(tmp_path, "runs/GELU-0")), held(tmp_path, ["Tanh-0", "GELU-0"]):
        raise AssertionError
    with held(tmp_path, ["Tanh-0", "ReLU-0"]):
        assert is_own_run(broken)
        assert not is_own_run(other)


@pytest.mark.parametrize("fault", [PermissionError("read-only"), NotImplementedError("no locks here")])
def test_a_folder_that_cannot_be_locked_is_refused(
    fault: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise fault

    monkeypatch.setattr("thermo_callbacks.comparison.ownership.FileLock", refuse)
    message = f"^directory {re.escape(repr(str(tmp_path)))} must be one that can be written to and locked, got "
    with pytest.raises(ValueError, match=message), held(tmp_path, []):
        raise AssertionError


def test_forgetting_deletes_runs_and_nothing_else(tmp_path: Path) -> None:
    write_run(run_folder(tmp_path, "ReLU-0"), RECORD)
    mark(run_folder(tmp_path, "Tanh-0"))
    other = run_folder(tmp_path, "exp7")
    other.mkdir()
    (other / "mine.txt").touch()
    forget_runs(tmp_path)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["exp7"]
    forget_runs(tmp_path / "nowhere")


def test_runs_of_a_comparison_that_goes_on_are_not_forgotten(tmp_path: Path) -> None:
    write_run(run_folder(tmp_path, "ReLU-0"), RECORD)
    with held(tmp_path, ["ReLU-0"]), pytest.raises(ValueError, match="is in use by another comparison: wait for its"):
        forget_runs(tmp_path)
    assert is_own_run(run_folder(tmp_path, "ReLU-0"))


def test_a_second_comparison_is_told(tmp_path: Path) -> None:
    message = f"^directory {re.escape(repr(str(tmp_path)))} is in use by another comparison: wait for its end, or give"
    with held(tmp_path, []), pytest.raises(ValueError, match=message), held(tmp_path, []):
        raise AssertionError
    with held(tmp_path, []):  # it is free again
        pass


def test_nothing_is_trained_and_nothing_lost_where_a_folder_is_not_ours(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, "ReLU-0")
    folder.mkdir(parents=True)
    (folder / "weights.pt").write_text("weeks of work")
    with pytest.raises(ValueError, match=refusal(tmp_path, "runs/ReLU-0")):
        compare_activations(Net, ["ReLU"], loaders(), seeds=1, directory=tmp_path)
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()] == [
        Path("runs/ReLU-0/weights.pt")
    ]
