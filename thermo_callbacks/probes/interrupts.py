"""Put back what is to be put back before Ctrl-C goes on."""

from __future__ import annotations

import contextlib
import functools
import signal
import threading
from collections.abc import Callable
from typing import Any, Self

Undo = Callable[[], object]


class _Open(threading.local):
    """Blocks of this thread that have begun, the outermost first."""

    def __init__(self) -> None:
        self.blocks: list[finished] = []


class _Held:
    """What the process does with Ctrl-C while a block is open; only the main thread ever learns of one."""

    former: Any = None  # the handler in whose place ours is
    waiting: tuple[int, Any] | None = None  # a signal that came where nothing may come


_OPEN = _Open()


class finished:  # noqa: N801  a context manager, named like contextlib.closing
    """Call ``undo`` at the end of a block, whatever ends it.

    Ctrl-C is held back while the block begins and ends, and comes through within :class:`interruptible` only: without
    this it could arrive in ``__exit__`` itself, and leave the run with what the block has put in its place. A handler
    of the user's own is called as always, only later. Since an exception may still be raised by other means, ``undo``
    must do no harm when it is called twice: it is, where it was interrupted, and once more by :func:`finish_all`.
    """

    def __init__(self, undo: Undo, *, hold: bool = True) -> None:
        # hold: where a block is entered at every step, its ``undo`` is left to finish_all after an interrupt
        self._undo, self.holds = undo, hold
        self.interruptible = False

    def __enter__(self) -> Self:
        _OPEN.blocks.append(self)
        if self.holds and threading.current_thread() is threading.main_thread():
            _hold_back()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.finish()
        finally:
            self.finish()
            _let_through()

    def finish(self) -> None:
        """Put everything back, unless that is done."""
        blocks = _OPEN.blocks
        if self in blocks:
            self.interruptible = False
            while blocks[-1] is not self:  # one inside of it was kept from ending
                blocks[-1].finish()
            self._undo()
            blocks.remove(self)


def entered(stack: contextlib.ExitStack, manager: contextlib.AbstractContextManager[Any]) -> None:
    """Enter another context manager, which is left as a block of :class:`finished` is."""
    manager.__enter__()
    stack.enter_context(finished(functools.partial(manager.__exit__, None, None, None)))


class interruptible:  # noqa: N801
    """Let Ctrl-C through: the user's code runs in this part of a block of :class:`finished`."""

    def __enter__(self) -> None:
        if (block := _innermost()) is not None:
            block.interruptible = True
            _let_through()

    def __exit__(self, *_: object) -> None:
        if (block := _innermost()) is not None:
            block.interruptible = False


def finish_all() -> None:
    """End all blocks of this thread that something has kept from ending, the innermost first."""
    while _OPEN.blocks:
        block = _OPEN.blocks[-1]
        with contextlib.suppress(Exception):  # it is no time for complaints: the rest is put back all the same
            block.finish()
        if block in _OPEN.blocks:
            _OPEN.blocks.remove(block)
    _let_through()


def _innermost() -> finished | None:
    """The innermost block that holds Ctrl-C back."""
    return next((block for block in reversed(_OPEN.blocks) if block.holds), None)


def _hold_back() -> None:
    """Take the place of the handler of Ctrl-C, if there is one that Python calls."""
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler) and handler is not _handle:
        _Held.former = handler
        signal.signal(signal.SIGINT, _handle)


def _let_through() -> None:
    """Hand on what was held back, where it may come now, and give the handler its place back."""
    if threading.current_thread() is not threading.main_thread():
        return
    block = _innermost()
    if block is None and _Held.former is not None:
        former = _Held.former
        if signal.getsignal(signal.SIGINT) is _handle:
            signal.signal(signal.SIGINT, former)
        _Held.former = None
        if _Held.waiting is not None:
            waiting, _Held.waiting = _Held.waiting, None
            former(*waiting)
    elif block is not None and block.interruptible and _Held.waiting is not None:
        waiting, _Held.waiting = _Held.waiting, None
        _handle(*waiting)


def _handle(number: int, frame: Any) -> None:
    block = _innermost()
    if block is not None and not block.interruptible:
        _Held.waiting = (number, frame)
        return
    opened = [each for each in _OPEN.blocks if each.interruptible]
    for each in opened:  # what unwinds from here on is not to be interrupted once more
        each.interruptible = False
    if _Held.former is not None:
        _Held.former(number, frame)
    for each in opened:  # the user's handler lets the run go on
        each.interruptible = True
