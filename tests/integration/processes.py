"""Fits in several processes that know of each other, forked from this one."""

from __future__ import annotations

import multiprocessing
import os
import socket
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def in_processes(count: int, work: Callable[[int], Any], folder: Path, *, seconds: float = 90.0) -> list[Any]:
    """Run a function in processes that Lightning takes for those of one launch.

    Args:
        count: Number of processes.
        work: Is given the rank, and returns what torch can save.
        folder: Where results are left.
        seconds: After this time the processes wait for each other, and are ended.

    Returns:
        What each process returned.

    Raises:
        TimeoutError: If time is up.
        RuntimeError: If a process failed, with its traceback.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_run, args=(rank, count, port, work, folder)) for rank in range(count)]
    for process in processes:
        process.start()
    end = time.monotonic() + seconds
    while any(process.is_alive() for process in processes):
        failed = any(process.exitcode not in {None, 0} for process in processes)
        if failed or time.monotonic() > end:
            for process in processes:
                process.kill()
            if not failed:
                raise TimeoutError("the processes wait for each other")
        time.sleep(0.02)
    faults = [path.read_text() for rank in range(count) if (path := folder / f"{rank}.txt").exists()]
    if faults:
        raise RuntimeError(faults[0])
    return [torch.load(folder / f"{rank}.pt") for rank in range(count)]


def _run(rank: int, count: int, port: int, work: Callable[[int], Any], folder: Path) -> None:
    os.environ.update(
        LOCAL_RANK=str(rank), NODE_RANK="0", WORLD_SIZE=str(count), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    torch.set_num_threads(1)
    status = 0
    try:
        torch.save(work(rank), folder / f"{rank}.pt")
        torch.distributed.destroy_process_group()
    except BaseException:
        (folder / f"{rank}.txt").write_text(traceback.format_exc())
        status = 1
    os._exit(status)  # nothing of the parent's, pytest's least of all, is to be wound up here
