"""Objects as other people's packages make them: classes by a call, constants for slots, tensors with own methods."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from curvature_networks import present, same
from torch import Tensor, nn

from thermo_callbacks.probes.curvature import CurvatureSample, SampleCurvatureProbe
from thermo_callbacks.probes.layers import layer_parameters
from thermo_callbacks.probes.replay import Replay

ROOT = Path(__file__).parents[3]


class Graph:
    """A batch that is an object, as a package for graphs has it."""

    def __init__(self, nodes: Tensor) -> None:
        self.nodes, self.layers_passed = nodes, [0]


def overwriting(module: Any, batch: Any) -> Tensor:
    """A loss that leaves what its layers make in the batch."""
    batch.nodes = module(batch.nodes)
    batch.layers_passed.append(1)
    return batch.nodes.square().mean()


@pytest.mark.parametrize("module", ["abc", "types", __name__])
def test_a_class_made_by_a_call_has_its_objects_put_back(module: str) -> None:
    made = type("GraphBatch", (Graph,), {"__module__": module})  # what a metaclass calls goes under abc
    batch, layer = made(torch.ones(2, 3)), nn.Linear(3, 1)
    nodes = batch.nodes
    with Replay(layer, overwriting).loss(dict(zip(layer.parameters(), layer.parameters(), strict=True)), batch) as loss:
        assert loss.value.requires_grad
        assert batch.nodes.shape == (2, 1)
    assert batch.nodes is nodes
    assert batch.layers_passed == [0]


class Rational:
    """A number of a computer algebra system."""

    __slots__ = ("below", "value")


class Half(Rational):
    """A constant, in the place of the base's slots."""

    __slots__ = ()
    below, value = 2, 0.5


def test_a_constant_in_the_place_of_a_slot_stays_and_costs_no_value() -> None:
    layer = nn.Linear(3, 1)
    layer.half = Half()
    values = {parameter: parameter.detach() + 1.0 for parameter in layer.parameters()}
    loss_fn = lambda module, batch: module.half.value * module(batch).sum()  # noqa: E731
    with Replay(layer, loss_fn).loss(values, torch.ones(2, 3)) as loss:
        found = loss.value.item()
    expected = 0.5 * nn.functional.linear(torch.ones(2, 3), values[layer.weight], values[layer.bias]).sum()
    assert found == expected.item()


OWN = """
import sys
sys.path[:0] = sys.argv[1:]
import beside, own
from thermo_callbacks.probes.replay.object_types import is_own_code
print(is_own_code("beside"), is_own_code("own"))
"""


def test_packages_of_an_environment_below_are_nobodys_own_code(tmp_path: Path) -> None:
    # uv run --with, a .pth file, pip install --target: a folder of installed packages that sysconfig does not know
    installed, project = tmp_path / "installed", tmp_path / "project"
    (installed / "beside-1.0.dist-info").mkdir(parents=True)
    project.mkdir()
    (installed / "beside.py").write_text("state = []\n", encoding="utf-8")
    (project / "own.py").write_text("state = []\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", OWN, str(installed), str(project)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "False True\n", done.stderr


class Labelled(Tensor):
    """A tensor with labels, which its own methods pass on: a result of torch's lacks them."""

    @staticmethod
    def of(values: Tensor, labels: list[str]) -> Labelled:
        tensor = values.as_subclass(Labelled)
        tensor.labels = labels
        return tensor

    def detach(self) -> Labelled:
        return Labelled.of(super().detach(), self.labels)

    def clone(self, *arguments: Any, **options: Any) -> Labelled:
        return Labelled.of(super().clone(*arguments, **options), self.labels)

    def to(self, *arguments: Any, **options: Any) -> Labelled:
        return Labelled.of(super().to(*arguments, **options), self.labels)

    def requires_grad_(self, mode: bool = True) -> Labelled:
        return Labelled.of(super().requires_grad_(mode), self.labels)


class Solver(nn.Module):
    """Keeps what a layer made of its points, which has no labels; ``labelled``: or plain tensors."""

    def __init__(self, *, labelled: bool) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double()
        self.labelled = labelled
        with torch.no_grad():
            self.residual: Any = self.net(self.points(torch.zeros(2, 2)))

    def points(self, values: Tensor) -> Tensor:
        values = values.double()
        return Labelled.of(values, ["x", "y"]) if self.labelled else values

    def loss(self, batch: Tensor) -> Tensor:
        self.residual = self.net(self.points(batch))
        return self.residual.as_subclass(Tensor).square().mean()


def curvature_of(solver: Solver) -> CurvatureSample:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in solver.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    probe = SampleCurvatureProbe(Replay(solver, Solver.loss), layer_parameters(solver), seed=0)
    return probe.measure(present(solver), torch.randn(8, 2, generator=generator), step=0)


def test_tensors_whose_own_methods_need_labels_are_measured_like_plain_ones() -> None:
    solver = Solver(labelled=True)
    assert type(solver.residual) is Labelled
    assert not hasattr(solver.residual, "labels")
    assert same(curvature_of(solver), curvature_of(Solver(labelled=False)))


class Shell(Tensor):
    """A tensor around another one, as distributed tensors are."""

    @staticmethod
    def __new__(cls, inner: Tensor) -> Shell:
        shell = Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)
        shell.inner = inner
        return shell

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["inner"], None

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args = [argument.inner if isinstance(argument, Shell) else argument for argument in args]
        return Shell(function(*args, **(kwargs or {})))


@pytest.mark.parametrize("make", [lambda memory: memory, Shell], ids=["plain", "in a shell"])
def test_a_tensor_whose_memory_was_given_back_is_left_alone(make: Any) -> None:
    # fully_shard does that to gathered parameters between two passes; reading one ends the process
    layer, memory = nn.Linear(3, 1), torch.ones(4, 3)
    gathered = make(memory)
    layer.held = {"gathered": gathered}
    memory.untyped_storage().resize_(0)
    values = {parameter: parameter.detach().clone() for parameter in layer.parameters()}
    loss_fn = lambda module, batch: (module.held["gathered"] is gathered) + module(batch).sum() * 0.0  # noqa: E731
    with Replay(layer, loss_fn).loss(values, torch.ones(2, 3)) as loss:
        assert loss.value.item() == 1.0
    assert layer.held["gathered"] is gathered
    assert memory.untyped_storage().nbytes() == 0
