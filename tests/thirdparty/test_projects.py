"""Public projects built on Lightning, unmodified: they train on as without a monitor, and are measured."""

from __future__ import annotations

import importlib
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from run_differences import places_that_differ
from thirdparty.witness import Record, Stranger, run

from thermo_callbacks import ThermoMonitor

pytestmark = [
    pytest.mark.thirdparty,
    pytest.mark.filterwarnings("ignore"),  # of the projects and what is under them; a monitor's own are looked at
]
BY_HAND = (
    r"the training step of \w+ steps its optimizers by hand: give loss_fn, a function of module and batch that returns "
    r"the loss and does nothing else"
)


class Project(NamedTuple):
    """A project: what has to be installed, and why its curvature and the values of its steps are refused, if so."""

    package: str
    refused: str = ""
    without_lightning: bool = False


PROJECTS = {
    "chemprop_molecules": Project("chemprop"),
    "deeptab_table": Project("deeptab"),
    "finetuning_schedule": Project("finetuning_scheduler"),
    "forecasting_transformer": Project("pytorch_forecasting"),
    "gluonts_stream": Project("gluonts"),
    "graphgym_graphs": Project("torch_geometric"),
    "neuralforecast_series": Project("neuralforecast", without_lightning=True),
    "pina_competition": Project("pina", refused=BY_HAND),
    "pina_equation": Project("pina"),
    "scvi_cells": Project("scvi"),
    "scvi_proteins": Project("scvi", refused=BY_HAND),
}
MEASURED = ("thermo/temperature", "thermo/work_efficiency")
REPLAYED = ("thermo/step_efficiency", "thermo/laplacian")


def train(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *callbacks: Any) -> Record:
    """Train a project in a folder of its own, where it is installed."""
    project = PROJECTS[name]
    pytest.importorskip(project.package)
    if project.without_lightning and find_spec("lightning"):
        pytest.skip("for an environment without lightning, see docs/contributing.md")
    folder.mkdir()
    monkeypatch.chdir(folder)  # for what a project leaves where it is
    record = run(importlib.import_module(f"thirdparty.projects.{name}").fit, folder, *callbacks)
    assert record.fits == 1
    assert record.left["steps"] >= 40
    return record


@pytest.mark.parametrize("name", PROJECTS)
def test_training_does_not_notice_and_is_measured(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = train(name, tmp_path / "bare", monkeypatch)
    watched = train(name, tmp_path / "watched", monkeypatch, ThermoMonitor("standard"))
    assert places_that_differ(bare.left, watched.left) == []
    assert watched.values.keys() >= set(MEASURED)
    if reason := PROJECTS[name].refused:
        assert len(watched.warned) == 1
        assert re.search(reason, watched.warned[0])
        assert re.search(reason, " ".join(watched.noted))  # the energy balance of a step says it too
        assert not watched.values.keys() & set(REPLAYED)
    else:
        assert watched.warned == []
        assert watched.values.keys() >= set(REPLAYED)


@pytest.mark.parametrize("name", PROJECTS)
def test_one_random_number_drawn_would_be_seen(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = train(name, tmp_path / "bare", monkeypatch)
    disturbed = train(name, tmp_path / "disturbed", monkeypatch, Stranger())
    assert "/torch" in places_that_differ(bare.left, disturbed.left)
