"""A replay exchanges nothing with other processes: it is refused before it happens, and as before afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from probes.replay.test_outside import Module, replay
from torch import Tensor, distributed, nn
from torch.distributed import _functional_collectives as functional

from thermo_callbacks.probes.replay import Replay, ReplayError

pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="this build of torch knows no processes")


@pytest.fixture
def two_processes() -> Iterator[None]:
    """The first of two processes, as far as this one can tell: nothing is sent, and nobody waits."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    distributed.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    yield
    distributed.destroy_process_group()


def both(*_: Any) -> list[Tensor]:
    return [torch.zeros(2), torch.zeros(2)]


def summed_with_its_gradient(*_: Any) -> Any:
    ones = torch.ones(2, requires_grad=True)
    return distributed.nn.functional.all_reduce(ones, group=distributed.group.WORLD).sum()


class CameThrough(Exception):
    """Told from what a step may raise, and swallow, itself."""


def own_methods() -> list[Any]:
    return [list(vars(distributed.ProcessGroup).values()), torch.ops._c10d_functional.all_reduce]


WAYS: dict[str, tuple[Callable[[], Any], str]] = {
    "all_reduce": (lambda: distributed.all_reduce(torch.ones(2)), "allreduce"),
    "all_gather": (lambda: distributed.all_gather(both(), torch.ones(2)), "allgather"),
    "into one tensor": (lambda: distributed.all_gather_into_tensor(torch.zeros(4), torch.ones(2)), r"\w*gather\w*"),
    "objects": (lambda: distributed.all_gather_object([None, None], "here"), "allgather"),
    "broadcast": (lambda: distributed.broadcast(torch.ones(2), 0), "broadcast"),
    "broadcast of objects": (lambda: distributed.broadcast_object_list(["here"], 0), "broadcast"),
    "reduce": (lambda: distributed.reduce(torch.ones(2), 0), "reduce"),
    "reduce_scatter": (lambda: distributed.reduce_scatter(torch.ones(2), both()), "reduce_scatter"),
    "all_to_all": (lambda: distributed.all_to_all(both(), both()), "alltoall"),
    "gather": (lambda: distributed.gather(torch.ones(2), both(), 0), "gather"),
    "scatter": (lambda: distributed.scatter(torch.ones(2), both(), 0), "scatter"),
    "barrier": (distributed.barrier, "barrier"),
    "monitored_barrier": (lambda: distributed.group.WORLD.monitored_barrier(), "monitored_barrier"),
    "send": (lambda: distributed.send(torch.ones(2), 1), "send"),
    "recv": (lambda: distributed.recv(torch.ones(2), 1), "recv"),
    "functional": (
        lambda: functional.wait_tensor(functional.all_reduce(torch.ones(2), "sum", distributed.group.WORLD)),
        "all_reduce",
    ),
    "operation": (
        lambda: functional.wait_tensor(
            torch.ops._c10d_functional.all_reduce.default(torch.ones(2), "sum", distributed.group.WORLD.group_name)
        ),
        "all_reduce",
    ),
    "with a gradient": (summed_with_its_gradient, "allreduce"),
}


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("swallowed", [False, True], ids=["raised", "swallowed"])
@pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning", "ignore:.*deprecated:DeprecationWarning")
@pytest.mark.usefixtures("two_processes")
def test_an_exchange_is_refused_and_comes_through_afterwards(name: str, swallowed: bool) -> None:
    way, kind = WAYS[name]

    def effect(_: Any) -> None:
        try:
            way()
        except Exception:
            if not swallowed:
                raise
        else:
            raise CameThrough

    before = own_methods()
    watch = Replay(module := Module(effect))
    reason = rf"without a trace, it exchanges something with other processes \({kind}\): give loss_fn"
    with pytest.raises(ReplayError, match=reason):
        replay(module, watch)
    with pytest.raises(ReplayError, match=reason):  # and is not tried again
        replay(module, watch)
    assert own_methods() == before
    if name != "monitored_barrier":  # which the group of this test does not know
        way()


@pytest.mark.usefixtures("two_processes")
def test_one_in_the_backward_pass_alone_is_refused() -> None:
    class Summed(torch.autograd.Function):
        @staticmethod
        def forward(_: Any, value: Tensor) -> Tensor:
            return value.clone()

        @staticmethod
        def backward(_: Any, slope: Tensor) -> Tensor:
            distributed.all_reduce(slope)
            return slope

    class Layer(nn.Linear):
        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            return Summed.apply(self(batch)).square().mean()

    layer = Layer(3, 1)
    leaf = torch.ones(1, 3, requires_grad=True)
    with (
        pytest.raises(ReplayError, match="it exchanges something with other processes"),
        Replay(layer).loss({layer.weight: leaf}, torch.ones(2, 3)) as loss,
    ):
        torch.autograd.grad(loss.value, leaf)


@pytest.mark.usefixtures("two_processes")
def test_other_threads_and_groups_of_one_go_on() -> None:
    alone = distributed.new_group([0])

    def effect(_: Any) -> None:
        distributed.all_reduce(torch.ones(2), group=alone)
        faults: list[Any] = []
        thread = threading.Thread(target=call, args=(lambda: distributed.all_reduce(torch.ones(2)), faults))
        thread.start()
        thread.join()
        assert faults == [None]

    replay(Module(effect))


def call(way: Callable[[], Any], faults: list[Any]) -> None:
    try:
        way()
        faults.append(None)
    except Exception as fault:
        faults.append(fault)
