"""Layers shown together: their values are sums and means over the members, their names stay, and a text says which."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from integration.deep_models import Encoder, deep_perceptron, seeded
from integration.models import RecordingLogger, Regression, TwoOptimizers, loader, momentum_sgd, quiet_trainer
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from thermo_callbacks import ThermoMonitor, WorkEfficiencyMonitor
from thermo_callbacks.catalog import members
from thermo_callbacks.commands.report.discovery import find_runs
from thermo_callbacks.commands.report.summary import facts_of
from thermo_callbacks.display.tables.layer_tables import layer_table

# windows of 8 steps show no signal now and then
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
SETTINGS: dict[str, Any] = {"window": 8, "steps_between_windows": 0, "curvature_every_n_steps": 8, "sample": None}
ENCODER_GROUPS = ["embeddings", *(f"encoder.{block}" for block in range(7)), "pooler", "head"]


def run(model: nn.Module, **arguments: Any) -> tuple[dict[str, float], ThermoMonitor]:
    """Last values that were logged, by tag."""
    monitor, logger = ThermoMonitor(**{**SETTINGS, **arguments}), RecordingLogger()
    quiet_trainer(callbacks=[monitor], logger=logger).fit(Regression(model, momentum_sgd), loader(26))
    return {tag: value for _, row in logger.thermo_rows for tag, value in row.items()}, monitor


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[dict[str, float], dict[str, float], ThermoMonitor]]:
    """The same run with groups and one by one."""
    grouped, monitor = run(seeded(Encoder))
    return grouped, run(seeded(Encoder), layers="all")[0], monitor


def group_members(monitor: ThermoMonitor) -> dict[str, list[str]]:
    groups = monitor.state_dict()["groups"]
    assert isinstance(groups, dict)
    return groups


@pytest.mark.parametrize(
    "family",
    ["thermo_heat", "thermo_entropy", "thermo_laplacian", "thermo_entropy_destruction"],
)
def test_what_adds_up_is_the_sum_over_the_members(both: Any, family: str) -> None:
    grouped, alone, monitor = both
    found, apart = members(grouped, family), members(alone, family)
    assert len(apart) == 68
    assert list(found) == [f"net.{name}" for name in ENCODER_GROUPS]
    for name, layers in group_members(monitor).items():
        assert found[name] == pytest.approx(math.fsum(apart[layer] for layer in layers), rel=1e-9), name


def test_the_temperature_is_the_mean_over_the_coordinates(both: Any) -> None:
    grouped, alone, monitor = both
    found, apart = members(grouped, "thermo_temperature"), members(alone, "thermo_temperature")
    modules = dict(Regression(Encoder()).named_modules())
    sizes = {name: sum(one.numel() for one in modules[name].parameters(recurse=False)) for name in apart}
    for name, layers in group_members(monitor).items():
        mean = math.fsum(sizes[layer] * apart[layer] for layer in layers) / sum(sizes[layer] for layer in layers)
        assert found[name] == pytest.approx(mean, rel=1e-9), name


def test_values_of_the_whole_run_are_those_without_groups(both: Any) -> None:
    grouped, alone, _ = both
    whole = [tag for tag in alone if tag.startswith("thermo/")]
    assert len(whole) > 30
    # the noise of an entropy is read off each layer's temperature, as a part of that: errors of sums of them differ
    differing = {"thermo/entropy_stderr", "thermo/entropy_production_stderr", "thermo/entropy_rate_stderr"}
    found = {tag for tag in whole if grouped[tag] != pytest.approx(alone[tag], rel=1e-7, nan_ok=True)}
    # and the temperature of the noise alone corrects each layer's by a factor of its own
    apart = {"thermo/noise_temperature", "thermo/noise_temperature_stderr"}
    assert found <= differing | apart | {"thermo/second_law_score"}
    assert all(grouped[tag] == pytest.approx(alone[tag], rel=0.1) for tag in apart & found)


def test_tables_show_groups_as_they_show_layers(both: Any) -> None:
    grouped, _, _ = both
    rows = [cell.plain for cell in next(iter(layer_table(grouped).columns)).cells]  # type: ignore[union-attr]
    assert rows[: len(ENCODER_GROUPS)] == [f"net.{name}" for name in ENCODER_GROUPS]


class Thaw(Callback):
    """Freezes the first layers, and thaws them in the middle of the run."""

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        pl_module.net[:20].requires_grad_(False)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 12:
            pl_module.net[:20].requires_grad_(True)
            added = list(pl_module.net[:20].parameters())
            trainer.optimizers[0].add_param_group({"params": added})


def test_names_stay_when_layers_thaw() -> None:
    monitor, logger = ThermoMonitor("light", **SETTINGS), RecordingLogger()
    trainer = quiet_trainer(callbacks=[Thaw(), monitor], logger=logger)
    trainer.fit(Regression(seeded(deep_perceptron, 24, 23), momentum_sgd), loader(40))
    groups = set(group_members(monitor))
    shown = [set(members(row, "thermo_temperature")) for _, row in logger.thermo_rows]
    assert shown[0] < groups  # nothing of the frozen ones
    assert shown[-1] == groups
    assert all(names <= groups for names in shown)
    assert len(groups) <= 16


class Frozen(Regression):
    """The optimizer knows all parameters, and those of the first layers may be frozen."""

    def __init__(self, layers: int = 0) -> None:
        super().__init__(seeded(deep_perceptron, 24, 23))
        self.net[: 2 * layers].requires_grad_(False)  # type: ignore[index]

    def configure_optimizers(self) -> Any:
        return momentum_sgd(self.parameters())


def test_a_resumed_run_goes_on_with_its_names(tmp_path: Path) -> None:
    checkpoint = tmp_path / "run.ckpt"
    first = ThermoMonitor("light", **SETTINGS)
    trainer = quiet_trainer(callbacks=[first], logger=False)
    trainer.fit(Frozen(), loader(12))
    trainer.save_checkpoint(checkpoint)
    found = []
    for path in (None, checkpoint):
        monitor, logger = ThermoMonitor("light", **SETTINGS), RecordingLogger()
        trainer = quiet_trainer(callbacks=[monitor], logger=logger, max_epochs=2)
        trainer.fit(Frozen(22), loader(12), ckpt_path=path)
        found.append((group_members(monitor), set(members(logger.thermo_rows[-1][1], "thermo_temperature"))))
    (fresh, shown_afresh), (resumed, shown) = found
    # a new run gives the layers that it trains groups of their own, and one that goes on keeps those that it has
    assert shown_afresh == {"net.44", "net.46"}
    assert resumed == group_members(first) != fresh
    assert shown == {list(resumed)[-1]}


def test_a_run_that_began_without_groups_goes_on_without() -> None:
    monitor = ThermoMonitor("light", **SETTINGS)
    quiet_trainer(callbacks=[monitor], logger=False).fit(Regression(seeded(deep_perceptron, 24, 23)), loader(12))
    state = monitor.state_dict()
    for windows, expected in ((state["windows"], {}), ([], None)):
        older = {name: value for name, value in state.items() if name != "groups"} | {"windows": windows}
        fresh = ThermoMonitor("light", **SETTINGS)
        fresh.load_state_dict(older)
        assert fresh.state_dict()["groups"] == expected


def test_patterns_show_the_layers_that_match_one_by_one() -> None:
    record, monitor = run(seeded(deep_perceptron, 24, 23), layers=["net.?", "net.4?"], preset="light")
    assert list(members(record, "thermo_temperature")) == [*(f"net.{n}" for n in (0, 2, 4, 6, 8, 40, 42, 44, 46))]
    assert monitor.state_dict()["groups"] is None


class Shared(TwoOptimizers):
    """Matrices are one optimizer's, the rest another's."""

    def __init__(self) -> None:
        super().__init__()
        self.net = seeded(deep_perceptron, 24, 23)

    def configure_optimizers(self) -> Any:
        matrices = [one for one in self.parameters() if one.ndim > 1]
        return [momentum_sgd(matrices), torch.optim.Adam([one for one in self.parameters() if one.ndim < 2])]


def test_a_group_that_optimizers_share_has_a_value_for_each() -> None:
    values = {}
    for layers in (None, "all"):
        monitor = ThermoMonitor("light", layers=layers, **SETTINGS)
        quiet_trainer(callbacks=[monitor], logger=False).fit(Shared(), loader(26))
        values[layers] = members(monitor.latest(), "thermo_heat"), monitor
    (grouped, monitor), (alone, _) = values[None], values["all"]
    groups = group_members(monitor)
    assert len(grouped) == 2 * len(groups) <= 16
    for name, layers in groups.items():
        for optimizer in ("SGD", "Adam"):
            total = math.fsum(alone[f"{layer}@{optimizer}"] for layer in layers)
            assert grouped[f"{name}@{optimizer}"] == pytest.approx(total, rel=1e-9)


def test_a_text_says_what_is_in_each_group(tmp_path: Path) -> None:
    board = TensorBoardLogger(tmp_path, name="", version="board")
    table = CSVLogger(tmp_path, name="", version="table")
    monitor = ThermoMonitor(**SETTINGS)
    trainer = quiet_trainer(callbacks=[monitor], logger=[board, table])
    trainer.fit(Regression(seeded(deep_perceptron, 30, 30)), loader(12))
    events = EventAccumulator(str(tmp_path / "board")).Reload()
    texts = [event.tensor_proto.string_val[0].decode() for event in events.Tensors("thermo/layer_groups/text_summary")]
    assert "30 layers in" in texts[0]
    assert "activations" not in texts[0]  # they are called later
    assert "30 activations in" in texts[-1]
    groups = group_members(monitor)
    for name, layers in groups.items():
        assert f"| `{name}` | {len(layers)} | " in texts[0]
        assert all(f"`{layer}`" in texts[0] for layer in layers)
    (file,) = (tmp_path / "table").glob("thermo_run_configuration.json")
    configuration = json.loads(file.read_text())
    assert configuration["layer_groups"] == groups
    assert configuration["watched_layers"] == list(groups)
    assert sum(map(len, configuration["activation_groups"].values())) == 30
    facts = dict(facts_of(find_runs([tmp_path / "table"])))
    assert facts["Layer groups"] == [", ".join(f"{name} ({len(layers)})" for name, layers in groups.items())]


def test_few_layers_have_no_groups_and_no_text() -> None:
    _, monitor = run(seeded(deep_perceptron, 3, 2))
    assert monitor.state_dict()["groups"] == {}
    assert set(members(monitor.latest(), "thermo_temperature")) == {"net.0", "net.2", "net.4"}


def test_who_logs_no_layers_tells_of_activations_alone(tmp_path: Path) -> None:
    board = TensorBoardLogger(tmp_path, name="", version="board")
    trainer = quiet_trainer(callbacks=[WorkEfficiencyMonitor(8)], logger=board)
    trainer.fit(Regression(seeded(deep_perceptron, 30, 30)), loader(12))
    events = EventAccumulator(str(tmp_path / "board")).Reload()
    (event,) = events.Tensors("thermo/layer_groups/text_summary")
    text = event.tensor_proto.string_val[0].decode()
    assert "30 activations in" in text
    assert "layers in" not in text
