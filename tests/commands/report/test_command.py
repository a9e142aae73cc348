"""The subcommand: what it prints, what it refuses, and what it leaves behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from commands.report.test_page import Page
from torch.utils.tensorboard import SummaryWriter

from thermo_callbacks.commands.cli import main
from thermo_callbacks.commands.report import page as pages
from thermo_callbacks.commands.report.csv_file import CSV_FILE


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    monkeypatch.setattr(pages, "drawings_of", lambda _: [])  # figures take longer to draw than all else


def report(capsys, *arguments):
    status = main(["report", *map(str, arguments)])
    text, errors = capsys.readouterr()
    assert errors == ""
    return status, text


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(["report", *map(str, arguments)])
    text, errors = capsys.readouterr()
    assert (end.value.code, text, errors.count("\n")) == (2, "", 1)
    return errors.removeprefix("thermo-callbacks: error: ").removesuffix("\n")


def test_a_page_of_all_runs_below_a_folder(logs, tmp_path, capsys):
    target = tmp_path / "new" / "with space" / "page.html"
    status, text = report(capsys, logs.root, "--out", target)
    assert status == 0
    assert f"Wrote {target} (" in text
    assert "3 runs, fast, slow, table." in text
    assert f"Open it in a browser: {target.as_uri()}\n" in text
    page = Page(target.read_text(encoding="utf-8"))
    assert page.faults == []
    assert len(page.all("article")) == 3


def test_the_page_is_named_report_by_default_and_overwritten(logs, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in (logs.table, logs.prefixed):
        status, text = report(capsys, folder)
        assert status == 0
        assert "1 run, digits/" in text
    assert "digits/fast" in Path("report.html").read_text(encoding="utf-8")


def test_a_run_that_was_killed_is_shown_as_far_as_it_goes(logs, tmp_path, capsys):
    shutil.copytree(logs.both, tmp_path / "run")
    (events,) = (tmp_path / "run").glob("*tfevents*")
    data = events.read_bytes()
    events.write_bytes(data[: 2 * len(data) // 3])
    table = tmp_path / "run" / CSV_FILE
    table.write_text(table.read_text()[:-9])
    status, text = report(capsys, tmp_path / "run", "--out", tmp_path / "report.html")
    assert status == 0
    words = " ".join(text.split())
    assert f"{events.name} is cut off or damaged after " in words
    assert "metrics.csv ends in the middle of a line, which is left out." in words
    (notice,) = Page((tmp_path / "report.html").read_text(encoding="utf-8")).all("aside")
    assert events.name in notice.text
    assert "metrics.csv" in notice.text


def test_a_run_that_still_trains(tmp_path, capsys):
    with SummaryWriter(tmp_path / "run") as writer:
        for step in range(3):
            writer.add_scalar("thermo/temperature", 1.0 + step, step)
            writer.flush()
            assert report(capsys, tmp_path / "run", "--out", tmp_path / "report.html")[0] == 0
            page = (tmp_path / "report.html").read_text(encoding="utf-8")
            assert f'data-value="{1.0 + step}"' in page


def test_folders_without_a_run_are_refused_and_nothing_is_written(logs, tmp_path, capsys):
    target = tmp_path / "new" / "report.html"
    (tmp_path / "empty").mkdir()
    assert " holds no run: " in refused(capsys, tmp_path / "empty", "--out", target)
    message = refused(capsys, logs.both, tmp_path / "nowhere", "--out", target)
    assert message.startswith(
        f"LOGDIR must be the folder of a run, or one with runs below it, got '{tmp_path}/nowhere'"
    )
    assert not target.parent.exists()


def test_files_of_others_are_not_overwritten(logs, tmp_path, capsys):
    target = tmp_path / "mine.html"
    target.write_text("my own page")
    message = refused(capsys, logs.both, "--out", target)
    assert (
        message == f"--out '{target}' exists and is no report of this program, or was changed since: give another name"
    )
    assert target.read_text() == "my own page"


def test_a_folder_that_is_a_file_can_hold_no_page(logs, tmp_path, capsys):
    (tmp_path / "file").touch()
    message = refused(capsys, logs.both, "--out", tmp_path / "file" / "report.html")
    assert message.startswith("--out ")
    assert str(tmp_path / "file") in message


def test_a_folder_is_needed(capsys):
    assert "logdir" in refused(capsys).lower()


def test_help_names_the_arguments(capsys):
    with pytest.raises(SystemExit) as end:
        main(["report", "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "LOGDIR" in text
    assert "--out FILE" in text


@pytest.mark.parametrize("place", ["find_runs", "render_page", "write_page"])
def test_an_interrupt_is_one_line_and_leaves_nothing(place, logs, tmp_path, capsys, monkeypatch):
    from thermo_callbacks.commands.report import discovery, target

    def interrupt(*_):
        raise KeyboardInterrupt

    room = {"find_runs": discovery, "render_page": pages, "write_page": target}[place]
    monkeypatch.setattr(room, place, interrupt)
    status, text = report(capsys, logs.table, "--out", tmp_path / "report.html")
    assert (status, text) == (130, "Stopped by Ctrl-C. Nothing was written.\n")
    assert not list(tmp_path.iterdir())


def test_a_folder_with_a_name_too_long_is_refused(tmp_path, capsys):
    message = refused(capsys, tmp_path / ("x" * 300), "--out", tmp_path / "report.html")
    assert "can't be read (File name too long): give the folder of a run" in message
