"""A fault of one process, at whatever step of ours it comes, keeps no other process waiting."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from integration.faults import Place, called, survive
from integration.models import BATCH_SIZE, RecordingLogger, Regression, examples, loader, quiet_trainer
from integration.processes import in_processes
from integration.sharded_models import MAKERS, fit
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from thermo_callbacks import ThermoMonitor, TransitionTemperatureMonitor

pytestmark = [
    pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of torch knows no processes"),
    pytest.mark.filterwarnings("ignore"),  # the runs that fail say so, in processes of their own
]
STEPS = 18


class Validated(Regression):
    """Two activations, and a validation that tells losses and residuals."""

    def __init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 1))
        super().__init__(net.double())

    def train_dataloader(self) -> DataLoader[Any]:
        processes, rank = self.trainer.world_size, self.global_rank
        columns = (column[rank::processes][: STEPS * BATCH_SIZE] for column in examples())
        return DataLoader(TensorDataset(*columns), BATCH_SIZE)

    def val_dataloader(self) -> DataLoader[Any]:
        return loader(2)

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        residuals = (self.net(batch[0]) - batch[1]).flatten()
        return {"losses": residuals.square(), "residuals": residuals}


def run() -> list[tuple[int | None, dict[str, float]]]:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logger, options = RecordingLogger(), {}
    if (processes := int(os.environ.get("WORLD_SIZE", "1"))) > 1:
        options = {"strategy": "ddp", "devices": processes, "use_distributed_sampler": False}
    # eighteen steps of two windows, an extra pass at steps 6 and 12, a validation, and an open window at the end
    monitor = ThermoMonitor("full", window=8, steps_between_windows=0, curvature_every_n_steps=6)
    quiet_trainer(callbacks=[monitor, TransitionTemperatureMonitor()], logger=logger, **options).fit(Validated())
    return logger.thermo_rows


def places(tmp_path: Path) -> list[Place]:
    """All functions of the package that such a run calls in the first of two processes."""
    first, _ = in_processes(2, lambda rank: [tuple(place) for place in called(run)], tmp_path)
    return [Place(*place) for place in first]


STEPS_OF_OURS = {
    "_set_timetable": "callbacks/settings.py",
    "build_collectors": "callbacks/extra_passes/build.py",
    "refresh": "callbacks/windows/optimizers.py",
    "read_before": "callbacks/windows/watched_steps.py",
    "read_after": "callbacks/windows/watched_steps.py",
    "record_loss": "callbacks/windows/watched_steps.py",
    "own_share": "callbacks/windows/optimizer_window.py",
    "accept": "callbacks/windows/optimizer_window.py",
    "close_windows": "callbacks/windows/close.py",
    "layers": "callbacks/windows/session.py",
    "keep": "callbacks/extra_passes/measured_step.py",
    "add_batch": "callbacks/extra_passes/measured_step.py",
    "reading": "probes/activations/probe.py",
    "take": "probes/activations/joint.py",
    "balance_sums": "functional/step_balance.py",
    "with_samples": "functional/transition_state.py",
    "merge_states": "functional/transition_state.py",
}


OFTEN = {"build_collectors", "read_before", "keep", "merge_states"}
"""Those that the ordinary step tries, from the beginning of a fit to its validation."""


def survived(tried: list[tuple[int, Place]], tmp_path: Path) -> None:
    finished, ended = survive(tried, run, tmp_path)
    assert ended == []
    assert len(finished) == len(tried)


def test_a_fault_at_some_steps_ends_no_run(tmp_path: Path) -> None:
    found = [place for place in places(tmp_path) if STEPS_OF_OURS.get(place.name) == place.file]
    survived([(number % 2, place) for number, place in enumerate(found) if place.name in OFTEN], tmp_path)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_layer_that_one_process_alone_can_not_read_ends_no_run(rank: int, tmp_path: Path) -> None:
    # the first parameter is left out in that process, and so the layers of the processes differ
    found = [place for place in places(tmp_path) if place.file == "probes/real_numbers.py" and place.name == "as_real"]
    assert len(found) == 1
    survived([(rank, place) for place in found], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_fault_at_any_kind_of_step_ends_no_run(rank: int, tmp_path: Path) -> None:
    found = [place for place in places(tmp_path) if STEPS_OF_OURS.get(place.name) == place.file]
    assert {place.name for place in found} == STEPS_OF_OURS.keys()
    survived([(rank, place) for place in found], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("call", [0, 2])
def test_a_fault_in_any_function_keeps_no_process_waiting(call: int, tmp_path: Path) -> None:
    everything = places(tmp_path)
    # some two seconds each: all of them take most of an hour
    ours = [place for place in everything if place.file.startswith("callbacks/")]
    others = [place for place in everything if not place.file.startswith("callbacks/")]
    tried = [
        (rank, place._replace(call=call))
        for rank in (0, 1)  # each has places of its own
        for place in [*ours[call + 12 * rank :: 24], *others[call + 48 * rank :: 96]]
    ]
    finished, ended = survive(tried, run, tmp_path)
    # a fault of what only counts, or of the hooks themselves, ends the run in all processes at once
    assert [(rank, place, trace) for rank, place, trace in ended if trace] == []
    assert len(finished) > 2 * len(tried) // 3


def run_sharded() -> int:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    monitor = ThermoMonitor("standard", window=8, steps_between_windows=0, curvature_every_n_steps=10)
    return len(fit(MAKERS["sharded"](), [monitor])["rows"])


TOGETHER = (
    "probes/curvature/",
    "probes/replay/",
    "probes/interrupts",
    "functional/curvature/",
    "callbacks/extra_passes/",
)
"""Where processes wait for each other in the passes of a sharded model."""


def sharded_places(rank: int, tmp_path: Path) -> list[Place]:
    found = in_processes(2, lambda _: [tuple(place) for place in called(run_sharded)], tmp_path)[rank]
    return [Place(*place) for place in found if str(place[0]).startswith(TOGETHER)]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_fault_between_the_passes_of_a_sharded_model_ends_no_run(rank: int, tmp_path: Path) -> None:
    names = ["_one_side"] if rank else ["isolated", "_vectors"]  # before a pass, and in the midst of a replay
    found = [place._replace(call=2 * rank) for place in sharded_places(rank, tmp_path) if place.name in names]
    assert len(found) == len(names)
    finished, ended = survive([(rank, place) for place in found], run_sharded, tmp_path)
    assert ended == []
    assert len(finished) == len(found)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_fault_in_any_function_of_a_sharded_model_s_passes_keeps_no_process_waiting(
    rank: int, tmp_path: Path
) -> None:
    places = sharded_places(rank, tmp_path)
    tried = [(rank, place._replace(call=3 * rank)) for place in places[rank::6]]
    finished, ended = survive(tried, run_sharded, tmp_path)
    assert [(place, trace) for _, place, trace in ended if trace] == []
    assert len(finished) > 2 * len(tried) // 3
