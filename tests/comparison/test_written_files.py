"""A table or figure is replaced only while it is as a comparison wrote it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from thermo_callbacks.comparison import ComparisonResult, written_files
from thermo_callbacks.comparison.ownership import held
from thermo_callbacks.comparison.records import RunRecord
from thermo_callbacks.comparison.storage import StoredRun, run_folder, write_run
from thermo_callbacks.comparison.written_files import FILES, MARKER, claim, replaces, write_files

RECORDS = [RunRecord(activation="ReLU", seed=0, values={"val_loss_best": 0.5})]


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ComparisonResult, "figure", lambda _: Figure())


def refusal(name: str, *, changed: bool = False) -> str:
    reason = "which is no longer as a comparison wrote it" if changed else "which no comparison made"
    return f"holds {re.escape(name)}, {reason} and this one would replace: give another directory, or move that away$"


def contents(directory: Path) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in FILES if (directory / name).exists()}


def old_version(directory: Path) -> None:
    """What the version without a marker left when it ended."""
    ComparisonResult(RECORDS, directory).write()
    (directory / MARKER).unlink()
    write_run(run_folder(directory, "ReLU-0"), StoredRun({}, RECORDS[0]))


@pytest.mark.parametrize("name", FILES)
def test_a_file_changed_since_is_refused_and_kept(name: str, tmp_path: Path) -> None:
    result = ComparisonResult(RECORDS, tmp_path)
    result.write()
    result.write()  # as it was written, it is replaced
    with (tmp_path / name).open("a") as file:
        file.write("my notes")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=refusal(name, changed=True)), held(tmp_path, ["ReLU-0"]):
        raise AssertionError
    with pytest.raises(ValueError, match=refusal(name, changed=True)):
        result.write()
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_came_after_the_comparison_began_is_refused_and_kept(name: str, tmp_path: Path) -> None:
    claim(tmp_path)  # and it was stopped before it wrote anything
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=refusal(name)), held(tmp_path, ["ReLU-0"]):
        raise AssertionError
    with pytest.raises(ValueError, match=refusal(name)):
        ComparisonResult(RECORDS, tmp_path).write()
    assert contents(tmp_path) == {name: b"mine"}


@pytest.mark.parametrize("written", range(len(FILES)))
def test_what_a_killed_comparison_wrote_is_its_own(
    written: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_files(tmp_path, dict.fromkeys(FILES, b"first"))
    left = written + 1  # the marker is written before

    def kill(path: Path, content: bytes) -> None:
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        path.write_bytes(content)

    with monkeypatch.context() as patch:
        patch.setattr(written_files, "write_bytes", kill)
        with pytest.raises(KeyboardInterrupt):
            write_files(tmp_path, dict.fromkeys(FILES, b"second"))
    assert list(contents(tmp_path).values()).count(b"second") == written
    with held(tmp_path, []):
        write_files(tmp_path, dict.fromkeys(FILES, b"third"))
    assert set(contents(tmp_path).values()) == {b"third"}


def test_files_of_the_version_without_a_marker_are_known_by_their_content(tmp_path: Path) -> None:
    old_version(tmp_path)
    with held(tmp_path, ["ReLU-0"]):
        ComparisonResult(RECORDS, tmp_path).write()
    assert [replaces(tmp_path, name) for name in FILES] == [""] * 4


def test_an_empty_marker_says_nothing_of_the_files(tmp_path: Path) -> None:
    old_version(tmp_path)
    (tmp_path / MARKER).touch()
    (tmp_path / "summary.csv").write_text("mine")
    with pytest.raises(ValueError, match=refusal("summary.csv")), held(tmp_path, ["ReLU-0"]):
        raise AssertionError


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_somebody_else_beside_runs_without_a_marker_is_refused(name: str, tmp_path: Path) -> None:
    write_run(run_folder(tmp_path, "ReLU-0"), StoredRun({}, RECORDS[0]))  # stopped before it wrote the tables
    (tmp_path / name).write_text("activation,notes\\nReLU,mine")
    with pytest.raises(ValueError, match=refusal(name)), held(tmp_path, ["ReLU-0"]):
        raise AssertionError


def test_a_table_that_was_copied_to_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    old_version(tmp_path / "comparison")
    (tmp_path / "project").mkdir()
    (tmp_path / "comparison" / "summary.csv").rename(tmp_path / "project" / "summary.csv")
    with pytest.raises(ValueError, match=refusal("summary.csv")), held(tmp_path / "project", ["ReLU-0"]):
        raise AssertionError


@pytest.mark.parametrize("text", ["{", "[]", '{"files": 3}', '{"files": {"summary.csv": 3}}'])
def test_a_marker_that_cannot_be_read_gives_nothing_away(text: str, tmp_path: Path) -> None:
    old_version(tmp_path)
    (tmp_path / MARKER).write_text(text)
    assert all(replaces(tmp_path, name) for name in FILES)
