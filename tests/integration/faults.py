"""Faults of the package's own functions in one of several processes, one after the other."""

from __future__ import annotations

import faulthandler
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import torch
from integration.processes import in_processes

import thermo_callbacks

PACKAGE = Path(thermo_callbacks.__file__).parent


class Place(NamedTuple):
    """A function of the package, by its file and first line; and which of its calls fails, from 0."""

    file: str
    line: int
    name: str
    call: int = 0


def place_of(code: CodeType) -> Place | None:
    """The function of the package that some code is; None for any other code, and for parts of functions."""
    path = code.co_filename
    if not path.startswith(str(PACKAGE)) or code.co_name.startswith("<"):
        return None
    return Place(str(Path(path).relative_to(PACKAGE)), code.co_firstlineno, code.co_name)


@contextmanager
def tracing(trace: Callable[[FrameType, str, Any], Any]) -> Iterator[None]:
    """Have this thread traced, and then as before."""
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


@contextmanager
def traced(hear: Callable[[Place], None]) -> Iterator[None]:
    """Tell of each call of the package's functions; an exception that is raised then is one of the function."""

    def trace(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and (place := place_of(frame.f_code)) is not None:
            hear(place)

    with tracing(trace):
        yield


def called(work: Callable[[], Any]) -> dict[Place, int]:
    """How often each function of the package is called."""
    counts: dict[Place, int] = {}

    def hear(place: Place) -> None:
        counts[place] = counts.get(place, 0) + 1

    with traced(hear):
        work()
    return counts


@contextmanager
def failing(place: Place) -> Iterator[list[Place]]:
    """Let one call of a function fail, and tell whether it came to that."""
    met: list[Place] = []
    calls = 0

    def hear(heard: Place) -> None:
        nonlocal calls
        if heard == place._replace(call=0):
            calls += 1
            if calls > place.call:
                met.append(place)
                raise RuntimeError(f"lost in {place.name}")

    with traced(hear):
        yield met


@contextmanager
def _time_limit(seconds: int, told: Path) -> Iterator[None]:
    """End the process when time is up, and write down where it stood: it waits in code that no signal interrupts."""
    with told.open("w") as file:
        faulthandler.dump_traceback_later(seconds, exit=True, file=file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


def survive(
    places: Sequence[tuple[int, Place]], run: Callable[[], Any], folder: Path, *, seconds: int = 15
) -> tuple[list[Any], list[tuple[int, Place, str]]]:
    """Run once for each place in two processes, with a fault there in the one of that rank.

    Returns:
        What the first process gave in the runs that both have finished, and the places at which a run ended early: with
        where the processes waited for each other, or with nothing where one of them raised.
    """
    finished: list[Any] = []
    ended: list[tuple[int, Place, str]] = []
    while len(finished) + len(ended) < len(places):
        left = places[len(finished) + len(ended) :]
        for file in folder.iterdir():
            file.unlink()
        try:
            in_processes(2, lambda rank, left=left: _try_all(left, rank, run, folder, seconds), folder, seconds=3600.0)
        except (RuntimeError, FileNotFoundError):
            done = min(_results(folder, rank, len(left)) for rank in range(2))
        else:
            done = len(left)
        finished += [torch.load(folder / f"0-{place}.run") for place in range(done)]
        if done < len(left):
            waited = [path.read_text() for path in sorted(folder.glob("*.trace"))]
            ended.append((*left[done], "\n".join(text for text in waited if "Timeout" in text)))
    return finished, ended


def _results(folder: Path, rank: int, most: int) -> int:
    return next((place for place in range(most) if not (folder / f"{rank}-{place}.run").exists()), most)


def _try_all(
    places: Sequence[tuple[int, Place]], rank: int, run: Callable[[], Any], folder: Path, seconds: int
) -> None:
    for number, (owner, place) in enumerate(places):
        with warnings.catch_warnings(action="ignore"), _time_limit(seconds, folder / f"{rank}.trace"):
            if rank == owner:
                with failing(place) as met:
                    run()
                result = bool(met)
            else:
                result = run()
        torch.save(result, folder / f"{rank}-{number}.run")
        with _time_limit(seconds, folder / f"{rank}.trace"):
            torch.distributed.barrier()  # what ends one run is not to end the other process's run before it
