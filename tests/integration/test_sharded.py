"""Two processes that hold half of the parameters each see what one process sees that holds all of them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from integration.by_hand import assert_logged
from integration.models import RecordingLogger, perceptron, sgd
from integration.sharded_models import BATCHES, MAKERS, BothWays, GradientsSeen, Halves, Sharded, fit, fit_in_two
from integration.test_resume import SaveAfter
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor
from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler
from torch.optim import Adam

from thermo_callbacks import FreeEnergyMonitor, ThermoMonitor
from thermo_callbacks.callbacks.extra_passes.curvature import CurvatureCollector
from thermo_callbacks.callbacks.windows.energy_balance import EnergyBalance
from thermo_callbacks.functional.window.streaming import StreamingWindow
from thermo_callbacks.probes.curvature.sharded_probe import ShardedCurvatureProbe
from thermo_callbacks.probes.parameters.coordinates import CoordinateProbe

pytestmark = [
    # what the process of the test itself says: windows of 8 noisy steps show no signal now and then
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of torch knows no processes"),
]
OF_OWN_SAMPLES = ("efficiency", "engine", "temperature_drop", "learning_signal", "implied_gain", "_fraction/")


@pytest.fixture(autouse=True)
def _common_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole model's curvature from the vectors that sharded parameters have, and not from each sample's own."""
    monkeypatch.setattr("thermo_callbacks.probes.curvature.sample_probe.LEAST_SAMPLES", 1000)


"""Quantities of the activations, which are those of the first process's samples."""
OF_WHOLE_PARAMETERS = re.compile(
    "kept_gradient|epsilon_share|step_efficiency|step_transfer|heat_share|noise_scale|noise_temp|signal_share"
)
"""Quantities that take whole parameters in one process, and are not there where these are sharded."""


def monitor(preset: str = "standard", **options: Any) -> ThermoMonitor:
    return ThermoMonitor(preset, **{"window": 8, "steps_between_windows": 3, "curvature_every_n_steps": 5, **options})


def compared(row: dict[str, float]) -> dict[str, float]:
    return {tag: value for tag, value in row.items() if not any(name in tag for name in OF_OWN_SAMPLES)}


def assert_same(actual: dict[str, Any], expected: dict[str, Any], *, relative: float = 1e-7) -> None:
    """All rows at the same steps, with the same tags, and the same values up to rounding and differences' error."""
    assert [step for step, _ in actual["rows"]] == [step for step, _ in expected["rows"]]
    for (_, row), (_, right) in zip(actual["rows"], expected["rows"], strict=True):
        right = {tag: value for tag, value in right.items() if not OF_WHOLE_PARAMETERS.search(tag)}
        assert row.keys() == right.keys()
        assert_logged(row, compared(right), relative)


