"""Blocks that put back what all threads share, and fits in other threads."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import torch

from thermo_callbacks.probes.guard import preserved_random_state
from thermo_callbacks.probes.other_fits import enter_fit, is_undisturbed, undisturbed


def in_thread(work: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


class Fit:
    """A fit in a thread of its own, from its beginning to its end."""

    def __init__(self) -> None:
        self.running, self._began, self._end = True, threading.Event(), threading.Event()
        self._thread = in_thread(self._run)

    def _run(self) -> None:
        enter_fit(lambda: self.running)
        self._began.set()
        self._end.wait(20.0)

    def begun(self, seconds: float = 20.0) -> bool:
        return self._began.wait(seconds)

    def end(self) -> None:
        self._end.set()
        self._thread.join()


def test_a_fit_in_another_thread_disturbs_until_it_has_ended() -> None:
    own = [True]
    enter_fit(lambda: own[0])  # one of this thread's own does not
    assert not is_undisturbed()
    with undisturbed() as alone:
        assert alone
        assert is_undisturbed()
    other = Fit()
    assert other.begun()
    with undisturbed() as alone:
        assert not alone
        assert not is_undisturbed()
    other.running = False  # its thread goes on with something else
    with undisturbed() as alone:
        assert alone
    other.end()
    killed = Fit()
    assert killed.begun()
    killed.end()  # and the fit has never told of its end
    with undisturbed() as alone:
        assert alone
    own[0] = False


def test_a_fit_waits_for_the_end_of_a_block_before_it_begins() -> None:
    with undisturbed(), undisturbed() as alone:
        other = Fit()
        assert not other.begun(0.2)
        assert alone
    assert other.begun()
    with undisturbed() as alone:
        assert not alone
    other.end()


def test_random_numbers_of_another_fit_are_not_taken_back() -> None:
    other = Fit()
    assert other.begun()
    with preserved_random_state(torch.device("cpu")):
        drawn = [random.random(), torch.rand(()).item()]
    assert drawn != [random.random(), torch.rand(()).item()]
    other.end()
    with preserved_random_state(torch.device("cpu")):
        drawn = [random.random(), torch.rand(()).item()]
    assert drawn == [random.random(), torch.rand(()).item()]
