"""Fits that are watched in other threads of this process: they share random streams, modes and global variables."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

_PATIENCE = 60.0  # seconds; a fit that another one's step starts and waits for must not wait for that one


class _Fit(NamedTuple):
    thread: threading.Thread
    running: Callable[[], bool]

    @property
    def goes_on(self) -> bool:
        return self.thread.is_alive() and self.running()


class _Depth(threading.local):
    """How many blocks of :func:`undisturbed` this thread is in that are so."""

    blocks = 0


_fits: list[_Fit] = []
_HERE = _Depth()
_lock = threading.RLock()


def _begin_anew() -> None:
    """A forked process has one thread, and none that would let the lock go."""
    global _lock
    _fits.clear()
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_begin_anew)


def enter_fit(running: Callable[[], bool]) -> None:
    """A fit begins in this thread, once no other thread is in a block that it would disturb.

    Args:
        running: Tells whether the fit goes on.
    """
    lock = _lock
    held = lock.acquire(timeout=_PATIENCE)
    try:
        _fits[:] = [fit for fit in _fits if fit.goes_on]
        _fits.append(_Fit(threading.current_thread(), running))
    finally:
        if held:
            lock.release()


@contextlib.contextmanager
def undisturbed() -> Iterator[bool]:
    """Enter a block in which what all threads share is put back as it was.

    Yields:
        Whether that can be: no watched fit runs in another thread, and none will begin before the block ends.
    """
    lock = _lock
    alone = lock.acquire(timeout=_PATIENCE)
    if alone and _another_runs():
        lock.release()
        alone = False
    if not alone:
        yield False
        return
    _HERE.blocks += 1
    try:
        yield True
    finally:
        _HERE.blocks -= 1
        lock.release()


def is_undisturbed() -> bool:
    """Whether this thread is in a block of :func:`undisturbed` that is so."""
    return _HERE.blocks > 0


def _another_runs() -> bool:
    own = threading.current_thread()
    return any(fit.thread is not own and fit.goes_on for fit in tuple(_fits))
