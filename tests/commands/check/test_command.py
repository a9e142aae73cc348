"""The subcommand: what it prints, how it ends, what it writes, and what it refuses."""

from __future__ import annotations

import json
import math
import os

import pytest
from commands.report.test_runs import run_with
from torch.utils.tensorboard import SummaryWriter

from thermo_callbacks.commands.check.command import CRITICAL
from thermo_callbacks.commands.check.output import GENERATOR, lines_of
from thermo_callbacks.commands.cli import main
from thermo_callbacks.commands.report.findings import Diagnosis
from thermo_callbacks.findings import CAUSES, Finding

FAMILY = "thermo_dead_fraction"
ADVICE = CAUSES["dead units"].advice


@pytest.fixture
def runs(tmp_path):
    """Logs of a run whose first activation died, and of one in which all live."""
    for name, last in (("dead", 1.0), ("alive", 0.2)):
        with SummaryWriter(tmp_path / name) as writer:
            for step, share in ((9, 0.1), (19, last), (29, last)):
                writer.add_scalar(f"{FAMILY}/net.1", share, step)
                writer.add_scalar(f"{FAMILY}/net.3", 0.1, step)
    return tmp_path


def check(capsys, *arguments):
    status = main(["check", *map(str, arguments)])
    text, errors = capsys.readouterr()
    assert errors == ""
    return status, text.splitlines()


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(["check", *map(str, arguments)])
    text, errors = capsys.readouterr()
    assert (end.value.code, text, errors.count("\n")) == (2, "", 1)
    return errors.removeprefix("thermo-callbacks: error: ").removesuffix("\n")


def test_a_critical_finding_is_told_in_full_and_is_the_status(runs, capsys):
    status, lines = check(capsys, runs / "dead")
    assert status == CRITICAL == 1
    assert lines[0].endswith("/dead: 1 finding up to step 29.")
    first, seen, *rest = lines[1:]
    assert first == "  critical: dead units in net.1, since step 19"
    assert seen.startswith("    Seen: ")
    assert "net.1" in seen
    assert rest == [
        f"    Evidence: {FAMILY}/net.1 = 1",
        f"    Do: {ADVICE}",
    ]


def test_nothing_found_is_one_line_and_status_0(runs, capsys):
    status, lines = check(capsys, runs / "alive")
    assert status == 0
    (line,) = lines
    assert "/alive: nothing found up to step 29" in line


def test_several_runs_are_named_and_one_critical_is_enough(runs, capsys):
    status, lines = check(capsys, runs)
    assert status == 1
    assert [line.partition(":")[0] for line in lines if not line.startswith(" ")] == ["alive", "dead"]
    assert check(capsys, runs / "dead", runs / "alive")[0] == 1


def test_logs_without_anything_to_judge_by_are_no_clean_bill(tmp_path, capsys):
    with SummaryWriter(tmp_path / "run") as writer:
        writer.add_scalar("thermo/bulk_entropy", 1.0, 1)
    status, (line,) = check(capsys, tmp_path / "run")
    assert status == 0
    assert line.endswith("its logs hold no quantity that a cause is read from, so nothing can be said.")


@pytest.mark.parametrize("severity", ["info", "warning"])
def test_what_is_not_critical_is_no_failure(severity):
    finding = Finding(
        "rate too low", (), severity, 0.9987, {"thermo/heat": -math.inf}, 1200, "Seen.", "Raise it.", ("x",)
    )
    diagnosis = Diagnosis([finding], 3, 4000)
    assert not diagnosis.critical
    assert list(lines_of(run_with({}), diagnosis)) == [
        "run: 1 finding up to step 4,000.",
        f"  {severity}: rate too low, since step 1,200, confidence 99.87 %",
        "    Seen: Seen.",
        "    Evidence: thermo/heat = -inf",
        "    Do: Raise it.",
        "    Explains the signs of: x",
    ]


def test_what_could_not_be_read_is_said_first(runs, capsys):
    (events,) = (runs / "dead").glob("*tfevents*")
    events.write_bytes(events.read_bytes()[:-9])
    _, lines = check(capsys, runs / "dead")
    assert f"{events.name} is cut off or damaged" in lines[0]


def test_the_file_holds_the_findings_of_all_runs_and_is_written_again(runs, capsys):
    target = runs / "new" / "findings.json"
    for _ in range(2):
        assert check(capsys, runs, "--json", target)[0] == 1
    content = json.loads(target.read_text(encoding="utf-8"))
    assert content["generator"] == GENERATOR
    alive, dead = content["runs"]
    assert (alive["name"], alive["findings"], alive["step"], alive["notices"]) == ("alive", [], 29, [])
    (plain,) = dead["findings"]
    assert Finding.of_json(plain) == Finding(
        "dead units", ("net.1",), "critical", 1.0, {f"{FAMILY}/net.1": 1.0}, 19, plain["text"], ADVICE
    )


def test_a_value_that_is_no_number_is_no_error_in_the_file(tmp_path):
    from thermo_callbacks.commands.check.output import write_findings

    finding = Finding("rate too high", ("a",), "critical", 1.0, {"x": math.nan, "y": math.inf}, 0, "", "")
    write_findings(tmp_path / "f.json", [(run_with({}), Diagnosis([finding], 1, 1))])
    (run,) = json.loads((tmp_path / "f.json").read_text(), parse_constant=pytest.fail)["runs"]
    assert run["findings"][0]["evidence"] == {"x": None, "y": "inf"}


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("folder.json", "mkdir", "--json must be a file, got '{0}', which is a folder: give '{0}/findings.json'"),
        ("f.txt", None, "--json must end in .json, got '{0}': give '{1}/f.json'"),
        ("mine.json", "[1]", "--json '{0}' exists and holds no findings of this program: give another name"),
        ("odd.json", "{", "--json '{0}' exists and holds no findings of this program: give another name"),
        ("pipe.json", "mkfifo", "--json '{0}' exists and holds no findings of this program: give another name"),
    ],
)
def test_targets_that_are_refused(runs, name, make, message, capsys):
    target = runs / name
    if make in ("mkdir", "mkfifo"):
        getattr(os, make)(target)
    elif make:
        target.write_text(make)
    assert refused(capsys, runs / "dead", "--json", target) == message.format(target, runs)
    assert make in ("mkdir", "mkfifo", None) or target.read_text() == make


def test_a_file_that_can_not_be_written_is_refused(runs, capsys, monkeypatch):
    (runs / "file").touch()
    assert refused(capsys, runs / "dead", "--json", runs / "file" / "f.json").startswith("--json ")


def test_folders_without_a_run_are_refused(tmp_path, capsys):
    assert " holds no run: " in refused(capsys, tmp_path)
    assert "which does not exist" in refused(capsys, tmp_path / "nowhere")
    assert "logdir" in refused(capsys).lower()


def test_an_interrupt_is_one_line(runs, capsys, monkeypatch):
    from thermo_callbacks.commands.report import discovery

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(discovery, "find_runs", interrupt)
    assert check(capsys, runs / "dead") == (130, ["Stopped by Ctrl-C."])
