"""Transition temperature over two processes with different numbers of samples."""

from __future__ import annotations

import multiprocessing
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed
from torch.testing import assert_close
from transition_states import GAUSSIAN, PAIRS, fed

from thermo_callbacks.metrics import TransitionTemperature

# Python 3.12 warns of forks beside threads; the children below use none of the parent's
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
SPLITS = (slice(0, 700), slice(700, 1000))


def run_rank(rank: int, folder: Path) -> None:
    """Body of a process, which has its share of the samples."""
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2, timeout=timedelta(seconds=20)
    )
    readings = {}
    for name, make in PAIRS.items():
        share = [tuple(part[SPLITS[rank]] for part in state) for state in make(0)]
        metric = fed(share, batches=rank + 2)
        local = metric.totals.clone()
        readings[name] = [metric.compute(), *metric.estimate(), metric.record("final").totals[2], metric.compute()]
        assert metric.reason() is None
        assert torch.equal(metric.totals, local)
        readings[f"{name}, some"] = list(fed(share, max_residuals=400).estimate())
    lonely = TransitionTemperature()
    if rank:
        fed(PAIRS["regression"](0), metric=lonely)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*was called before the ``update`` method")  # true of rank 0
        readings["lonely"] = [lonely.compute(), lonely.estimate().value]
    distributed.destroy_process_group()
    torch.save(readings, folder / f"{rank}.pt")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[Tensor]]]:
    """Readings of both processes."""
    folder = tmp_path_factory.mktemp("ranks")
    context = multiprocessing.get_context("fork")  # a fresh interpreter would spend seconds on imports
    processes = [context.Process(target=run_rank, args=(rank, folder), daemon=True) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60.0)
        process.kill()
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


@forks
class TestRanks:
    """Two processes with different numbers of samples read what one process with all of them reads."""

    @pytest.mark.parametrize("name", PAIRS)
    def test_all_samples(self, ranks: Any, name: str) -> None:
        alone = fed(PAIRS[name](0))
        expected = [alone.compute(), *alone.estimate(), torch.tensor(1000.0).double(), alone.compute()]
        for readings in ranks:
            assert_close(torch.stack(readings[name]), torch.stack(expected), rtol=1e-9, atol=0.0)

    def test_some_residuals_are_a_sample_of_all(self, ranks: Any) -> None:
        first, second = (torch.stack(readings["regression, some"]) for readings in ranks)
        assert torch.equal(first, second)
        assert abs(first[0] - GAUSSIAN) < 4.0 * first[1]
        assert first[1] > ranks[0]["regression"][2]  # 400 of 1000 residuals say less

    def test_a_process_may_have_no_sample(self, ranks: Any) -> None:
        for readings in ranks:
            expected = fed(PAIRS["regression"](0)).compute()
            assert_close(torch.stack(readings["lonely"]), expected.expand(2), rtol=1e-9, atol=0.0)
