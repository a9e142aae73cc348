"""What can't be replayed is refused with the cure; what is too large to be copied is watched."""

from __future__ import annotations

import itertools
import queue
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from thermo_callbacks.probes.guard import Guard
from thermo_callbacks.probes.replay import Replay, ReplayError, SkippedBatch
from thermo_callbacks.probes.replay import replay as replay_module


class Holder:
    """An object of a user's own class."""

    def __init__(self) -> None:
        self.count, self.rows = 0, torch.zeros(2)


def at(module: nn.Module, shift: float) -> dict[nn.Parameter, Tensor]:
    return {p: (p.detach() + shift).requires_grad_() for p in module.parameters() if p.requires_grad}


def squares(module: Any, batch: Any) -> Tensor:
    return module(batch).square().mean()


class Fetching(nn.Linear):
    """Gets its batch by itself."""

    def training_step(self, dataloader_iter: Any) -> Any:
        return squares(self, next(dataloader_iter)[0])


def message(text: str) -> str:
    return "^" + re.escape(text) + "$"


CURE = ": give loss_fn, a function of module and batch that returns the loss and does nothing else"
CANT = "the training step can't be run once more without a trace, "


def fails_with(module: Any, text: str, loss_fn: Any = squares, batch: Any = None) -> None:
    with (
        pytest.raises(ReplayError, match=message(text)),
        Replay(module, loss_fn).loss(at(module, 0.1), torch.ones(2, 3) if batch is None else batch),
    ):
        pass


def test_manual_optimization_needs_a_loss() -> None:
    module = nn.Linear(3, 1)
    module.automatic_optimization = False
    with pytest.raises(ReplayError, match=message("the training step of Linear steps its optimizers by hand" + CURE)):
        Replay(module)
    with Replay(module, squares).loss({}, torch.ones(2, 3)) as loss:
        assert loss.value.item() == squares(module, torch.ones(2, 3)).item()


def test_a_step_without_loss_is_a_skipped_batch() -> None:
    text = "loss_fn returns None for batch 4: no loss, no curvature"
    with pytest.raises(SkippedBatch, match=message(text)), Replay(nn.Linear(1, 1), lambda *_: None).loss({}, None, 4):
        pass


@pytest.mark.parametrize(
    ("outcome", "got"), [(torch.ones(2), "shape (2,)"), (1.0, "float"), ({"loss": "high"}, "str"), ([], "list")]
)
def test_what_is_no_loss_is_refused(outcome: Any, got: str) -> None:
    text = f"loss_fn must return a scalar tensor, or a dict with one under 'loss', got {got}{CURE}"
    fails_with(nn.Linear(3, 1), text, lambda *_: outcome)


def test_a_parameter_reached_past_the_module_is_refused() -> None:
    module = nn.Linear(3, 1)
    original = module.weight
    fails_with(
        module,
        "the loss reaches the parameter weight past the module, through an optimizer or a closure, where it can't be "
        "replaced" + CURE,
        lambda net, batch: squares(net, batch) + original.square().sum(),
    )


def test_an_iterator_is_refused() -> None:
    module = nn.Sequential(nn.Linear(3, 1))
    module[0].numbers = itertools.count()
    fails_with(module, f"{CANT}Sequential.0.numbers is an iterator (count), which can't be rewound{CURE}")
    module[0].numbers = None
    fails_with(
        module,
        f"{CANT}the batch[1] is an iterator (list_iterator), which can't be rewound{CURE}",
        batch=[torch.ones(2, 3), iter([1])],
    )


def test_a_step_that_fetches_its_batch_needs_one() -> None:
    with (
        pytest.raises(
            ReplayError, match=message("training_step fetches its batch by itself, so there is none to replay" + CURE)
        ),
        Replay(Fetching(3, 1)).loss({}, None),
    ):
        pass


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_scripted_module_is_refused() -> None:
    module = nn.Sequential(nn.Linear(3, 1))
    module.inner = torch.jit.script(nn.Linear(1, 1))
    fails_with(module, f"{CANT}Sequential.inner is a scripted module, whose parameters can't be replaced{CURE}")


def test_what_is_too_large_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_module, "ROOM", 0)
    module = nn.Linear(3, 1)
    module.table, module.numbers = torch.zeros(100), np.zeros(1000)
    table, numbers = module.table, module.numbers
    memory = []

    def look(net: Any, batch: Any) -> Tensor:
        memory.append((net.table.data_ptr(), net.numbers is numbers))
        return squares(net, batch) + net.table.sum()

    with Replay(module, look).loss(at(module, 0.1), torch.ones(2, 3)):
        pass
    assert memory == [(table.data_ptr(), True)]
    assert module.table is table
    fails_with(
        module,
        f"{CANT}Linear.table was written to, and there was no room for a copy of it{CURE}",
        lambda net, batch: squares(net, batch) + net.table.add_(1).sum(),
    )


def test_a_trace_that_one_replay_has_left_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_module, "ROOM", 0)

    class Now(nn.Linear):
        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            if batch_idx == 6:  # not at the step that was watched
                self.kept.add_(1)
            return self(batch).square().mean()

    module = Now(3, 1)
    module.kept = torch.zeros(100)
    replay = Replay(module)
    replay.watch_own_step()
    module.training_step(torch.ones(2, 3), 0)
    guard = Guard("its measurement")
    with guard.protect("measuring"), replay.loss({}, torch.ones(2, 3), 0):
        pass
    assert not guard.disabled
    with (
        pytest.warns(UserWarning, match="One extra pass has done this once more than training did") as told,
        guard.protect("measuring"),
        replay.loss({}, torch.ones(2, 3), 6),
    ):
        pass
    assert "Now.kept was written to" in str(told[0].message)
    assert "goes on unchanged" not in str(told[0].message)
    assert module.kept.tolist() == [1.0] * 100  # once, and not again
    with guard.protect("measuring"), replay.loss({}, torch.ones(2, 3), 6):
        pass
    assert module.kept.tolist() == [1.0] * 100


class Data(torch.utils.data.Dataset[Any]):
    """A data set of a user's own."""

    def __init__(self) -> None:
        self.rows, self.count, self.names = torch.zeros(300), 0, ["first"]


def test_data_are_not_copied_and_what_works_in_other_threads_is_left_alone() -> None:
    module = nn.Linear(3, 1)
    module.data, module.worker = Data(), Holder()
    module.worker.lock = queue.Queue().mutex
    rows = module.data.rows, module.worker.rows

    def same(net: Any, batch: Any) -> Tensor:
        assert net.data.rows is rows[0]
        assert net.worker.rows is rows[1]
        net.worker.count += 1
        net.data.count += 1
        net.data.names.append("second")
        return squares(net, batch)

    with Replay(module, same).loss({}, torch.ones(2, 3)):
        pass
    assert module.worker.count == 1
    assert (module.data.count, module.data.names) == (0, ["first"])
