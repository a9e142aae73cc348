"""Files of settings beside a log, which may be anything."""

from __future__ import annotations

from pathlib import Path

LARGEST = 1_000_000
"""Bytes of a file of settings that is read."""


def read_small_file(path: Path, largest: int = LARGEST) -> tuple[bytes | None, str]:
    """Read a file of settings.

    Returns:
        Its content, None where it can't be had; and a sentence that says why, empty where there is no such file.
    """
    try:
        if not path.is_file():  # to open a pipe would wait for ever
            return None, f"{path.name} is no file, and is left out." if path.exists() else ""
        with path.open("rb") as stream:
            content = stream.read(largest + 1)
    except OSError as fault:
        return None, f"{path.name} can't be read ({fault.strerror})."
    if len(content) > largest:
        return None, f"{path.name} has more than {largest:,} bytes, and is left out."
    return content, ""
