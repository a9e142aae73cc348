"""Two processes with different numbers of windows read what one process with all windows reads."""

from __future__ import annotations

import multiprocessing
import traceback
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from metric_cases import CASES, MetricCase, window_steps
from torch import Tensor, distributed
from torchmetrics.utilities.exceptions import TorchMetricsUserError

RANKS = (0, 1)
WINDOWS = {0: (window_steps(1), window_steps(2, steps=12), window_steps(3)), 1: (window_steps(4, steps=30),)}
LATER = {0: (), 1: (window_steps(5), window_steps(6))}  # windows of a second round
DEADLINE = 60.0  # seconds; takes one or two

Readings = dict[str, Tensor]

# Python 3.12 warns of forks beside threads; the children below use none of the parent's
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def add(case: MetricCase, metric: Any, windows: Any) -> None:
    """Windows, one by one."""
    for steps in windows:
        metric.update(**case.feed(steps))


def read(metric: Any) -> Readings:
    """All that a metric says, layers first: compute() keeps its value, and the others must not need that."""
    readings = {"layers": metric.compute_layers(), "global": metric.compute()}
    if hasattr(metric, "estimate"):
        for name, estimate in (("estimate", metric.estimate()), ("layers", metric.estimate_layers())):
            readings |= {f"{name} {field}": value for field, value in estimate._asdict().items()}
    return readings | {"layers again": metric.compute_layers(), "global again": metric.compute()}


def local(metric: Any) -> Readings:
    """The states of this process."""
    assert not metric._is_synced
    return {name: state.clone() for name, state in metric.metric_state.items()}


def read_by_hand(metric: Any) -> Readings:
    """The layers inside a synchronisation of the user's own, which stays the user's to end."""
    metric.sync()
    readings = {"layers": metric.compute_layers(), "layers again": metric.compute_layers()}
    assert metric._is_synced
    metric.unsync()
    with pytest.raises(TorchMetricsUserError, match="already been un-synced"):
        metric.unsync()
    return readings


def rank_readings(case: MetricCase, rank: int) -> dict[str, Readings]:
    """What one of the processes reads at all stages."""
    metric, lonely = case.build(), case.build()
    add(case, metric, WINDOWS[rank])
    readings = {"before": local(metric), "first": read(metric), "after": local(metric), "by hand": read_by_hand(metric)}
    add(case, metric, LATER[rank])
    readings["second"] = read(metric)
    metric.reset()
    add(case, lonely, WINDOWS[1] if rank == 1 else ())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*was called before the ``update`` method")  # true of rank 0
        readings["lonely"] = read(lonely)
    return readings | {"reset": local(metric)}


def run_rank(rank: int, folder: Path) -> None:
    """Body of a process."""
    try:
        distributed.init_process_group(
            "gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2, timeout=timedelta(seconds=20)
        )
        readings = {case.name: rank_readings(case, rank) for case in CASES}
        distributed.destroy_process_group()
        torch.save(readings, folder / f"{rank}.pt")
    except BaseException:
        (folder / f"{rank}.txt").write_text(traceback.format_exc())
        raise


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Readings]]]:
    """Readings of both processes, by case and stage."""
    folder = tmp_path_factory.mktemp("ranks")
    context = multiprocessing.get_context("fork")  # a fresh interpreter would spend seconds on imports
    processes = [context.Process(target=run_rank, args=(rank, folder), daemon=True) for rank in RANKS]
    for process in processes:
        process.start()
    for process in processes:
        process.join(DEADLINE)
    hung = [process.pid for process in processes if process.is_alive()]
    for process in processes:
        process.kill()
    failures = [file.read_text() for file in folder.glob("*.txt")]
    assert not hung and not failures, (hung, *failures)  # noqa: PT018 one message with both
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in RANKS]


def single(case: MetricCase, *rounds: dict[int, Any]) -> Readings:
    """What one process reads that has the windows of both."""
    metric = case.build()
    for windows in rounds:
        for rank in RANKS:
            add(case, metric, windows[rank])
    return read(metric)


def assert_equal_readings(actual: Readings, expected: Readings) -> None:
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(actual[name], value, rtol=1e-12, atol=0.0), name
        assert value.isfinite().all(), name


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
class TestRanks:
    def test_read_the_windows_of_all(self, ranks: Any, case: MetricCase, rank: int) -> None:
        assert_equal_readings(ranks[rank][case.name]["first"], single(case, WINDOWS))

    def test_go_on_from_their_own_states(self, ranks: Any, case: MetricCase, rank: int) -> None:
        readings = ranks[rank][case.name]
        assert readings["before"].keys() == readings["after"].keys()
        for name, state in readings["before"].items():
            assert torch.equal(readings["after"][name], state), name
        assert_equal_readings(readings["second"], single(case, WINDOWS, LATER))

    def test_leave_a_synchronisation_by_hand_to_its_user(self, ranks: Any, case: MetricCase, rank: int) -> None:
        readings, expected = ranks[rank][case.name]["by hand"], single(case, WINDOWS)
        assert_equal_readings(readings, {name: expected[name] for name in readings})

    def test_may_have_no_window(self, ranks: Any, case: MetricCase, rank: int) -> None:
        assert_equal_readings(ranks[rank][case.name]["lonely"], single(case, {0: (), 1: WINDOWS[1]}))

    def test_reset_alone(self, ranks: Any, case: MetricCase, rank: int) -> None:
        assert not any(state.any() for state in ranks[rank][case.name]["reset"].values())
