"""Training steps that exchange something with the other processes, and a fault of ours in one of these."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from integration.faults import Place, called, survive
from integration.models import RecordingLogger, quiet_trainer
from integration.processes import in_processes
from integration.test_faults_in_processes import Validated
from torch import Tensor, distributed
from torchmetrics import MeanMetric

from thermo_callbacks import ThermoMonitor

pytestmark = [
    pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of torch knows no processes"),
    pytest.mark.filterwarnings("ignore"),  # what runs say in processes of their own is looked at by itself
]
REFUSED = {"thermo/laplacian", "thermo/sharpness", "thermo/step_efficiency", "thermo/complexity"}
EXPECTED = {"thermo/temperature", "thermo/work_efficiency"}


class Exchanging(Validated):
    """Its step does one more thing with the outputs, which gives a term of the loss."""

    def __init__(self, exchange: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.exchange = exchange
        self.metric = MeanMetric()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        outputs = self.net(batch[0])
        return (outputs - batch[1]).square().mean() + 0.1 * self.exchange(self, outputs)


def gather(module: Any, outputs: Tensor) -> Tensor:
    return (outputs - module.all_gather(outputs).mean(0).reshape_as(outputs)).square().mean()


def gather_with_gradients(module: Any, outputs: Tensor) -> Tensor:
    return (outputs - module.all_gather(outputs, sync_grads=True).mean(0).reshape_as(outputs)).square().mean()


def reduce(module: Any, outputs: Tensor) -> Tensor:
    total = outputs.detach().clone()
    distributed.all_reduce(total)
    return (outputs - 0.5 * total).square().mean()


def strategy_reduce(module: Any, outputs: Tensor) -> Any:
    return (outputs.mean() - module.trainer.strategy.reduce(outputs.detach().mean())) ** 2


def compute_a_metric(module: Any, outputs: Tensor) -> Any:
    module.metric.update(outputs.detach())
    return float(module.metric.compute() > 100.0)


def barrier(module: Any, outputs: Tensor) -> float:
    module.trainer.strategy.barrier()
    return 0.0


def log_over_processes(module: Any, outputs: Tensor) -> float:
    module.log("loss", outputs.mean(), sync_dist=True)
    module.log("metric", module.metric)
    return 0.0


STEPS = [gather, gather_with_gradients, reduce, strategy_reduce, compute_a_metric, barrier, log_over_processes]


def fit(exchange: Callable[[Any, Tensor], Any], *, watched: bool = True) -> dict[str, Any]:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    module, logger = Exchanging(exchange), RecordingLogger()
    monitors = [ThermoMonitor("full", window=8, steps_between_windows=0, curvature_every_n_steps=6)] * watched
    options = {"strategy": "ddp", "devices": 2, "use_distributed_sampler": False, "limit_val_batches": 0}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        quiet_trainer(callbacks=monitors, logger=logger, **options).fit(module)
    return {
        "tags": sorted({tag for _, row in logger.thermo_rows for tag in row}),
        "said": [str(each.message) for each in said if "switched off" in str(each.message)],
        "weights": module.state_dict(),
    }


def test_steps_that_exchange_are_refused_and_those_that_log_are_not(tmp_path: Path) -> None:
    results = in_processes(2, lambda _: [(fit(step), fit(step, watched=False)) for step in STEPS], tmp_path)
    for rank, runs in enumerate(results):
        for step, (seen, bare) in zip(STEPS, runs, strict=True):
            for name, value in bare["weights"].items():
                assert torch.equal(value, seen["weights"][name]), (step, name)
            if rank == 0:
                measured = step is log_over_processes
                assert set(seen["tags"]) >= EXPECTED | (REFUSED if measured else set())
                assert measured or not REFUSED & set(seen["tags"])
                assert len(seen["said"]) == (0 if measured else 1)
                assert all("it exchanges something with other processes (" in text for text in seen["said"])
                assert all("give loss_fn" in text for text in seen["said"])


def test_a_fault_in_the_midst_of_a_replay_leaves_nobody_waiting_in_the_step(tmp_path: Path) -> None:
    def run() -> list[str]:
        return fit(gather_with_gradients)["tags"]

    first, _ = in_processes(2, lambda _: [tuple(place) for place in called(run)], tmp_path)
    inside = [Place(*place) for place in first if str(place[0]).startswith("probes/replay/")]
    tried = [(rank, place) for rank in (0, 1) for place in inside if place.name in {"silence_logging", "restore"}]
    assert len(tried) == 4
    finished, ended = survive(tried, run, tmp_path)
    assert ended == []
    assert len(finished) == 4


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_fault_in_any_function_of_a_replay_leaves_nobody_waiting_in_the_step(rank: int, tmp_path: Path) -> None:
    def run() -> list[str]:
        return fit(gather_with_gradients)["tags"]

    found = in_processes(2, lambda _: [tuple(place) for place in called(run)], tmp_path)[rank]
    inside = [Place(*place) for place in found if str(place[0]).startswith("probes/replay/")]
    assert len(inside) > 50
    tried = [(rank, place) for place in inside[rank::2]]
    finished, ended = survive(tried, run, tmp_path)
    # a fault of what stands in the place of the run's own step for a moment ends the run in all processes at once
    assert [(place, trace) for _, place, trace in ended if trace] == []
    assert len(finished) > 9 * len(tried) // 10
