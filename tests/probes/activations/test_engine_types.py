"""The type of engine of a called function, and which models run compiled."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thermo_callbacks.probes.activations import ActivationProbe, engine_types, is_compiled


def small(**options: Any) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 3), nn.Tanh(**options), nn.Linear(3, 2))


def inputs(*shape: int) -> Tensor:
    return torch.randn(*(shape or (8, 4)), generator=torch.Generator().manual_seed(0))


class Slope(nn.Module):
    """Leaky, with a slope of its own."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, z: Tensor) -> Tensor:
        return torch.where(z > 0, z, self.slope * z)


class TestEngine:
    """The type of engine comes from the function with its arguments."""

    def test_arguments_count(self) -> None:
        class Several(nn.Module):
            def forward(self, z: Tensor) -> Tensor:
                z = F.leaky_relu(F.leaky_relu(z, 0.5), negative_slope=1.5)
                z = F.elu(F.elu(z), 2.0)
                return F.prelu(F.prelu(z, torch.tensor([0.5])), torch.tensor([1.5]))

        with ActivationProbe(Several()) as probe:
            probe._model(inputs())
        engines = [record.engine for record in probe.result().values()]
        assert engines == ["passive", "driven"] * 3

    def test_arguments_are_those_of_the_call(self) -> None:
        class Learned(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(torch.tensor([1.5]))

            def forward(self, z: Tensor) -> Tensor:
                return F.prelu(z, self.weight)

        model = Learned()
        with ActivationProbe(model) as probe:
            model(inputs())
        with torch.no_grad():
            model.weight.fill_(0.5)  # as an optimizer does before the result is read
        assert probe.result()["root.prelu"].engine == "driven"

    def test_modules_differ_by_what_they_hold(self) -> None:
        parts = [Slope(0.5), Slope(1.5), nn.PReLU(init=0.5), nn.PReLU(init=1.5)]
        with ActivationProbe(nn.Sequential(*parts), activations=[Slope]) as probe:
            probe._model(inputs())
        assert [record.engine for record in probe.result().values()] == ["passive", "driven"] * 2

    def test_what_is_no_function_of_numbers_has_a_reason(self) -> None:
        model = nn.Sequential(nn.PReLU(4), nn.RReLU(), Wide())
        with ActivationProbe(model, activations=[Wide]) as probe:
            model(inputs())
        channels, random, wide = probe.result().values()
        assert channels.engine is None
        assert channels.engine_reason is not None
        assert channels.engine_reason.startswith("RuntimeError: ")
        assert (random.engine, random.engine_reason) == ("passive", None)
        assert wide.engine is None
        assert wide.engine_reason == "it has more than 4096 parameters: not one function"
        assert math.isfinite(channels.work_efficiency)

    def test_a_random_function_has_none(self) -> None:
        class Noisy(nn.Module):
            def forward(self, z: Tensor) -> Tensor:
                return F.rrelu(z, training=True)

        with ActivationProbe(Noisy()) as probe:
            probe._model(inputs())
        state = torch.get_rng_state()
        [record] = probe.result().values()
        assert torch.equal(torch.get_rng_state(), state)
        assert record.engine is None
        assert record.engine_reason is not None
        assert record.engine_reason.endswith("it mixes elements or is random")

    def test_what_has_not_changed_is_decided_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        decided: list[Any] = []
        original = engine_types.engine_type

        def engine_type(function: Any) -> Any:
            decided.append(function)
            return original(function)

        monkeypatch.setattr(engine_types, "engine_type", engine_type)
        learned = nn.PReLU()
        model = nn.Sequential(nn.ReLU(), nn.ReLU(), learned, nn.ELU(0.5), nn.ELU(1.0))
        probe = ActivationProbe(model)
        counts = []
        for training in (True, False, False):
            model.train(training)
            with probe:
                model(inputs())
            probe.result()
            counts.append(len(decided))
            if training is False:
                with torch.no_grad():
                    learned.weight += 1.0
        assert counts == [4, 4, 5]
        assert probe.result()["2"].engine == "driven"


class Wide(nn.Module):
    """Has more parameters than a function of one number needs."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(5000))

    def forward(self, z: Tensor) -> Tensor:
        return z * self.weight.mean()


class TestIsCompiled:
    def test_in_whole_or_in_part(self) -> None:
        assert not is_compiled(small())
        assert is_compiled(nn.Sequential(torch.compile(small(), backend="eager")))  # type: ignore[arg-type]
        in_place = small()
        in_place[1].compile(backend="eager")
        assert is_compiled(nn.Sequential(in_place))

    def test_by_the_trainer(self) -> None:
        model = small()
        model._compiler_ctx = SimpleNamespace()  # as Lightning leaves it on a module that it took out of its wrapper
        assert is_compiled(model)
        model._compiler_ctx = None
        assert not is_compiled(model)
