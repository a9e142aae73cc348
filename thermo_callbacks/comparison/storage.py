"""Store finished runs on disk: one JSON file each, written atomically."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from thermo_callbacks.comparison.records import RunRecord, run_name
from thermo_callbacks.comparison.stored_records import record_in, settings_in

VERSION = 1
RUNS = "runs"
"""Folder of the runs in that of a comparison."""
RESULT = "result.json"
_LARGEST = 100_000_000  # bytes of a result: far more than a run has


class StoredRun(NamedTuple):
    """Stored record of a run.

    Attributes:
        settings: Readable description of all that the run depends on, by topic.
    """

    settings: Mapping[str, str]
    record: RunRecord


def run_folder(directory: Path, name: str) -> Path:
    """Folder of a run's files."""
    return directory / RUNS / name


def write_text(path: Path, text: str) -> None:
    """Write a text as :func:`write_bytes` does."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically, by moving it to its place; its folder is created if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_run(folder: Path, stored: StoredRun) -> None:
    """Store a run."""
    content = {"version": VERSION, "settings": dict(stored.settings), "record": asdict(stored.record)}
    write_text(folder / RESULT, json.dumps(content, indent=1) + "\n")


def read_run(folder: Path) -> StoredRun | None:
    """Read a run; None if it has not ended yet."""
    path = folder / RESULT
    try:
        content = _read(path)
        if content["version"] != VERSION:
            raise ValueError(f"it has version {content['version']!r:.40}, this package reads {VERSION}")
        stored = StoredRun(settings_in(content["settings"]), record_in(content["record"]))
        if stored.record.name != folder.name:
            raise ValueError(f"it is that of the run {stored.record.name:.80}")
        return stored
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        reason = f"it lacks {fault}" if isinstance(fault, KeyError) else getattr(fault, "strerror", None) or fault
        raise ValueError(
            f"directory holds a run that can't be read, {path} ({reason}): delete that file, and the run is repeated"
        ) from fault


def _read(path: Path) -> Any:
    if path.exists() and not path.is_file():  # to read a pipe would wait for ever
        raise ValueError("it is no file")
    if path.exists() and path.stat().st_size > _LARGEST:
        raise ValueError(f"it has more than {_LARGEST:,} bytes")
    return json.loads(path.read_text(encoding="utf-8"))


def result_name(path: Path) -> str:
    """Name of the run whose result a file holds, whatever its version; empty if it holds none."""
    try:
        content = _read(path)
    except (OSError, ValueError, RecursionError):
        return ""
    if not isinstance(content, dict) or content.keys() != {"version", "settings", "record"}:
        return ""
    record = content["record"]
    if not isinstance(record, dict) or not {"activation", "seed", "status", "values"} <= record.keys():
        return ""
    return run_name(record["activation"], record["seed"])


def is_result(path: Path) -> bool:
    """Whether a file is what the run of its folder came to."""
    return result_name(path) == path.parent.name
