"""Two processes on half of each batch see what one process sees on all of it."""

from __future__ import annotations

import multiprocessing
import re
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from integration.by_hand import assert_logged
from integration.models import (
    OF_BATCHES,
    RecordingLogger,
    Regression,
    TwoOptimizers,
    examples,
    momentum_sgd,
    quiet_trainer,
    sgd,
)
from lightning.pytorch import Callback
from torch.utils.data import DataLoader, TensorDataset

from thermo_callbacks import ThermoMonitor

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*noise_scale"),  # windows of 8 noisy steps show no signal now and then
    pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of torch knows no processes"),
]
BATCHES = 20


@pytest.fixture(autouse=True)
def no_deadlock() -> Iterator[None]:
    """Processes that wait for each other are ended, and the test with them."""

    def end(*_: Any) -> None:
        for process in multiprocessing.active_children():
            process.kill()
        raise TimeoutError("the processes wait for each other")

    previous = signal.signal(signal.SIGALRM, end)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


class Report(Callback):
    """Writes down what each process has seen: rows, warnings, weights."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._warnings: Any = None

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        self._context = warnings.catch_warnings(record=True)
        self._warnings = self._context.__enter__()
        warnings.simplefilter("always")

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._context.__exit__(None, None, None)
        messages = [str(warning.message) for warning in self._warnings]
        messages = [text for text in messages if "thermo" in text.lower()]
        seen = {"rows": trainer.logger.thermo_rows, "warnings": messages}
        torch.save(seen, self._folder / f"{trainer.global_rank}.pt")


class Shared:
    """Each process takes its share of the samples of every batch of 8."""

    def train_dataloader(self: Any) -> DataLoader[Any]:
        processes = self.trainer.world_size
        columns = (column[self.global_rank :: processes] for column in examples())
        return DataLoader(TensorDataset(*(column[: BATCHES * 8 // processes] for column in columns)), 8 // processes)


class SharedRegression(Shared, Regression):
    pass


class SharedTwoOptimizers(Shared, TwoOptimizers):
    pass


def report(
    module: Regression, folder: Path, processes: int, *, monitor: ThermoMonitor | None = None, **options: Any
) -> list[dict[str, Any]]:
    """What each process saw."""
    if processes > 1:
        options |= {"strategy": "ddp_fork", "devices": processes, "use_distributed_sampler": False}
    callbacks = [Report(folder), monitor or ThermoMonitor("light", window=8, steps_between_windows=3)]
    quiet_trainer(callbacks=callbacks, logger=RecordingLogger(), **options).fit(module)
    return [torch.load(folder / f"{rank}.pt") for rank in range(processes)]


MODULES: dict[str, Any] = {
    "sgd": lambda: SharedRegression(optimizer=sgd),
    "momentum": lambda: SharedRegression(optimizer=momentum_sgd),
    "two optimizers": SharedTwoOptimizers,
}


@pytest.mark.parametrize(
    ("name", "options"),
    [("sgd", {}), ("momentum", {"accumulate_grad_batches": 2}), ("two optimizers", {})],
    ids=["sgd", "accumulation with momentum", "two optimizers"],
)
def test_two_processes_are_one_with_twice_the_batch(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    make = MODULES[name]
    [alone] = report(make(), tmp_path, 1, **options)
    both = report(make(), tmp_path, 2, **options)
    assert len(alone["rows"]) == (1 if options else 2)
    for (step, expected), *rows in zip(alone["rows"], *(process["rows"] for process in both), strict=True):
        assert [same_step for same_step, _ in rows] == [step, step]
        first, second = (row for _, row in rows)
        # halves of a step tell signal from noise: of two processes each has a half of its own
        assert ["thermo/signal_share" in row for row in (first, second, expected)] == [bool(options)] * 3
        assert first.get("thermo/signal_share") == second.get("thermo/signal_share")
        first, second, expected = (
            {tag: value for tag, value in row.items() if not re.search("noise_|signal_share", tag)}
            for row in (first, second, expected)
        )
        assert first.keys() == second.keys() == expected.keys()
        assert ("thermo/internal_energy" in first) == (name != "two optimizers")
        of_windows, the_same = (
            {tag: value for tag, value in row.items() if tag not in OF_BATCHES} for row in (first, second)
        )
        assert repr(of_windows) == repr(the_same)
        assert_logged(first, {tag: expected[tag] for tag in expected.keys() - OF_BATCHES}, relative=1e-8)


class Halves(Callback):
    """Writes down each process's gradient of the first half of a step, and the gradient of the step, by layer."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._backward = folder, 0
        self._seen: list[tuple[list[torch.Tensor], list[torch.Tensor]]] = []

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        self._backward += 1
        if self._backward % 4 == 2:  # Lightning divides each batch's loss by the four of a step
            self._half = [2.0 * parameter.grad.flatten() for parameter in pl_module.parameters()]

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self._seen.append((self._half, [parameter.grad.flatten().clone() for parameter in pl_module.parameters()]))

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        torch.save(self._seen, self._folder / f"halves{trainer.global_rank}.pt")


