"""Store finished runs on disk: one JSON file each, written atomically."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from thermo_callbacks.comparison.records import PathPoint, RunRecord, run_name

VERSION = 1
RUNS = "runs"
"""Folder of the runs in that of a comparison."""
RESULT = "result.json"


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
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != VERSION:
            raise ValueError(f"it has version {content['version']}, this package reads {VERSION}")
        return StoredRun(content["settings"], _record(content["record"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as fault:
        raise ValueError(
            f"directory holds a run that can't be read, {path} ({fault}): delete that file, and the run is repeated"
        ) from fault


def result_name(path: Path) -> str:
    """Name of the run whose result a file holds, whatever its version; empty if it holds none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
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


def _record(fields: dict[str, Any]) -> RunRecord:
    pairs = {
        kind: [(str(name), float(value)) for name, value in fields[kind]]
        for kind in ("work_efficiency", "learning_efficiency")
    }
    path = [PathPoint(int(step), float(entropy), float(temperature)) for step, entropy, temperature in fields["path"]]
    return RunRecord(**{**fields, **pairs, "path": path})
