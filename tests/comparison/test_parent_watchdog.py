"""Runs end with their comparison, and none begins after it."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from comparison_models import Net, loaders

from thermo_callbacks.comparison.activations import candidates
from thermo_callbacks.comparison.parent_watchdog import ComparisonGoneError, check_starter
from thermo_callbacks.comparison.run import Job, execute

pytestmark = pytest.mark.skipif(os.name != "posix", reason="elsewhere nothing is asked of processes")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (candidate,) = candidates(["ReLU"])
    return Job(
        candidate=candidate,
        seed=0,
        make_module=Net,
        data=loaders(),
        trainer_kwargs={"max_epochs": 1},
        metrics=("val_loss",),
        directory=tmp_path / "out",
    )


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_no_run_begins_after_its_comparison_was_killed(job: Job) -> None:
    with pytest.raises(ComparisonGoneError, match=r"^the comparison in process \d+ has ended, and this run with it$"):
        execute(dataclasses.replace(job, starter=ended_process()))
    assert not job.directory.exists()


def test_processes_of_another_machine_are_not_asked_for_here(job: Job) -> None:
    check_starter(job.starter, job.host)
    check_starter(ended_process(), "another." + job.host)


def test_a_comparison_of_another_user_is_there(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    check_starter(job.starter, job.host)