def test_a_half_of_each_process_has_the_noise_of_its_own_samples(tmp_path: Path) -> None:
    monitor = ThermoMonitor("light", window=8, steps_between_windows=8)
    quiet_trainer(
        callbacks=[Report(tmp_path), Halves(tmp_path), monitor], logger=RecordingLogger(), accumulate_grad_batches=4,
        strategy="ddp_fork", devices=2, use_distributed_sampler=False, max_epochs=2,
    ).fit(SharedRegression())  # fmt: skip
    steps = zip(*(torch.load(tmp_path / f"halves{rank}.pt") for rank in range(2)), strict=True)
    products, power = 0.0, 0.0
    for by_process in list(steps)[:8]:
        for half, whole in ((torch.cat(half).double(), torch.cat(whole).double()) for half, whole in by_process):
            # its first half are a quarter of the step's samples, of two processes
            products += float((whole - half / 4) @ half) / 0.75
            power += float(whole @ whole)
    [(_, row)] = [rows for rows in torch.load(tmp_path / "0.pt")["rows"] if "thermo/signal_share" in rows[1]]
    assert row["thermo/signal_share"] == pytest.approx(products / power, rel=1e-5)


def test_a_warning_comes_once_and_not_once_a_process(tmp_path: Path) -> None:
    module = SharedRegression(optimizer=lambda p: torch.optim.Rprop(p, lr=0.01))
    first, second = (process["warnings"] for process in report(module, tmp_path, 2))
    assert len([text for text in first if "Rprop: its step is no linear response" in text]) == 1
    assert second == []


LOOKS = {"laplacian", "laplacian_stderr", "entropy_destruction", "rugh_temperature", "complexity", "work_efficiency"}


def looks(rows: list[tuple[int, dict[str, float]]]) -> list[tuple[int, dict[str, float]]]:
    return [(step, row) for step, row in rows if any(f"thermo/{name}" in row for name in LOOKS)]


@pytest.mark.filterwarnings("ignore:.*no value", "ignore:.*no transition temperature")
def test_looks_are_the_same_in_all_processes_and_see_all_batches(tmp_path: Path) -> None:
    def decayed(module: Any, batch: Any) -> Any:
        # a weight that the loss uses in another way too has vectors that all samples share, and all processes
        return module.loss(batch) + sum(0.01 * parameter.square().sum() for parameter in module.parameters())

    def monitor() -> ThermoMonitor:
        return ThermoMonitor("full", window=8, curvature_every_n_steps=5, loss_fn=decayed)

    [alone] = report(SharedRegression(), tmp_path, 1, monitor=monitor())
    first, second = report(SharedRegression(), tmp_path, 2, monitor=monitor())
    assert repr(looks(first["rows"])) == repr(looks(second["rows"]))
    assert len(looks(first["rows"])) == len(looks(alone["rows"])) >= 6
    for (_, row), (_, expected) in zip(looks(first["rows"]), looks(alone["rows"]), strict=True):
        # the mean over processes of products with the same probe is the product on all samples
        for tag in row.keys() & {"thermo/laplacian", "thermo/entropy_destruction", "thermo/rugh_temperature"}:
            assert row[tag] == pytest.approx(expected[tag], rel=1e-9, nan_ok=True)


class Uneven(SharedRegression):
    """Its second process says that it has fewer batches; both are stopped before that shows."""

    def train_dataloader(self) -> Any:
        loader = super().train_dataloader()
        batches = 16 if self.global_rank else BATCHES
        return type("Said", (), {"__iter__": lambda _: iter(loader), "__len__": lambda _: batches, "batch_size": 4})()

    def on_train_batch_end(self, *_: Any) -> None:
        self.trainer.should_stop = self.trainer.global_step >= 15


@pytest.mark.filterwarnings("ignore:.*NaN", "ignore:.*no value", "ignore:.*no transition temperature")
def test_all_processes_measure_by_the_plan_of_the_first(tmp_path: Path) -> None:
    first, second = report(Uneven(), tmp_path, 2, monitor=ThermoMonitor("light"))
    # a run of 20 steps has windows of 10, one of 16 steps windows of 8
    assert [step for step, _ in first["rows"]] == [step for step, _ in second["rows"]] == [9]


class OneFails(SharedRegression):
    """Its loss can't be had again in the second process, once training is under way."""

    def again(self, batch: Any) -> Any:
        if self.global_rank == 1 and self.trainer.global_step > 8:
            raise RuntimeError("lost")
        return self.loss(batch)


def test_a_fault_in_one_process_keeps_none_waiting(tmp_path: Path) -> None:
    monitor = ThermoMonitor(
        "standard",
        8,
        steps_between_windows=0,
        curvature_every_n_steps=5,
        loss_fn=lambda module, batch: module.again(batch),
    )
    first, second = report(OneFails(), tmp_path, 2, monitor=monitor)
    assert any("failed in another process" in text for text in first["warnings"])
    for process in (first, second):
        values = [row for _, row in process["rows"] if "thermo/laplacian" in row]
        assert len(values) == 1  # the extra pass before the fault
        assert [row for step, row in process["rows"] if "thermo/temperature" in row and step > 10]
