"""Blocks that put something back: when Ctrl-C comes through, and that nothing is put back once too seldom."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from thermo_callbacks.probes.interrupts import finish_all, finished, interruptible


def press() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def _as_python_starts() -> Iterator[None]:
    """Python's own handler, which a shell in the background does not leave to its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def pressed() -> Iterator[list[int]]:
    """Signals that a handler of the user's got, which lets the run go on."""
    got: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: got.append(number))
    yield got
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_waits_for_the_end_of_the_block() -> None:
    order: list[str] = []

    def back() -> None:
        press()
        order.append("back")

    with pytest.raises(KeyboardInterrupt), finished(back):  # noqa: PT012  the block is the point
        press()
        order.append("block")
    assert order == ["block", "back"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_it_comes_at_once_where_the_users_code_runs() -> None:
    order: list[str] = []
    outer, inner = (finished(lambda name=name: order.append(name)) for name in ("outer", "inner"))
    with pytest.raises(KeyboardInterrupt), outer, inner, interruptible():  # noqa: PT012  the block is the point
        order.append("before")
        press()
        order.append("after")
    assert order == ["before", "inner", "outer"]


def test_one_that_waits_comes_where_it_first_may() -> None:
    order: list[str] = []
    with pytest.raises(KeyboardInterrupt), finished(lambda: order.append("back")):  # noqa: PT012  as above
        press()
        order.append("ready")
        with interruptible():
            order.append("not reached")
    assert order == ["ready", "back"]


def test_a_second_one_does_not_come_in_between() -> None:
    order: list[str] = []

    def back() -> None:
        press()
        order.append("back")

    with pytest.raises(KeyboardInterrupt), finished(back), interruptible():
        press()
    assert order == ["back"]


def test_the_users_handler_is_called(pressed: list[int]) -> None:
    users = signal.getsignal(signal.SIGINT)
    with finished(lambda: None):
        press()
        assert not pressed
        with interruptible():
            assert len(pressed) == 1
            press()
            press()
            assert len(pressed) == 3
        press()
        assert len(pressed) == 3
    assert pressed == [signal.SIGINT] * 4
    assert signal.getsignal(signal.SIGINT) is users


def test_a_handler_that_the_block_has_set_stays() -> None:
    def theirs(*_: Any) -> None:
        """Of whoever ran in the block."""

    before = signal.getsignal(signal.SIGINT)
    with finished(lambda: None), interruptible():
        signal.signal(signal.SIGINT, theirs)
    assert signal.getsignal(signal.SIGINT) is theirs
    signal.signal(signal.SIGINT, before)


def test_what_was_interrupted_is_put_back_once_more() -> None:
    calls: list[int] = []

    def back() -> None:
        calls.append(len(calls))
        if len(calls) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), finished(back):
        pass
    assert calls == [0, 1]


def test_blocks_that_were_kept_from_ending_end_with_the_outer_one() -> None:
    order: list[str] = []
    with finished(lambda: order.append("outer")):
        finished(lambda: order.append("inner")).__enter__()
    assert order == ["inner", "outer"]


def test_finish_all_ends_what_is_open_whatever_it_raises() -> None:
    order: list[str] = []
    finished(lambda: order.append("first")).__enter__()
    finished(lambda: [][0]).__enter__()
    press()
    with pytest.raises(KeyboardInterrupt):
        finish_all()
    assert order == ["first"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finish_all()


def test_other_threads_have_blocks_of_their_own() -> None:
    order: list[str] = []

    def work() -> None:
        with finished(lambda: order.append("thread")):
            finish_all()
            order.append("ended")

    with finished(lambda: order.append("main")):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert order == ["thread", "ended", "main"]
