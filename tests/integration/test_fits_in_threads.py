"""Two Trainers that train at once in threads of one process: neither changes the other."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from integration.models import INPUTS, LoggingRegression, RecordingLogger, loader, quiet_trainer
from torch import Tensor, nn

from thermo_callbacks import ThermoMonitor

pytestmark = pytest.mark.filterwarnings("ignore")  # filters are of all threads at once
LONG, SHORT = 60, 25
WAIT = 20.0
COUNTS = {"steps": 0}
"""A global variable that the training step of one thread writes to."""


def replayed() -> bool:
    return any("/replay/" in frame.filename for frame in inspect.stack(0))


class Slow(LoggingRegression):
    """Whenever its step is replayed, the other run goes on by some steps before it ends."""

    def __init__(self, progress: threading.Semaphore, arrived: threading.Event) -> None:
        super().__init__()
        self.progress, self.arrived = progress, arrived
        self.begin, self.along, self.over = threading.Event(), threading.Event(), threading.Event()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        again = replayed()
        if batch_idx == 5 and not again:  # some extra passes may have been made by then, if this run is the only one
            self.begin.set()
            assert self.arrived.wait(WAIT)
        if batch_idx == 12:  # passes were due while both have trained
            self.along.set()
        if batch_idx == LONG - 25 and not again:  # and others can be made when the other run has ended
            assert self.over.wait(WAIT)
        if again and self.arrived.is_set() and not self.over.is_set():
            for _ in range(3):
                self.progress.acquire(timeout=0.5)
        return super().training_step(batch, batch_idx)


class Drawing(LoggingRegression):
    """Its step draws random numbers from the stream that all threads share, and counts in a global variable."""

    def __init__(self, progress: threading.Semaphore, arrived: threading.Event, along: threading.Event) -> None:
        net = nn.Sequential(nn.Linear(INPUTS, 6), nn.Dropout(0.5), nn.Tanh(), nn.Linear(6, 1)).double()
        for number, parameter in enumerate(net.parameters()):
            nn.init.constant_(parameter, 0.1 * (number + 1))
        super().__init__(net)
        self.progress, self.arrived, self.along = progress, arrived, along

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.arrived.set()
        if batch_idx == SHORT - 3 and not replayed():
            assert self.along.wait(WAIT)
        COUNTS["steps"] += 1
        loss = super().training_step(batch, batch_idx)
        self.progress.release()
        return loss


def both(make: Callable[[], list[Any]]) -> tuple[dict[str, Tensor], list[RecordingLogger], list[Any]]:
    """Weights of two runs in two threads, what they logged, and their callbacks."""
    progress, arrived = threading.Semaphore(0), threading.Event()
    torch.manual_seed(1)
    COUNTS["steps"] = 0
    slow = Slow(progress, arrived)
    drawing = Drawing(progress, arrived, slow.along)
    loggers, callbacks = [RecordingLogger(), RecordingLogger()], [make(), make()]
    faults: list[BaseException] = []

    def fit(place: int, module: LoggingRegression, batches: int) -> None:
        try:
            if place:
                assert slow.begin.wait(WAIT)
            quiet_trainer(callbacks=callbacks[place], logger=loggers[place]).fit(module, loader(batches))
        except BaseException as fault:
            faults.append(fault)
        finally:
            if place:
                arrived.set()
                slow.over.set()

    threads = [threading.Thread(target=fit, args=each) for each in ((0, slow, LONG), (1, drawing, SHORT))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    weights = {
        f"{place}.{name}": value
        for place, one in enumerate((slow, drawing))
        for name, value in one.state_dict().items()
    }
    weights["random"], weights["steps"] = torch.get_rng_state(), torch.tensor(COUNTS["steps"])
    return weights, loggers, callbacks


def assert_unchanged(preset: str, times: int) -> None:
    bare, *_ = both(list)
    assert int(bare["steps"]) == SHORT
    for _ in range(times):
        monitors = lambda: [ThermoMonitor(preset, 8, steps_between_windows=0, curvature_every_n_steps=2)]  # noqa: E731
        seen, (first, second), (ours, theirs) = both(monitors)
        assert [name for name, value in bare.items() if not torch.equal(value, seen[name])] == []
        for logger in (first, second):
            assert any("thermo/temperature" in row for _, row in logger.thermo_rows)
        passes = [step for step, row in first.thermo_rows if "thermo/laplacian" in row]
        if preset != "light":  # before the other run, and after it
            assert passes
            assert max(passes) > LONG - 25
            assert not any(6 < step < 12 for step in passes)
            assert not any("thermo/laplacian" in row for _, row in second.thermo_rows)
            told = [text for one in (ours[0], theirs[0]) for text in one._guard._warned]
            assert len([text for text in told if "another monitored run trains in another thread" in text]) == 2


@pytest.mark.parametrize("preset", ["light", "standard", "full"])
def test_neither_changes_the_other(preset: str) -> None:
    assert_unchanged(preset, 2)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["light", "standard", "full"])
def test_neither_ever_changes_the_other(preset: str) -> None:
    assert_unchanged(preset, 20)
