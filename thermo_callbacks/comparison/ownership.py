"""Files and folders that a comparison may replace: those that it made itself."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from thermo_callbacks.comparison.storage import RESULT, RUNS, is_result, run_folder
from thermo_callbacks.comparison.written_files import FILES, MARKER, claim, is_own, refusal, replaces


def mark(folder: Path) -> None:
    """Say of a run's folder that a comparison made it; it is created if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()


def is_own_run(folder: Path) -> bool:
    """Whether a comparison made a folder of a run: it holds the marker, or, from before there was one, its result."""
    if folder.is_symlink():
        return False
    return (folder / MARKER).is_file() or is_result(folder / RESULT)


def clear_run(folder: Path) -> None:
    """Make a run's folder afresh, in the place of what an unfinished run of a comparison left."""
    if is_own_run(folder):
        shutil.rmtree(folder, ignore_errors=True)
    elif _holds(folder):
        raise refusal(folder.parent.parent, folder.relative_to(folder.parent.parent))
    mark(folder)


@contextlib.contextmanager
def held(directory: Path, names: Sequence[str]) -> Iterator[None]:
    """Hold a folder for one comparison, and refuse one in which it would replace what it did not make."""
    with contextlib.ExitStack() as stack:
        try:
            _refuse_strangers(directory, names)  # before the lock, which is a file: a refused folder stays as it is
            directory.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(directory / f"{MARKER}.lock", timeout=0))
            unfinished = _refuse_strangers(directory, names)  # again, now that no other comparison can write
            claim(directory)
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


def forget_runs(directory: Path, names: Sequence[str] = ()) -> None:
    """Delete the runs of a comparison; what stands beside them and no comparison made stays.

    Args:
        directory: Folder of the comparison.
        names: Runs that are to be made next. If one can't be made in this folder, nothing is deleted.
    """
    with held(directory, names):  # runs that go on right now are nobody's to delete
        for folder in (directory / RUNS).glob("*"):
            if is_own_run(folder):
                shutil.rmtree(folder)


def _refuse_strangers(directory: Path, names: Sequence[str]) -> list[Path]:
    """Refuse a folder that holds what a comparison would replace and did not make; gives runs that were broken off."""
    if (directory / RUNS).exists() and not (directory / RUNS).is_dir():
        raise refusal(directory, RUNS)
    unfinished = _unfinished_runs(directory)
    for run in (run_folder(directory, name) for name in names):
        if _holds(run) and not is_own_run(run) and run not in unfinished:
            raise refusal(directory, run.relative_to(directory))
    for name in FILES:
        if reason := replaces(directory, name):
            raise refusal(directory, name, reason)
    return unfinished


def _holds(folder: Path) -> bool:
    """Whether a path is there and more than an empty folder."""
    if folder.is_symlink():
        return True
    return folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))


def _unfinished_runs(directory: Path) -> list[Path]:
    """Runs that were broken off in a comparison from before the marker: a log, and no result."""
    if (directory / MARKER).is_file() or not is_own(directory):
        return []
    folders = [folder for folder in (directory / RUNS).glob("*") if folder.is_dir() and not is_own_run(folder)]
    return [folder for folder in folders if _holds(folder) and all(_is_log(path) for path in folder.iterdir())]


def _is_log(path: Path) -> bool:
    return path.name in ("hparams.yaml", "error.txt") or path.name.startswith("events.out.tfevents")
