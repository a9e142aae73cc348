"""The guard: modes and random streams are restored, faults end in one warning."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from thermo_callbacks.probes.guard import Guard, no_trace, preserved_random_state


def test_no_trace_switches_grad_and_autocast_off_and_back_on() -> None:
    weight = torch.ones(2, 2, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.enable_grad():
        with no_trace("cpu"):
            inside = weight @ weight
        outside = weight @ weight
        assert torch.is_autocast_enabled("cpu")
    assert (inside.dtype, inside.requires_grad) == (torch.float32, False)
    assert (outside.dtype, outside.requires_grad) == (torch.bfloat16, True)
    assert not torch.is_autocast_enabled("cpu")


def test_no_trace_leaves_modes_as_they_were_after_a_fault() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with pytest.raises(KeyError), no_trace("cpu"):
            raise KeyError("inside")
        assert torch.is_autocast_enabled("cpu")
        assert torch.is_grad_enabled()
    with torch.no_grad():
        with no_trace():
            pass
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()


def draw() -> tuple[float, float, float]:
    """One number of each global stream."""
    return random.random(), float(np.random.rand()), torch.rand(()).item()  # noqa: NPY002  the global stream is the point


@pytest.fixture
def seeded() -> Iterator[None]:
    """The global streams at a known place; where they were, afterwards."""
    with preserved_random_state(torch.device("cpu")):
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        torch.manual_seed(1)
        yield


@pytest.mark.filterwarnings("ignore:Probe is switched off")
@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("fails", [False, True])
def test_random_streams_leave_the_block_as_they_entered_it(fails: bool) -> None:
    with preserved_random_state(torch.device("cpu")):
        expected = draw()
    guard = Guard("Probe")
    with guard.protect("drawing"), guard.invisible(torch.device("cpu")):
        assert not torch.is_grad_enabled()
        draw()
        random.seed(9)
        np.random.seed(9)  # noqa: NPY002
        torch.manual_seed(9)
        if fails:
            raise RuntimeError("inside")
    assert guard.disabled == fails
    assert torch.is_grad_enabled()
    assert draw() == expected


def test_a_fault_is_one_warning_and_the_probe_is_off() -> None:
    guard = Guard("ThermoMonitor")
    assert not guard.disabled
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for error in (ZeroDivisionError("no steps"), ValueError("another")):
            with guard.protect("dividing"):
                raise error
    (message,) = (str(warning.message) for warning in caught)
    place, line, cure = re.fullmatch(
        r"ThermoMonitor is switched off for the rest of this run: ZeroDivisionError while dividing: no steps\. "
        r"Training goes on unchanged\. Nothing in your code has to be mended: the fault is in thermo_callbacks or in a "
        r"library that it calls\. Please report it\. It was raised in (\w+\.py), line (\d+); to see the traceback, run "
        r"again after (.*)\.",
        message,
    ).groups()
    assert place == "test_guard.py"
    assert Path(__file__).read_text().splitlines()[int(line) - 1].strip() == "raise error"
    assert cure == "logging.basicConfig() and logging.getLogger('thermo_callbacks').setLevel('DEBUG')"
    assert guard.disabled
    assert guard.reason == "ZeroDivisionError while dividing: no steps"


def test_without_a_fault_there_is_no_traceback_to_speak_of(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level("DEBUG", "thermo_callbacks"),
        pytest.warns(UserWarning, match=r": it is not supported\. Training goes on unchanged\.$"),
    ):
        Guard("Probe").disable("it is not supported")
    assert caplog.records == []


def test_what_the_warning_advises_shows_the_traceback() -> None:
    """In a process without any handler, as most training scripts are; and nothing is shown without the advice."""
    code = (
        "import logging, warnings\n"
        "from thermo_callbacks.probes.guard import Guard\n"
        "def culprit(): raise KeyError('labels')\n"
        "def fail():\n"
        "    with warnings.catch_warnings(record=True) as caught, Guard('Probe').protect('reading'): culprit()\n"
        "    return str(caught[0].message)\n"
        "for statement in fail().partition(' after ')[2].removesuffix('.').split(' and '): exec(statement)\n"
        "fail()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.count("Traceback (most recent call last)") == 1
    assert "DEBUG:thermo_callbacks:Probe: KeyError while reading: 'labels'" in done.stderr
    assert "in culprit" in done.stderr


def test_without_a_fault_nothing_happens() -> None:
    guard = Guard("Probe")
    with guard.protect("resting"):
        value = 1
    assert value == 1
    assert not guard.disabled


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, UserWarning, DeprecationWarning])
def test_what_is_not_a_fault_goes_through(error: type[BaseException]) -> None:
    guard = Guard("Probe")
    with pytest.raises(error), guard.protect("waiting"):
        raise error("stop")
    assert not guard.disabled


MORE = " What else there is to say of this run goes to logging.getLogger('thermo_callbacks'), level INFO."


def test_each_topic_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    guard = Guard("Probe")
    with caplog.at_level("INFO", "thermo_callbacks"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        guard.warn_once("first")
        guard.warn_once("first")
        guard.warn_once("second", topic="matter")
        guard.warn_once("third", topic="matter")
        guard.warn_once("fourth")
    assert [str(warning.message) for warning in caught] == ["first", "second." + MORE]
    assert caplog.messages == ["fourth"]  # one warning more than a run may have
    assert all(warning.category is UserWarning for warning in caught)


def test_a_quiet_guard_says_nothing_and_still_switches_off() -> None:
    guard = Guard("Probe")
    guard.quiet = True
    guard.warn_once("anything")
    with guard.protect("dividing"):
        raise ZeroDivisionError
    assert guard.disabled
