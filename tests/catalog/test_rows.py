"""Each tag that a monitor logs has one row in the catalogue, and each row is logged by those whom it names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from integration.curvature_models import Attention
from integration.models import INPUTS, RecordingLogger, Regression, loader, quiet_trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.optim import SGD, Adam

import thermo_callbacks
from thermo_callbacks import EquilibriumScheduler, EquilibriumStopping, ThermoMonitor, TransitionTemperatureMonitor
from thermo_callbacks.catalog import QUANTITIES, explained, families_logged_by, logged_by, quantity_of
from thermo_callbacks.catalog.questions import QUESTIONS
from thermo_callbacks.display.tensorboard.page import LEGEND_TAG
from thermo_callbacks.display.text.configuration import CONFIGURATION_TAG
from thermo_callbacks.display.text.findings import FINDINGS_TAG

# so short a run has no noise scale, for example, and the attention no Laplacian of complexity, as the monitors say
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

ABOUT_THE_ROWS = {LEGEND_TAG, CONFIGURATION_TAG, FINDINGS_TAG}
"""Tags of ours that stand for no quantity."""


class Classified(Regression):
    """Validation that tells the outputs too."""

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        return {"loss": self.loss(batch), "residuals": (self.net(batch[0]) - batch[1]).squeeze(1)}


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(INPUTS, 6), nn.ReLU(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 1))


def convolution() -> nn.Module:
    layers = [nn.Unflatten(1, (1, INPUTS)), nn.Conv1d(1, 3, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(9, 1))


MODULES: dict[str, Callable[[], nn.Module]] = {
    "perceptron": perceptron,
    "convolution": convolution,
    "attention": Attention,
}
WINDOWED = {"window": 8, "steps_between_windows": 0}
MONITORS: dict[str, Callable[[], Any]] = {
    **{
        preset: lambda preset=preset: ThermoMonitor(preset, curvature_every_n_steps=8, **WINDOWED)
        for preset in ("light", "standard", "full")
    },
    "TemperatureMonitor": lambda: thermo_callbacks.TemperatureMonitor(**WINDOWED),
    "EntropyMonitor": lambda: thermo_callbacks.EntropyMonitor(curvature_every_n_steps=8, **WINDOWED),
    "FreeEnergyMonitor": lambda: thermo_callbacks.FreeEnergyMonitor(curvature_every_n_steps=8, **WINDOWED),
    "WorkEfficiencyMonitor": lambda: thermo_callbacks.WorkEfficiencyMonitor(curvature_every_n_steps=8),
    "BulkMonitor": lambda: thermo_callbacks.BulkMonitor(curvature_every_n_steps=8),
    "TransitionTemperatureMonitor": lambda: TransitionTemperatureMonitor(),
    # with so much tolerance the first test comes after 20 steps
    "EquilibriumScheduler": lambda: EquilibriumScheduler(level=0.4, tolerance=9.0, loss_tolerance=9.0),
    "EquilibriumStopping": lambda: EquilibriumStopping(level=0.4, tolerance=9.0, loss_tolerance=9.0),
}


def logged(make: Callable[[], nn.Module], monitor: Any, folder: Path) -> set[str]:
    """Tags of ours that a run leaves behind, members of a family in one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sgd = partial(SGD, lr=0.05, weight_decay=0.01 * (make is convolution))
        module = Classified(make().double(), partial(Adam, lr=0.01) if make is Attention else sgd)
    rows, board = RecordingLogger(), TensorBoardLogger(folder, name="", version="run")
    validation = [loader(25), loader(25)] if isinstance(monitor, TransitionTemperatureMonitor) else None
    # half of a step's batches against the other half tell what preset light knows no other way
    accumulated = {"accumulate_grad_batches": 2, "gradient_clip_val": 0.5} if make is perceptron else {}
    quiet_trainer(callbacks=[monitor], logger=[rows, board], **accumulated).fit(
        module, loader(26 * 2 if accumulated else 26), validation
    )
    kinds = EventAccumulator(str(folder / "run"), size_guidance={"images": 1}).Reload().Tags()
    texts = [tag.removesuffix("/text_summary") for tag in kinds["tensors"] if tag.endswith("/text_summary")]
    scalars = {tag for _, row in rows.rows for tag in row}
    assert scalars <= set(kinds["scalars"])
    assert set(monitor.latest()) <= scalars
    ours = [tag for tag in (*kinds["scalars"], *kinds["images"], *kinds["histograms"], *texts) if _is_ours(tag)]
    return {tag if tag.startswith("thermo/") else tag.partition("/")[0] for tag in ours}


