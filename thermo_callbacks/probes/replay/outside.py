"""What a training step does outside of the program during a replay: refused before it happens, or put back."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from thermo_callbacks.probes.replay.object_types import is_own_code

Refuse = Callable[[str], None]
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# of what Python tells its audit hooks, what changes something outside; the first argument is a path or an address
_EVENTS = {
    "os.remove": "removes {}", "os.rename": "renames {}", "os.mkdir": "makes the folder {}",
    "os.rmdir": "removes the folder {}", "os.truncate": "cuts off {}", "os.link": "links {}", "os.symlink": "links {}",
    "os.system": "runs the command {}", "os.posix_spawn": "runs {}", "os.exec": "runs {}",
    "subprocess.Popen": "runs {}", "sqlite3.connect": "opens the database {}", "shutil.rmtree": "removes {}",
    "socket.connect": "opens a connection", "socket.sendto": "sends a message", "urllib.Request": "asks {}",
}  # fmt: skip
_COMPILERS = ("importlib", "triton", "numba", "torch._inductor", "torch._dynamo", "torch.utils.cpp_extension")
_refusing: dict[int, Refuse] = {}  # by the thread that replays


@contextlib.contextmanager
def nothing_outside(refuse: Refuse) -> Iterator[None]:
    """Refuse that this thread writes files, runs programs or sends messages, and put the environment back.

    What code in C does by itself is not seen, and neither is what goes through a file that is open already.
    """
    environment = dict(os.environ)
    try:
        with heard_outside(refuse):
            yield
    finally:
        if dict(os.environ) != environment:
            for name in os.environ.keys() - environment.keys():
                del os.environ[name]
            os.environ.update(environment)


@contextlib.contextmanager
def heard_outside(hear: Refuse) -> Iterator[None]:
    """Hear of all that :func:`nothing_outside` would refuse, and let it happen."""
    _listen()
    thread = threading.get_ident()
    _refusing[thread] = hear
    try:
        yield
    finally:
        del _refusing[thread]


@contextlib.contextmanager
def silent_output() -> Iterator[None]:
    """Have this thread print nothing."""
    output = sys.stdout
    sys.stdout = _Silent(output)
    try:
        yield
    finally:
        sys.stdout = output


class _Silent:
    """Standard output that takes what one thread prints and passes on what others do."""

    def __init__(self, output: Any) -> None:
        self._output, self._thread = output, threading.get_ident()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._output, name)

    def write(self, text: str) -> int:
        """Write, in other threads."""
        return len(text) if threading.get_ident() == self._thread else self._output.write(text)


@functools.cache
def _listen() -> None:
    sys.addaudithook(_hear)  # for good: Python has no way to take it away, which is why there is one for all replays


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if not _refusing:
        return
    refuse = _refusing.get(threading.get_ident())
    if refuse is None:
        return
    if event == "open":
        path, mode, flags = arguments
        writes = any(sign in mode for sign in "wax+") if isinstance(mode, str) else bool((flags or 0) & _WRITING)
        if writes and path != os.devnull and not _compiling():
            refuse(f"it opens {path} to write to it")
    elif (text := _EVENTS.get(event)) is not None and not _compiling():
        refuse("it " + text.format(arguments[0] if arguments else ""))


def _compiling() -> bool:
    """Whether a compiler is at work, whose caches are no trace of the step."""
    frame = sys._getframe(1)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.startswith(_COMPILERS):
            return True
        if is_own_code(name):
            return False
        frame = frame.f_back  # type: ignore[assignment]
    return False
