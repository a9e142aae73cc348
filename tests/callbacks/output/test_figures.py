"""Figures at the end of a run: each is drawn by itself, and what is missing costs figures alone."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from integration.models import Regression, loader, quiet_trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from thermo_callbacks import ThermoMonitor
from thermo_callbacks.callbacks.output import figures as module
from thermo_callbacks.callbacks.output.figures import Figures

ALL = {"thermo/temperature_by_layer", "thermo/laplacian_by_layer", "thermo/temperature_entropy", "thermo/engines"}


def images_of(folder: Path) -> tuple[set[str], dict[str, float]]:
    """Images of a run, and the monitor's last values."""
    monitor = ThermoMonitor("full", window=8, steps_between_windows=0, curvature_every_n_steps=8)
    board = TensorBoardLogger(folder, name="", version="run")
    quiet_trainer(callbacks=[monitor], logger=board).fit(Regression(), loader(26))
    found = EventAccumulator(str(folder / "run"), size_guidance={"images": 0}).Reload()
    return set(found.Tags()["images"]), monitor.latest()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_all_are_drawn(tmp_path: Path) -> None:
    assert images_of(tmp_path)[0] == ALL


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_one_that_cannot_be_drawn_takes_no_other_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise ValueError("no colours left")

    monkeypatch.setattr("thermo_callbacks.display.tensorboard.page.laplacian_heat_map", fail)
    with pytest.warns(UserWarning, match=r"^The map of Laplacians is switched off .*ValueError while drawing it: no "):
        images, latest = images_of(tmp_path)
    assert images == ALL - {"thermo/laplacian_by_layer"}
    assert latest["thermo/temperature"] == latest["thermo/temperature"]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("absent", "words"),
    [
        (("matplotlib",), "they take matplotlib, which is not installed here"),
        (("PIL",), "they take pillow, which is not installed here"),
        (("matplotlib", "PIL"), "they take matplotlib and pillow, which are not installed here"),
    ],
)
def test_without_what_figures_take_there_are_values_and_one_line(
    absent: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(module, "find_spec", lambda name: None if name in absent else find(name))
    for name in absent:
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails, wherever that is tried
    with pytest.warns(UserWarning, match=f"^no figures are drawn: {words}$") as found:
        images, latest = images_of(tmp_path)
    assert images == set()
    assert latest["thermo/temperature"] == latest["thermo/temperature"]
    assert sum("figures" in str(warning.message) for warning in found) == 1


def test_a_figure_that_failed_is_not_tried_again(tmp_path: Path) -> None:
    figures, tried = Figures(), []
    trainer = quiet_trainer(logger=TensorBoardLogger(tmp_path))

    def fail(_: Any) -> None:
        tried.append("bad")
        raise ValueError("no colours left")

    drawings = {"bad chart": fail, "good chart": lambda _: tried.append("good")}
    with pytest.warns(UserWarning, match="^The bad chart is switched off for the rest of this run"):
        figures.draw(trainer, 0, drawings)
    figures.draw(trainer, 1, drawings)
    assert tried == ["bad", "good", "good"]
