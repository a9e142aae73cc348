"""Output file of the page."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

GENERATOR = "thermo-callbacks report"
"""What a page names as its maker: a file without it is not overwritten."""
_HEAD = 2000  # characters of a page within which that stands


def check_target(path: Path) -> None:
    """Make sure that a page may be written to a path."""
    if path.is_dir():
        raise ValueError(
            f"--out must be a file, got {str(path)!r}, which is a folder: give {str(path / 'report.html')!r}"
        )
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--out must end in .html, got {str(path)!r}: give {str(path.with_suffix('.html'))!r}")
    if path.exists() and GENERATOR not in path.read_bytes()[:_HEAD].decode("utf-8", "replace"):
        raise ValueError(f"--out {str(path)!r} exists and is no report of this program: give another name")


def write_page(path: Path, page: str) -> None:
    """Write a page all at once: a reader finds the old one or the new one, and never a part."""
    file, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    try:
        with os.fdopen(file, "w", encoding="utf-8") as stream:
            stream.write(page)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)  # mkstemp's files are the owner's alone
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
