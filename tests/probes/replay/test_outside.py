"""What a step does outside of its module: put back, refused before it happens, or seen at the run's own step."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from thermo_callbacks.probes.replay import Replay, ReplayError
from thermo_callbacks.probes.replay.isolation import LONG

SCRIPT = """
import torch
from torch import nn
from thermo_callbacks.probes.replay import Replay
counts = [0]
class Module(nn.Linear):
    total = 0
    def training_step(self, batch, batch_idx):
        counts[0] += 1
        Module.total += 1
        print("printed", flush=True)
        return self(batch).sum()
module = Module(2, 1)
with Replay(module).loss({}, torch.ones(1, 2)) as loss:
    pass
print(counts, Module.total)
"""


class Module(nn.Linear):
    """A layer whose training step does one more thing."""

    def __init__(self, effect: Callable[[Any], Any]) -> None:
        super().__init__(3, 1)
        self.effect = effect

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.effect(self)
        return self(batch).square().mean()


def replay(module: nn.Module, watch: Replay | None = None) -> None:
    with (watch or Replay(module)).loss({}, torch.ones(2, 3)):
        pass


WAYS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "written": (lambda path: (path / "new").write_text("a"), "it opens .*new to write to it"),
    "appended": (lambda path: open(path / "old", "a"), "it opens .*old to write to it"),  # noqa: SIM115
    "low level": (lambda path: os.open(path / "new", os.O_CREAT | os.O_WRONLY), "it opens .*new to write to it"),
    "array": (lambda path: np.save(path / "new.npy", np.zeros(1)), "it opens .*new.npy to write to it"),
    "removed": (lambda path: (path / "old").unlink(), "it removes .*old"),
    "renamed": (lambda path: (path / "old").rename(path / "new"), "it renames .*old"),
    "folder": (lambda path: (path / "new").mkdir(), "it makes the folder .*new"),
    "program": (lambda path: subprocess.run([sys.executable, "-c", ""], check=True), "it runs .*"),
}


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("swallowed", [False, True], ids=["raised", "swallowed"])
def test_what_is_written_outside_is_refused_before_it_happens(name: str, swallowed: bool, tmp_path: Path) -> None:
    way, reason = WAYS[name]

    def effect(module: Any) -> None:
        try:
            way(tmp_path)
        except Exception:
            if not swallowed:
                raise

    (tmp_path / "old").write_text("old")
    watch = Replay(module := Module(effect))
    with pytest.raises(ReplayError, match=f"without a trace, {reason}: give loss_fn"):
        replay(module, watch)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("old", "old")]
    with pytest.raises(ReplayError, match=reason):  # and is not tried again
        replay(module, watch)


def test_reading_and_other_threads_are_not_refused(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")

    def effect(module: Any) -> None:
        (tmp_path / "old").read_text()
        with open(os.devnull, "w") as nothing:
            nothing.write("a")
        thread = threading.Thread(target=(tmp_path / "new").write_text, args=("new",))
        thread.start()
        thread.join()

    replay(Module(effect))
    assert (tmp_path / "new").read_text() == "new"
    (tmp_path / "after").write_text("after")


def test_a_script_keeps_its_globals_and_prints_nothing_more() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout == "[0] 0\n"


def test_an_optimizer_of_the_run_does_not_step_and_one_of_the_step_does() -> None:
    outer = Module(lambda module: module.kept.step())
    outer.kept = SGD(outer.parameters(), lr=0.1)
    with pytest.raises(ReplayError, match=r"it steps an optimizer \(SGD\)"):
        replay(outer)

    def inner(module: Any) -> None:
        optimizer = SGD(module.parameters(), lr=0.1)
        module(torch.ones(1, 3)).sum().backward()
        optimizer.step()

    module = Module(inner)
    before = [parameter.detach().clone() for parameter in module.parameters()]
    replay(module)
    assert all(torch.equal(one, other) for one, other in zip(before, module.parameters(), strict=True))
    assert all(parameter.grad is None for parameter in module.parameters())


class Notes(list[Any]):
    """A list that can be referred to weakly."""


def test_a_long_buffer_is_put_back_and_its_items_are_not_copied() -> None:
    seen = Notes()
    noted = weakref.ref(seen)

    def effect(module: Any) -> None:
        noted().append(module.kept[0])
        module.kept.append(1)

    module = Module(effect)
    first = torch.zeros(3)
    module.kept = [first] * LONG
    replay(module)
    assert seen[0] is first
    assert module.kept == [first] * LONG


def test_the_runs_own_step_tells_of_items_of_a_long_buffer_that_are_written_to() -> None:
    module = Module(lambda module: module.kept[5][0].add_(1.0))
    module.kept = [(torch.zeros(3), 0.0) for _ in range(LONG)]
    watch = Replay(module)
    watch.watch_own_step()
    module.training_step(torch.ones(2, 3), 0)
    assert "training_step" not in vars(module)
    with pytest.raises(ReplayError, match=r"Module.kept was changed, and can't be put back"):
        replay(module, watch)
    assert module.kept[5][0].tolist() == [1.0] * 3


def test_an_object_that_changes_in_c_is_seen_at_the_runs_own_step() -> None:
    multidict = pytest.importorskip("multidict")
    module = Module(lambda module: module.kept.add("key", "value"))
    module.kept = multidict.MultiDict()
    watch = Replay(module)
    watch.watch_own_step()
    module.training_step(torch.ones(2, 3), 0)
    with pytest.raises(ReplayError, match=r"Module.kept was changed"):
        replay(module, watch)


def test_a_step_that_leaves_nothing_is_replayed_after_it_was_watched() -> None:
    module = Module(lambda module: None)
    module.kept = [threading.Lock(), np.zeros(3), functools.lru_cache(len)]
    watch = Replay(module)
    watch.watch_own_step()
    assert module.training_step(torch.ones(2, 3), 0).requires_grad
    replay(module, watch)
    watch.watch_own_step()  # once is enough
    assert "training_step" not in vars(module)


def test_a_step_that_never_comes_is_no_longer_waited_for() -> None:
    module = Module(lambda module: None)
    watch = Replay(module)
    watch.watch_own_step()
    watch.end_watch()
    assert "training_step" not in vars(module)
