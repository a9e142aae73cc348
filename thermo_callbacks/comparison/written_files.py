"""Tables and figure of a comparison: replaced only while they are as a comparison wrote them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from thermo_callbacks.comparison.storage import RESULT, RUNS, is_result, write_bytes

MARKER = ".thermo-comparison"
"""File that says of a folder: a comparison made it. That of a comparison lists the digests of the files beside it."""
FILES = ("runs.csv", "summary.csv", "report.md", "figure.png")
"""Files that a comparison writes beside its runs."""
_NOT_OURS = "which no comparison made and this one would replace"
_CHANGED = "which is no longer as a comparison wrote it and this one would replace"


def is_own(directory: Path) -> bool:
    """Whether a comparison was made in a folder."""
    return (directory / MARKER).is_file() or any(map(is_result, (directory / RUNS).glob(f"*/{RESULT}")))


def claim(directory: Path, contents: Mapping[str, bytes] | None = None) -> None:
    """Say of a folder that a comparison is made in it, and which files it is about to write there.

    A file's digest is noted before it is written: whenever the comparison is killed, what it left is known as its own.
    """
    known = _known(directory)
    notes = {
        name: sorted({_digest(each) for each in (_read(directory / name), (contents or {}).get(name)) if each})
        for name in FILES
        if name in known or name in (contents or {})
    }
    write_bytes(directory / MARKER, json.dumps({"files": notes}, indent=1).encode() + b"\n")


def write_files(directory: Path, contents: Mapping[str, bytes]) -> None:
    """Write files of a comparison, each whole or not at all; none if one would replace what no comparison wrote."""
    for name in contents:
        if reason := replaces(directory, name):
            raise refusal(directory, name, reason)
    claim(directory, contents)
    for name, content in contents.items():
        write_bytes(directory / name, content)


def replaces(directory: Path, name: str) -> str:
    """Why a comparison may not write a file; empty if it may."""
    path = directory / name
    if not path.exists() and not path.is_symlink():
        return ""
    if not path.is_file() or path.is_symlink():
        return _NOT_OURS
    known = _known(directory)
    if name not in known:
        return _NOT_OURS
    return "" if _digest(path.read_bytes()) in known[name] else _CHANGED


def refusal(directory: Path, what: object, reason: str = _NOT_OURS) -> ValueError:
    """The error that names what stands in the way, with the cure."""
    return ValueError(f"directory {str(directory)!r} holds {what}, {reason}: give another directory, or move that away")


def _known(directory: Path) -> dict[str, list[str]]:
    """Digests of the files that comparisons wrote into a folder."""
    try:
        text = (directory / MARKER).read_text(encoding="utf-8")
    except (OSError, ValueError):
        text = ""
    if not text:  # from before digests were noted
        return _recognised(directory) if is_own(directory) else {}
    try:
        files = json.loads(text)["files"]
        return {name: list(map(str, digests)) for name, digests in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _recognised(directory: Path) -> dict[str, list[str]]:
    """Files in a folder of a comparison that say by their content that it wrote them."""
    contents = {name: _read(directory / name) or b"" for name in FILES}
    looks: dict[str, Callable[[bytes], bool]] = {
        "runs.csv": lambda text: text.startswith(b"activation,seed,engine,status,message,val_loss_best,"),
        "summary.csv": lambda text: text.startswith(b"activation,engine,runs,finished,val_loss_best,"),
        "report.md": _is_report,
        # a picture does not say whose it is; ours was written right after the report that shows it
        "figure.png": lambda _: _is_report(contents["report.md"]),
    }
    return {name: [_digest(text)] for name, text in contents.items() if text and looks[name](text)}


def _is_report(text: bytes) -> bool:
    return text.startswith(b"# Activations compared\n") and text.rstrip().endswith(b"![](figure.png)")


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
