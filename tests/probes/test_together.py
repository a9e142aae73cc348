"""A block that several processes work in ends in all of them where it fails in one, whenever that is."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import torch
from integration.processes import in_processes

from thermo_callbacks.probes.sharding import sum_over_processes
from thermo_callbacks.probes.together import FailedElsewhereError, Together

pytestmark = [
    pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of torch knows no processes"),
    pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning"),
]
PLACES = 5


def work(rank: int, owner: int, fails: int) -> tuple[list[float], str]:
    """Sums that both have made, and how it ended, with a fault at one of the places in one process."""
    device, sums = torch.device("cpu"), []

    def may_fail(place: int) -> None:
        if (rank, place) == (owner, fails):
            raise ValueError("lost")

    def total() -> None:
        sums.append(sum_over_processes(torch.ones(3), device).sum().item())

    together, ended = Together(device), "well"
    try:
        with together:
            may_fail(0)
            together.point()
            total()
            may_fail(1)
            with together.pass_:
                total()
                may_fail(2)
            may_fail(3)
            together.point()
            total()
            may_fail(4)
    except (ValueError, FailedElsewhereError) as fault:
        ended = str(fault)
    sums.append(sum_over_processes(torch.ones(1), device).item())  # of what both do then, nothing was taken away
    return sums, ended


def all_places(rank: int) -> list[tuple[list[float], str]]:
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    return [work(rank, owner, fails) for owner in (0, 1) for fails in range(PLACES + 1)]


def test_all_end_where_one_fails(tmp_path: Path) -> None:
    first, second = in_processes(2, all_places, tmp_path, seconds=30.0)
    made = [0, 1, 2, 2, 3, 3]
    for number, ((sums, ended), (others, reason)) in enumerate(zip(first, second, strict=True)):
        owner, fails = divmod(number, PLACES + 1)
        assert sums == others == [6.0] * made[fails] + [2.0]
        well = fails == PLACES
        assert (reason, ended)[owner == 0] == ("well" if well else "lost")
        assert (ended, reason)[owner == 0] == ("well" if well else "it failed in another process")


def test_an_interrupt_is_told_to_nobody() -> None:
    with contextlib.suppress(KeyboardInterrupt), Together(torch.device("cpu")):
        raise KeyboardInterrupt  # without processes there would be an error