CASES: dict[str, tuple[Callable[[], Sharded], dict[str, Any], dict[str, Any]]] = {
    "sgd": (lambda: Sharded(optimizer=sgd), {}, {}),
    "momentum and accumulation": (MAKERS["sharded"], {}, {"accumulate_grad_batches": 2}),
    "a sample of coordinates": (MAKERS["sharded"], {"sample": 5}, {}),
    "a preconditioner and decay": (
        lambda: Sharded(optimizer=lambda parameters: Adam(parameters, lr=0.01, weight_decay=0.1)),
        {},
        {"gradient_clip_val": 0.5},
    ),
    "validation in between": (MAKERS["validated"], {}, {"val_check_interval": 6, "num_sanity_val_steps": 1}),
    "tied and frozen": (MAKERS["tied"], {"sample": 20}, {}),
    "tensor parallel": (MAKERS["tensor parallel"], {"sample": 5}, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_two_halves_are_one_whole(name: str, tmp_path: Path) -> None:
    make, arguments, options = CASES[name]
    alone = fit(make(), [monitor(**arguments)], **options)
    options = {**options, "tensor_parallel": 2 if name == "tensor parallel" else 1}
    first, second = fit_in_two(tmp_path, lambda: fit(make(), [monitor(**arguments), GradientsSeen()], **options))
    bare, _ = fit_in_two(tmp_path, lambda: fit(make(), [GradientsSeen()], **options))
    assert repr(first["rows"]) == repr(second["rows"])
    assert_same(first, alone)
    assert repr(first["gradients"]) == repr(bare["gradients"])
    assert sum("thermo/laplacian" in row for _, row in first["rows"]) >= 5 // options.get("accumulate_grad_batches", 1)
    for key, value in first["weights"].items():
        assert torch.equal(value, bare["weights"][key])
    reasons = [text for text in first["warnings"] if "finite differences" in text]
    assert len(reasons) == 1
    assert "no second derivative passes through the operations that gather them" in reasons[0]
    assert second["warnings"] == []


def test_probes_of_each_layer_are_those_of_a_whole_model(tmp_path: Path) -> None:
    def run() -> dict[str, Any]:
        own = FreeEnergyMonitor(window=8, steps_between_windows=3, curvature_every_n_steps=5, within_layers=True)
        return fit(Sharded(optimizer=sgd), [own])

    alone = run()
    first, _ = fit_in_two(tmp_path, run)
    assert_same(first, alone)


def test_four_quarters_of_two_kinds_are_one_whole(tmp_path: Path) -> None:
    alone = fit(BothWays(optimizer=sgd), [monitor(sample=7)])
    first, *others = fit_in_two(
        tmp_path, lambda: fit(BothWays(optimizer=sgd), [monitor(sample=7)], tensor_parallel=2), 4
    )
    for other in others:
        assert repr(other["rows"]) == repr(first["rows"])
    assert_same(first, alone)


def test_a_first_epoch_without_a_whole_window_has_values(tmp_path: Path) -> None:
    def run() -> dict[str, Any]:
        return fit(Sharded(optimizer=sgd), [monitor("light", window=20)], limit_train_batches=6, max_epochs=2)

    alone = run()
    first, second = fit_in_two(tmp_path, run)
    assert [step for step, _ in first["rows"]] == [11]
    assert repr(first["rows"]) == repr(second["rows"])
    assert_same(first, alone)


class Overflowing(Sharded):
    """One element of the gradient, in the second process, is infinite at one step; the optimizer never sees it."""

    def on_after_backward(self) -> None:
        if self.global_step == 3:
            self._last(math.inf)

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        if self.global_step == 3:
            self._last(0.0)

    def _last(self, value: float) -> None:
        gradient: Any = self.net[0].weight.grad
        if hasattr(gradient, "to_local"):
            gradient = gradient.to_local() if os.environ["LOCAL_RANK"] == "1" else torch.zeros(1, 1)
        gradient[-1, -1] = value


def test_a_gradient_that_overflows_in_one_process_leaves_the_step_out_in_all(tmp_path: Path) -> None:
    def run() -> dict[str, Any]:
        return fit(Overflowing(optimizer=sgd), [monitor("light")], limit_train_batches=8)

    alone = run()
    first, second = fit_in_two(tmp_path, run)
    assert repr(first["rows"]) == repr(second["rows"])
    [(_, row)], [(_, right)] = first["rows"], alone["rows"]
    assert row["thermo/skipped_steps"] == right["thermo/skipped_steps"] == 1.0
    for layer in ("net.0", "net.2"):
        tag = f"thermo_heat/{layer}"  # needs no means, which the first process has taken with the step
        assert row[tag] == pytest.approx(right[tag], rel=1e-9)


class FullDisk(RecordingLogger):
    """Can't write in the first process, from some step on."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if os.environ["LOCAL_RANK"] == "0" and step is not None and step > 8 and "thermo/temperature" in metrics:
            raise OSError("no space left")
        super().log_metrics(metrics, step)


def failing(method: Callable[..., Any], after: int) -> Callable[..., Any]:
    """The method, which fails in the second process after some calls."""
    calls = 0

    def fail(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if os.environ.get("LOCAL_RANK") == "1" and calls > after:
            raise RuntimeError("lost")
        return method(*args, **kwargs)

    return fail


FAULTS: dict[str, tuple[type, str, int]] = {
    "beginning": (CoordinateProbe, "__init__", 0),
    "reading a gradient": (CoordinateProbe, "before_step", 11),
    "reading a displacement": (CoordinateProbe, "after_step", 11),
    "adding up": (StreamingWindow, "layer_sums", 1),
}


@pytest.mark.parametrize("fault", [*FAULTS, "logging"])
def test_a_fault_in_one_process_keeps_none_waiting(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if fault == "logging":
        monkeypatch.setattr("integration.sharded_models.RecordingLogger", FullDisk)
    else:
        owner, name, after = FAULTS[fault]
        monkeypatch.setattr(owner, name, failing(getattr(owner, name), after))
    first, second = fit_in_two(tmp_path, lambda: fit(Sharded(optimizer=sgd), [monitor("light")]))
    bare, _ = fit_in_two(tmp_path, lambda: fit(Sharded(optimizer=sgd), []))
    if fault == "logging":  # costs what that process could not write, and no measurement
        [told] = first["warnings"]
        assert told.startswith("thermo_callbacks could not log to FullDisk at step ")
        assert len(second["rows"]) > 2
    else:
        assert len(second["rows"]) <= (0 if fault == "beginning" else 2)
        [switched_off] = [text for text in first["warnings"] if "switched off" in text]
        assert "failed in another process" in switched_off
    for key, value in first["weights"].items():
        assert torch.equal(value, bare["weights"][key])


@pytest.mark.parametrize("where", ["copies", "vectors"])
def test_a_fault_before_the_passes_of_a_look_keeps_none_waiting(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: dict[str, tuple[type, str]] = {
        "copies": (CurvatureCollector, "before_step"),
        "vectors": (ShardedCurvatureProbe, "_vectors"),
    }
    owner, name = places[where]
    monkeypatch.setattr(owner, name, failing(getattr(owner, name), 1))
    first, second = fit_in_two(tmp_path, lambda: fit(Sharded(optimizer=sgd), [monitor()]))
    assert repr(first["rows"]) == repr(second["rows"])
    assert sum("thermo/laplacian" in row for _, row in first["rows"]) == 1  # the extra pass before
    assert sum("thermo/temperature" in row for _, row in first["rows"]) == 3
    assert any("curvature is switched off" in text and "another process" in text for text in first["warnings"])


class Unrepeatable(Sharded):
    """Its loss can't be had again once training is under way."""

    def again(self, batch: Any) -> Tensor:
        loss = self.loss(batch)
        if self.trainer.global_step > 8:
            raise RuntimeError("lost")
        return loss


def test_a_loss_that_fails_after_the_parameters_were_gathered_changes_nothing(tmp_path: Path) -> None:
    def run(*callbacks: Any) -> dict[str, Any]:
        return fit(Unrepeatable(optimizer=sgd), callbacks)

    again = monitor(loss_fn=lambda module, batch: module.again(batch))
    first, second = fit_in_two(tmp_path, lambda: run(again))
    bare, _ = fit_in_two(tmp_path, run)
    assert sum("thermo/laplacian" in row for _, row in first["rows"]) == 1  # the extra pass before
    assert repr(first["rows"]) == repr(second["rows"])
    assert any("RuntimeError while measuring curvature: lost" in text for text in first["warnings"])
    for key, value in first["weights"].items():
        assert torch.equal(value, bare["weights"][key])


def test_what_needs_whole_parameters_is_said_and_left_out(tmp_path: Path) -> None:
    first, _ = fit_in_two(tmp_path, lambda: fit(Sharded(optimizer=sgd), [monitor("full")]))
    assert not any("thermo/complexity" in row for _, row in first["rows"])
    assert any("thermo/laplacian" in row for _, row in first["rows"])
    assert [text for text in first["warnings"] if "bulk" in text] == [
        "ThermoMonitor's measurement of the bulk is switched off for the rest of this run: it needs whole parameters "
        "in one process, and these are sharded. Training goes on unchanged."
    ]


def test_sixteen_bits_have_no_curvature_and_all_else(tmp_path: Path) -> None:
    first, _ = fit_in_two(tmp_path, lambda: fit(Halves(optimizer=sgd), [monitor()]))
    assert not any("thermo/laplacian" in row for _, row in first["rows"])
    assert sum("thermo/temperature" in row for _, row in first["rows"]) == 3
    reasons = [text for text in first["warnings"] if "measurement of curvature is switched off" in text]
    assert len(reasons) == 1
    assert "parameters of torch.bfloat16, which leaves no digits" in reasons[0]


def test_a_resumed_run_keeps_its_balance_and_begins_the_open_window_afresh(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"

    def run(*callbacks: Any, checkpoint: Path | None = None) -> dict[str, Any]:
        own = monitor("light", steps_between_windows=0)
        with patch.object(EnergyBalance, "add", autospec=True, side_effect=EnergyBalance.add) as added:
            seen = fit(MAKERS["sharded"](), [own, *callbacks], checkpoint=checkpoint, limit_train_batches=22)
        [state] = own.state_dict()["windows"]
        unwatched = [call.kwargs["unwatched"] for call in added.call_args_list]
        return {**seen, "unwatched": unwatched, "heat": state["energy_balance"]["heat"], "steps": state["steps"]}

    before, _ = fit_in_two(tmp_path, lambda: run(SaveAfter(12, path)))
    first, second = fit_in_two(tmp_path, lambda: run(checkpoint=path))
    assert repr(first["rows"]) == repr(second["rows"])
    # 5 of the 13 steps before were in an open window; the next begins at the 14th
    assert [step for step, _ in before["rows"]] == [7, 15]
    assert [step for step, _ in first["rows"]] == [20]
    assert first["steps"] == before["steps"] == 22
    [message] = [text for text in first["warnings"] if "afresh" in text]
    assert message == (
        "ThermoMonitor begins its open window, of 5 steps so far, afresh: a checkpoint holds what one process knows, "
        "and each process has seen a part of the sharded parameters"
    )
    assert (before["unwatched"], first["unwatched"]) == ([0, 0], [5])  # they are bridged, not lost
    (_, early), (_, late) = before["rows"][0], first["rows"][0]
    for name, heat in first["heat"].items():
        assert late[f"thermo_heat/{name}"] == pytest.approx(heat)
        assert heat < early[f"thermo_heat/{name}"]


def test_a_run_goes_on_from_a_checkpoint_of_a_run_that_was_not_sharded(tmp_path: Path) -> None:
    path = tmp_path / "whole.ckpt"

    def run(*callbacks: Any, checkpoint: Path | None = None) -> dict[str, Any]:
        return fit(MAKERS["sharded"](), [monitor("light"), *callbacks], checkpoint=checkpoint)

    whole = run(SaveAfter(8, path))
    first, _ = fit_in_two(tmp_path, lambda: run(checkpoint=path))
    assert [step for step, _ in whole["rows"]] == [7, 18, 29]
    assert [step for step, _ in first["rows"]] == [18, 29]
    assert not any("other layers" in text or "afresh" in text for text in first["warnings"])


@pytest.mark.parametrize("together", [False, True], ids=["alone", "together"])
def test_a_scaler_that_skips_a_step_in_one_process_keeps_none_waiting(together: bool, tmp_path: Path) -> None:
    class Half(Sharded):
        """In single precision, as scalers take it."""

        def train_dataloader(self) -> Any:
            data = super().train_dataloader()
            data.dataset.tensors = tuple(column.float() for column in data.dataset.tensors)
            return data

        def on_after_backward(self) -> None:  # the second process's part of the gradient overflows
            if self.global_step == 3 and os.environ["LOCAL_RANK"] == "1":
                gradient: Any = self.net[0].weight.grad
                gradient.to_local()[-1, -1] = math.inf

    def run(*callbacks: Any) -> dict[str, Any]:
        scaler = ShardedGradScaler(device="cpu") if together else None
        plugin = MixedPrecision("16-mixed", "cpu", scaler=scaler)
        return fit(Half(perceptron(dtype=torch.float32), sgd), callbacks, plugins=[plugin])

    bare, other = fit_in_two(tmp_path, run)  # the bare run comes to its end in either case
    first, _ = fit_in_two(tmp_path, lambda: run(monitor()))
    assert bare["weights"].keys() == other["weights"].keys()
    for key, value in bare["weights"].items():
        assert torch.equal(value, first["weights"][key])
    said = [text for text in first["warnings"] if "half of the model moves" in text]
    assert len(said) == (0 if together else 1)
    assert any("thermo/temperature" in row for _, row in first["rows"]) == together
    assert any("thermo/laplacian" in row for _, row in first["rows"]) == together
    assert all("ShardedGradScaler" in text for text in said)


@pytest.mark.parametrize("writer", ["0", "1"])
def test_a_step_that_writes_in_one_process_alone_is_never_run_again(writer: str, tmp_path: Path) -> None:
    """Refused in the midst of a replay there, it would leave the other one waiting in the layers to come."""

    class Writing(Sharded):
        def loss(self, batch: Any) -> Tensor:
            if os.environ.get("LOCAL_RANK") == writer:
                with (tmp_path / "notes").open("a", encoding="utf-8") as notes:
                    notes.write(".")
            return super().loss(batch)

    first, second = fit_in_two(tmp_path, lambda: fit(Writing(optimizer=sgd), [monitor()]))
    assert (tmp_path / "notes").read_text(encoding="utf-8") == "." * BATCHES
    assert not any("thermo/laplacian" in row for _, row in first["rows"])
    assert any("thermo/temperature" in row for _, row in first["rows"])
    assert repr(first["rows"]) == repr(second["rows"])
    text = "to write to it" if writer == "0" else "another process"
    assert any("curvature is switched off" in said and text in said for said in first["warnings"])