def _is_ours(tag: str) -> bool:
    return re.match(r"thermo[/_]", tag) is not None


def named(monitor: str) -> set[str]:
    """Tags that the rows say a monitor logs."""
    rows = [row for row in QUANTITIES if monitor in row.logged_by]
    return {tag for row in rows for tag in (*row.tags, *row.pictures)} | set(families_logged_by(monitor))


@pytest.mark.parametrize("monitor", MONITORS)
def test_a_monitor_logs_what_the_rows_say_and_nothing_else(monitor: str, tmp_path: Path) -> None:
    found = {name: logged(make, MONITORS[monitor](), tmp_path / name) for name, make in MODULES.items()}
    for name, tags in found.items():
        assert tags - named(monitor) <= ABOUT_THE_ROWS, name
    # no model has them all: a topology is that of a chain of linear layers, for example
    assert named(monitor) - set().union(*found.values()) == set()


def test_each_tag_has_one_row() -> None:
    tags = Counter(tag for row in QUANTITIES for tag in (*row.tags, row.family, *row.pictures) if tag)
    assert [tag for tag, count in tags.items() if count > 1] == []
    assert all(quantity_of(tag) is row for row in QUANTITIES for tag in row.tags)


def test_each_row_is_logged_by_someone_who_exists() -> None:
    assert all(row.logged_by for row in QUANTITIES)
    assert {name for row in QUANTITIES for name in row.logged_by} == set(MONITORS)


def test_a_family_is_logged_by_some_of_those_who_log_its_row() -> None:
    for row in QUANTITIES:
        families = [monitor for monitor in MONITORS if row.logs_family(monitor)]
        assert set(families) <= set(row.logged_by)
        assert bool(families) == bool(row.family)


def test_charts_draw_tags_of_rows() -> None:
    charts = [(row, chart) for row in QUANTITIES for chart in row.charts]
    for row, chart in charts:
        assert chart.question in QUESTIONS
        assert {row.tag, row.family, *row.tags} & set(chart.tags), f"{chart.title} is about another quantity"
        assert all(quantity_of(tag) for tag in (*chart.tags, chart.reference or chart.tags[0]))
    titles = Counter(chart.title for _, chart in charts)
    assert titles.most_common(1)[0][1] == 1


@pytest.mark.parametrize(
    "places",
    [
        [row.key_number for row in QUANTITIES if row.key_number is not None],
        [row.final_value for row in QUANTITIES if row.final_value is not None],
        [line.place for row in QUANTITIES for line in row.lines],
        [(row.column.table, row.column.place) for row in QUANTITIES if row.column],
        [row.compared.place for row in QUANTITIES if row.compared],
    ],
    ids=["key numbers", "final values", "lines", "columns", "compared"],
)
def test_no_two_stand_in_one_place(places: list[Any]) -> None:
    assert places
    assert len(places) == len(set(places))


def test_a_member_has_the_row_of_its_family() -> None:
    assert quantity_of("thermo/heat").name == quantity_of("thermo_heat/net.0").name == "Heat Q"
    assert quantity_of("thermo_heat") is quantity_of("thermo/heat")


def test_tags_of_a_preset() -> None:
    assert "thermo/complexity" in logged_by("full")
    assert "thermo/complexity" not in logged_by("light")


def test_symbols_in_a_sentence() -> None:
    assert explained({"q": "weights", "g": "their gradient"}) == "**q** weights; **g** their gradient"


def test_a_tag_without_a_row_is_unknown() -> None:
    with pytest.raises(KeyError, match="thermo/unheard_of"):
        quantity_of("thermo/unheard_of")
