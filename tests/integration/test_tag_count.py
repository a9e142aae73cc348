"""A run has at most 250 tags, whatever its model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from integration.deep_models import Encoder, Residual, deep_perceptron, seeded
from integration.models import Regression, loader, quiet_trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from thermo_callbacks import ThermoMonitor
from thermo_callbacks.callbacks.tag_budget import MOST_MEMBERS, MOST_TAGS
from thermo_callbacks.catalog import members

# so short a run has no noise scale, for example
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
MODELS: dict[str, Callable[[], nn.Module]] = {
    "4 layers": lambda: seeded(deep_perceptron, 4, 3),
    "16 layers": lambda: seeded(deep_perceptron, 16, 16),
    "encoder": lambda: seeded(Encoder),
    "60 layers": lambda: seeded(Residual),
}


def fit(model: nn.Module, folder: Path, **arguments: Any) -> tuple[set[str], ThermoMonitor]:
    """Tags of ours in the event file, pictures and texts among them; and the monitor."""
    settings = {"window": 8, "steps_between_windows": 0, "curvature_every_n_steps": 8, **arguments}
    monitor, logger = ThermoMonitor(**settings), TensorBoardLogger(folder, name="", version="run")
    quiet_trainer(callbacks=[monitor], logger=logger).fit(Regression(model), loader(26))
    kinds = EventAccumulator(str(folder / "run"), size_guidance={"images": 1}).Reload().Tags()
    tags = {tag for kind in ("scalars", "images", "histograms", "tensors") for tag in kinds[kind]}
    return {tag for tag in tags if tag.startswith("thermo")}, monitor


@pytest.mark.parametrize(("preset", "model"), [("light", "60 layers"), *(("standard", model) for model in MODELS)])
def test_the_tags_of_a_run_are_few(preset: str, model: str, tmp_path: Path) -> None:
    tags, monitor = fit(MODELS[model](), tmp_path, preset=preset)
    assert 20 < len(tags) <= MOST_TAGS
    assert 1 < len(members(monitor.latest(), "thermo_temperature")) <= MOST_MEMBERS


def test_up_to_sixteen_layers_are_shown_one_by_one(tmp_path: Path) -> None:
    _, monitor = fit(MODELS["16 layers"](), tmp_path)
    budget = monitor._plan.budget
    # the budget says whether there is room for all: the more quantities a preset logs by layer, the fewer layers
    shown = members(monitor.latest(), "thermo_temperature")
    assert (len(shown) == 16) == (budget.layers() == 16)
    assert len(members(monitor.latest(), "thermo_work_efficiency")) <= budget.activations(len(shown))


def test_all_layers_are_shown_if_asked_for(tmp_path: Path) -> None:
    tags, monitor = fit(MODELS["encoder"](), tmp_path, layers="all")
    assert len(tags) > MOST_TAGS
    assert len(members(monitor.latest(), "thermo_temperature")) >= 60
    assert "thermo/layer_groups/text_summary" not in tags


def test_the_preset_full_has_readable_charts_of_all_quantities(tmp_path: Path) -> None:
    tags, monitor = fit(MODELS["encoder"](), tmp_path, preset="full")
    values = monitor.latest()
    families = {tag.partition("/")[0] for tag in values} - {"thermo"}
    assert {"thermo_temperature_stderr", "thermo_laplacian_stderr", "thermo_implied_gain"} <= families
    assert all(1 <= len(members(values, family)) <= MOST_MEMBERS for family in families)
    assert "thermo/layer_groups/text_summary" in tags
