"""LiveTable through a Trainer: beside every progress bar, with and without a terminal; nothing of the run changes."""

from __future__ import annotations

import copy
import io
import pickle
import re
import sys
from functools import partial
from typing import Any

import pytest
from integration.models import LoggingRegression, Regression, loader, quiet_trainer
from integration.observers import Witness, differences, observe
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar
from rich.console import Console
from torch import Tensor
from torch.optim import SGD

from thermo_callbacks import LiveTable, TemperatureMonitor, ThermoMonitor
from thermo_callbacks.callbacks import live_table as live
from thermo_callbacks.display.text.numbers import number

# windows of 8 noisy steps show no signal now and then
pytestmark = pytest.mark.filterwarnings("ignore:.*no value")

Light = partial(ThermoMonitor, "light", window=8, steps_between_windows=0)


def console(interactive: bool = True) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=interactive, force_interactive=interactive, width=90, color_system=None
    )


def text(output: Console) -> str:
    return output.file.getvalue()  # type: ignore[attr-defined]


def tables(output: str) -> list[int]:
    """Steps at the heads of all tables drawn."""
    return [int(step) for step in re.findall(r"step (\d+) ", output)]


def train(*callbacks: Callback, batches: int = 24, module: Any = None, **options: Any) -> Trainer:
    trainer = quiet_trainer(callbacks=list(callbacks), **options)
    trainer.fit(Regression() if module is None else module, loader(batches))
    return trainer


def test_redraws_the_table_as_values_come() -> None:
    output, monitor = console(), Light()
    train(monitor, LiveTable(0.0, console=output))
    assert list(dict.fromkeys(tables(text(output)))) == [7, 15, 23]
    *_, last = text(output).split("step ")
    assert re.search(rf"temperature +{re.escape(number(monitor.latest()['thermo/temperature']))} ", last)
    hottest = max(("net.0", "net.2"), key=lambda layer: monitor.latest()[f"thermo_temperature/{layer}"])
    assert re.search(r"temperature .*\n +(\S+) ", last).group(1) == hottest  # type: ignore[union-attr]
    assert text(output).endswith("\x1b[?25h")  # the cursor is back


