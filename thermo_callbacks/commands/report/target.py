"""Output file of the page."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path

GENERATOR = "thermo-callbacks report"
"""What a page names as its maker."""
_SEAL = "\n<!-- {} wrote all above: {} -->\n"
_SEALED = re.compile(re.escape(_SEAL.format(GENERATOR, "@")).replace("@", "([0-9a-f]{64})").encode())
_SIZE = len(_SEAL.format(GENERATOR, "0" * 64))
_TOO_LONG = 200  # signs of a name that an error shows


def sealed(page: str) -> str:
    """A page with a last line that says whose it is, which no other and no changed page can have.

    Returns:
        The page with the seal, a comment.

    Example:
        >>> is_sealed(sealed("<p>").encode()), is_sealed(sealed("<p>").replace("<p>", "<b>").encode())
        (True, False)
    """
    return page + _SEAL.format(GENERATOR, hashlib.sha256(page.encode()).hexdigest())


def is_sealed(content: bytes) -> bool:
    """Whether a file is a page as it was written, by its seal."""
    seal = _SEALED.fullmatch(content[-_SIZE:])
    return seal is not None and hashlib.sha256(content[:-_SIZE]).hexdigest() == seal[1].decode()


def check_target(path: Path) -> None:
    """Make sure that a page may be written to a path."""
    try:
        if path.is_dir():
            raise ValueError(
                f"--out must be a file, got {str(path)!r}, which is a folder: give {str(path / 'report.html')!r}"
            )
        if path.suffix.lower() not in (".html", ".htm"):
            raise ValueError(f"--out must end in .html, got {str(path)!r}: give {str(path.with_suffix('.html'))!r}")
        if path.exists() and not path.is_file():  # to read a pipe would wait for ever
            raise ValueError(f"--out must be a file, got {str(path)!r}, which is none: give another name")
        if path.exists() and not is_sealed(path.read_bytes()):
            raise ValueError(
                f"--out {str(path)!r} exists and is no report of this program, or was changed since: give another name"
            )
    except OSError as fault:
        raise _refusal(path, fault) from fault


def write_page(path: Path, page: str) -> None:
    """Write a page all at once: a reader finds the old one or the new one, and never a part."""
    check_target(path)  # again: reading the logs took a while
    path = path.resolve()  # a link stays one
    try:
        file, name = tempfile.mkstemp(prefix=".report-", suffix=path.suffix, dir=path.parent)
        try:
            with os.fdopen(file, "w", encoding="utf-8") as stream:
                stream.write(sealed(page))
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(name, 0o666 & ~umask)  # mkstemp's files are the owner's alone
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as fault:
        raise _refusal(path, fault) from fault


def _refusal(path: Path, fault: OSError) -> ValueError:
    name = str(path)
    shown = repr(name) if len(name) <= _TOO_LONG else f"{name[:_TOO_LONG]!r}... of {len(name):,} signs"
    return ValueError(f"--out {shown} can't be written ({fault.strerror}): give another name")
