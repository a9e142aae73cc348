"""Files and folders that a comparison may replace: those that it made itself."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from thermo_callbacks.comparison.storage import RESULT, RUNS, is_result, run_folder

MARKER = ".thermo-comparison"
"""Empty file that says of a folder: a comparison made it."""
FILES = ("runs.csv", "summary.csv", "report.md", "figure.png")
"""Files that a comparison writes beside its runs."""


def mark(folder: Path) -> None:
    """Say of a folder that a comparison made it; it is created if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()


def is_own_run(folder: Path) -> bool:
    """Whether a comparison made a folder of a run: it holds the marker, or, from before there was one, a result."""
    return (folder / MARKER).is_file() or is_result(folder / RESULT)


@contextlib.contextmanager
def held(directory: Path, names: Sequence[str]) -> Iterator[None]:
    """Hold a folder for one comparison, and refuse one in which it would replace what it did not make."""
    unfinished = _unfinished_runs(directory)
    runs = [run_folder(directory, name) for name in names]
    strangers = [run for run in runs if _holds(run) and not is_own_run(run) and run not in unfinished]
    if not _is_own(directory):
        strangers += [directory / name for name in FILES if (directory / name).exists()]
    if strangers:
        raise ValueError(
            f"directory {str(directory)!r} holds {strangers[0].relative_to(directory)}, which no comparison made and "
            "this one would replace: give another directory, or move that away"
        )
    with contextlib.ExitStack() as stack:
        try:
            mark(directory)
            stack.enter_context(FileLock(directory / f"{MARKER}.lock", timeout=0))
            for folder in unfinished:
                mark(folder)
        except Timeout as fault:
            raise ValueError(
                f"directory {str(directory)!r} is in use by another comparison: wait for its end, or give another "
                "directory"
            ) from fault
        except (OSError, NotImplementedError) as fault:
            raise ValueError(
                f"directory {str(directory)!r} must be one that can be written to and locked, got {fault!r}: give "
                "another directory"
            ) from fault
        yield


def forget_runs(directory: Path) -> None:
    """Delete the runs of a comparison; what stands beside them and no comparison made stays."""
    with held(directory, ()):  # runs that go on right now are nobody's to delete
        for folder in (directory / RUNS).glob("*"):
            if is_own_run(folder):
                shutil.rmtree(folder)


def _holds(folder: Path) -> bool:
    """Whether a path is there and more than an empty folder."""
    return folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))


def _unfinished_runs(directory: Path) -> list[Path]:
    """Runs that were broken off in a comparison from before the marker: a log, and no result."""
    if (directory / MARKER).is_file() or not _is_own(directory):
        return []
    folders = [folder for folder in (directory / RUNS).glob("*") if folder.is_dir() and not is_own_run(folder)]
    return [folder for folder in folders if _holds(folder) and all(_is_log(path) for path in folder.iterdir())]


def _is_log(path: Path) -> bool:
    return path.name in ("hparams.yaml", "error.txt") or path.name.startswith("events.out.tfevents")


def _is_own(directory: Path) -> bool:
    """Whether a comparison was made in a folder."""
    return (directory / MARKER).is_file() or any(map(is_result, (directory / RUNS).glob(f"*/{RESULT}")))
