"""The TensorBoard page of a run as it was logged: no chart without a value."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from integration.models import Regression, loader, quiet_trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard_page import drawn_by_tensorboard, page_of

from thermo_callbacks import ThermoMonitor
from thermo_callbacks.callbacks.output.publisher import Publisher


def titles_of(folder: Path) -> list[str]:
    return [chart["title"] for category in page_of(folder)["category"] for chart in category["chart"]]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_chart_of_a_run_has_a_value(tmp_path: Path) -> None:
    board = TensorBoardLogger(tmp_path, name="", version="run")
    quiet_trainer(callbacks=[ThermoMonitor("full")], logger=board).fit(Regression(), loader(40))
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    logged = {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    of_ours = {tag: any(map(math.isfinite, values)) for tag, values in logged.items() if tag.startswith("thermo")}
    assert set(of_ours.values()) == {True, False}  # so short a run lacks some
    drawn = drawn_by_tensorboard(tmp_path, "run")
    assert len(drawn) > 10
    assert [title for title, tags in drawn.items() if not any(of_ours[tag] for tag in tags)] == []


def test_a_chart_appears_with_its_first_value(tmp_path: Path) -> None:
    board = TensorBoardLogger(tmp_path, name="", version="run")
    trainer, publisher = quiet_trainer(logger=board), Publisher()
    seen = []
    for step, value in enumerate((math.nan, math.inf, 2.0, math.nan)):
        publisher.publish(trainer, {"thermo/heat": 1.0, "thermo/sharpness": value}, step)
        board.experiment.flush()
        seen.append(sum(title.startswith("Sharpness") for title in titles_of(tmp_path)))
    assert seen == [0, 0, 1, 1]


def test_a_resumed_run_keeps_the_charts_of_what_had_a_value(tmp_path: Path) -> None:
    before, after = Publisher(), Publisher()
    board = TensorBoardLogger(tmp_path, name="", version="run")
    before.publish(quiet_trainer(logger=False), {"thermo/heat": 1.0}, 0)
    after.load_state_dict(before.state_dict())
    after.publish(quiet_trainer(logger=board), {"thermo/heat": math.nan, "thermo/sharpness": 1.0}, 1)
    board.experiment.flush()
    assert any(title.startswith("Energy balance") for title in titles_of(tmp_path))