def test_waits_between_two_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])

    class Clock(Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            now[0] += 1.0

    output = console()
    train(Clock(), Light(), LiveTable(10.0, console=output), batches=40)
    # looks at 1, 11, 21, 31 seconds, and at the end
    assert tables(text(output))[:3] == [10, 20, 30]


@pytest.mark.parametrize("last", [True, False], ids=["after the monitor", "before the monitor"])
def test_a_run_shorter_than_a_window_is_shown_at_its_end(last: bool) -> None:
    output = console()
    pair = ThermoMonitor("light", window=50), LiveTable(0.0, console=output)
    train(*(pair if last else pair[::-1]), batches=12)
    assert set(tables(text(output))) == {12}
    assert "temperature" in text(output)


def test_without_a_terminal_plain_tables_come_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])

    class Clock(Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            now[0] += 10.0

    output = console(interactive=False)
    train(Clock(), Light(), LiveTable(console=output), batches=100)
    # the first window after 60 seconds, then 120, 240 and 480 seconds later; and the last one
    printed = tables(text(output))
    assert printed == [7, 19, 43, 91, 100]
    assert "\x1b" not in text(output)


def test_pauses_end_at_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])

    class Clock(Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            now[0] += 450.0

    output = console(interactive=False)
    train(Clock(), Light(), LiveTable(console=output), batches=100)
    assert tables(text(output)) == [7, 15, 23, 31, 39, 47, 55, 63, 71, 79, 87, 95, 100]


class Restless(TQDMProgressBar):
    """Remembers what is printed above it."""

    def __init__(self) -> None:
        super().__init__()
        self.printed: list[str] = []

    def print(self, *args: Any, **kwargs: Any) -> None:
        self.printed += map(str, args)
        super().print(*args, **kwargs)


def test_beside_tqdm_it_prints_above_the_bar(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(live, "FIRST_PAUSE", 0.0)
    output, bar = console(), Restless()
    train(Light(), LiveTable(0.0, console=output), bar, enable_progress_bar=True)
    assert [tables(one) for one in bar.printed] == [[7], [15], [23]]
    assert not any(one.endswith("\n") or "\x1b[" in one for one in bar.printed)
    assert tables(text(output)) == [24]  # the last one, below the closed bar
    assert "\x1b[?25l" not in text(output)  # nothing is redrawn


def disabled_bar() -> Restless:
    bar = Restless()
    bar.disable()
    return bar


def test_a_bar_that_is_switched_off_leaves_the_terminal_to_the_table() -> None:
    output, bar = console(), disabled_bar()
    train(Light(), LiveTable(0.0, console=output), bar, enable_progress_bar=True)
    assert list(dict.fromkeys(tables(text(output)))) == [7, 15, 23]
    assert "\x1b[?25l" in text(output)
    assert bar.printed == []


def test_a_bar_that_is_switched_off_is_not_printed_above(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "FIRST_PAUSE", 0.0)
    output, bar = console(interactive=False), disabled_bar()
    train(Light(), LiveTable(0.0, console=output), bar, enable_progress_bar=True)
    assert tables(text(output)) == [7, 15, 23, 24]
    assert bar.printed == []


class Seen(RichProgressBar):
    """Draws on a console of the test's, at every step."""

    def __init__(self, **options: Any) -> None:
        self.output = io.StringIO()
        terminal = {"file": self.output, "force_terminal": True, "force_interactive": True, "width": 90}
        super().__init__(console_kwargs={**terminal, **options})

    def refresh(self, hard: bool = False) -> None:
        super().refresh(hard=True)


def test_stands_above_the_rich_progress_bar() -> None:
    bar, output = Seen(), console()
    train(Light(), LiveTable(0.0, console=output), bar, enable_progress_bar=True)
    drawn = bar.output.getvalue()
    assert sorted(set(tables(drawn))) == [7, 15, 23]
    after = drawn.rpartition("step ")[2]
    assert "Epoch 0" in after  # the bar is below, also in the last picture
    assert text(output) == ""


def test_without_a_terminal_the_rich_bar_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    bar = Seen(force_terminal=False, force_interactive=False)
    output = console(interactive=False)
    train(Light(), LiveTable(0.0, console=output), bar, enable_progress_bar=True)
    assert tables(bar.output.getvalue()) == []
    assert tables(text(output)) == [24]


def test_a_bar_that_begins_anew_takes_the_table_along() -> None:
    bar = Seen()
    trainer = quiet_trainer(
        callbacks=[Light(), LiveTable(0.0, console=console()), bar], enable_progress_bar=True, max_epochs=3
    )
    bar._leave = True  # a new display each epoch
    trainer.fit(Regression(), loader(8))
    assert sorted(set(tables(bar.output.getvalue()))) == [7, 8, 15, 16, 23]


def test_nothing_is_shown_but_of_a_fit() -> None:
    output = console()
    trainer = quiet_trainer(callbacks=[Light(), LiveTable(0.0, console=output)])
    trainer.validate(Regression(), loader(4), verbose=False)
    assert text(output) == ""


def test_needs_a_monitor() -> None:
    message = (
        "LiveTable found no monitor among the Trainer's callbacks, so it has nothing to show: give it one, as in "
        "Trainer(callbacks=[ThermoMonitor(), LiveTable()])"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        train(LiveTable())
    quiet_trainer(callbacks=LiveTable()).validate(Regression(), loader(2), verbose=False)


def test_several_monitors_share_the_table() -> None:
    output = console()
    train(TemperatureMonitor(8, steps_between_windows=0), Light(), LiveTable(0.0, console=output), batches=9)
    assert "drift share" in text(output)


@pytest.mark.parametrize("rank_zero", [True, False])
def test_only_the_first_process_shows_anything(rank_zero: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trainer, "is_global_zero", property(lambda _: rank_zero))
    output = console()
    train(Light(), LiveTable(0.0, console=output), batches=9)
    assert bool(text(output)) == rank_zero


class Interrupted(Regression):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        if batch_idx == 12:
            raise RuntimeError("in the middle")
        return super().training_step(batch, batch_idx)  # type: ignore[no-any-return]


def test_an_exception_gives_the_terminal_back() -> None:
    output, table = console(), LiveTable(0.0)
    table.console = output
    before = sys.stdout
    with pytest.raises(RuntimeError, match="in the middle"):
        train(Light(), table, module=Interrupted())
    assert text(output).endswith("\x1b[?25h")
    assert sys.stdout is before
    again = console()
    table.console = again
    train(Light(), table)
    assert tables(text(again))[:3] == [7, 15, 23]


@pytest.mark.parametrize("bar", [None, Seen], ids=["alone", "above a bar"])
def test_a_fault_switches_it_off_with_one_warning(bar: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fail(*_: Any, **__: Any) -> None:
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("a bug")
        return good(*_, **__)

    good = live.run_table
    monkeypatch.setattr(live, "run_table", fail)
    output, bars = console(), [] if bar is None else [bar()]
    with pytest.warns(UserWarning, match="switched off") as warned:
        train(Light(), LiveTable(0.0, console=output), *bars, enable_progress_bar=bar is not None)
    (message,) = [str(one.message) for one in warned if "switched off" in str(one.message)]
    assert message.startswith(
        "LiveTable is switched off for the rest of this run: RuntimeError while showing values: a bug. "
        "Training goes on unchanged. It was raised in test_live.py, line "
    )
    assert len(calls) == 2
    if bars:
        assert "get_renderables" not in vars(bars[0].progress)


class PlainWitness(Witness):
    def __init__(self) -> None:
        super().__init__(partial(SGD, lr=0.05), regularised=True)


@pytest.mark.parametrize("kind", ["own", "rich", "tqdm", "plain"])
def test_training_is_the_same_bit_for_bit(kind: str, tmp_path: Any, capsys: Any) -> None:
    def bars() -> list[Any]:
        return {"own": [], "rich": [Seen()], "tqdm": [TQDMProgressBar()], "plain": []}[kind]

    def options() -> dict[str, Any]:
        return {"enable_progress_bar": kind in {"rich", "tqdm"}}

    bare = observe(PlainWitness, tmp_path, Light(), *bars(), **options())
    table = LiveTable(0.0, console=console(interactive=kind != "plain"))
    watched = observe(PlainWitness, tmp_path, Light(), table, *bars(), **options())
    assert differences(bare, watched) == []
    assert repr(bare["thermo_rows"]) == repr(watched["thermo_rows"])


COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda one: pickle.loads(pickle.dumps(one))}


class CopyDuring(Callback):
    def __init__(self, table: LiveTable, duplicate: Any) -> None:
        self._table, self._duplicate = table, duplicate

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 20:
            self.copy = self._duplicate(self._table)


@pytest.mark.parametrize("kind", COPIES)
def test_copies_begin_anew(kind: str) -> None:
    table = LiveTable(0.5, layers=1, console=console())
    copying = CopyDuring(table, COPIES[kind])
    train(Light(), table, copying)
    assert (copying.copy.every_n_seconds, copying.copy.layers) == (0.5, 1)
    copying.copy.console = output = console()
    train(Light(), copying.copy)
    assert tables(text(output))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every_n_seconds": -1.0}, "every_n_seconds must be a number of at least 0, got -1.0"),
        ({"every_n_seconds": float("nan")}, "every_n_seconds must be a number of at least 0, got nan"),
        ({"layers": -1}, "layers must be a whole number of at least 0, got -1"),
        ({"layers": 1.5}, "layers must be a whole number of at least 0, got 1.5"),
        ({"layers": True}, "layers must be a whole number of at least 0, got True"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        LiveTable(**arguments)


def test_users_own_prints_stay_whole(capsys: Any) -> None:
    class Talkative(LoggingRegression):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            print(f"batch {batch_idx} speaks")  # noqa: T201  what users do
            return super().training_step(batch, batch_idx)

    output = console()
    train(Light(), LiveTable(0.0, console=output), module=Talkative())
    said = text(output) + capsys.readouterr().out
    assert all(f"batch {index} speaks\n" in said for index in range(24))
