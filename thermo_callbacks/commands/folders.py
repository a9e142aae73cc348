"""Checks of the folders that options name."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path


def prepare_folder(folder: Path, option: str) -> None:
    """Create a folder if need be, and check that files can be written to it."""
    try:
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{option} must be a folder, got {str(folder)!r}, which is a file: give another name")
        folder.mkdir(parents=True, exist_ok=True)
        # asking for the permissions is not enough: they say nothing of a file system that is mounted read-only
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as fault:
        if fault.errno == errno.ENAMETOOLONG:
            raise ValueError(
                f"{option} has a name of {len(str(folder))} signs, longer than this file system takes: give a "
                "shorter one"
            ) from fault
        raise ValueError(
            f"{option} {str(folder)!r} can't be written to ({fault.strerror}): give a folder that is yours to write"
        ) from fault
