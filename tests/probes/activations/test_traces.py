"""Nothing of the probe stays anywhere, and nothing of it gets in the way of the model."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_internals
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from thermo_callbacks.probes.activations import ActivationProbe
from thermo_callbacks.probes.activations.sums import CallSums


def small(**options: Any) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 3), nn.Tanh(**options), nn.Linear(3, 2))


def inputs(*shape: int) -> Tensor:
    return torch.randn(*(shape or (8, 4)), generator=torch.Generator().manual_seed(0))


def traces(*models: nn.Module, graph: Tensor | None = None) -> list[str]:
    """What is left on modules, globally, and on a graph."""
    found = [name for name, hooks in vars(module_internals).items() if name.startswith("_global") and hooks]
    for model in models:
        for part in model.modules():
            found += [name for name, hooks in vars(part).items() if "hooks" in name and hooks]
    if torch._C._len_torch_function_stack():
        found.append("mode")
    waiting = [] if graph is None else [graph.grad_fn]
    while waiting:
        node = waiting.pop()
        handles = node.register_hook(lambda *_: None), node.register_prehook(lambda *_: None)
        found += [str(node) for handle in handles if len(handle.hooks_dict_ref()) > 1]
        for handle in handles:
            handle.remove()
        waiting += [following for following, _ in node.next_functions if following is not None]
    return found


class TestNothingStays:
    def test_while_running_there_are_hooks(self) -> None:
        model = small()
        with ActivationProbe(model) as probe:
            loss = model(inputs()).sum()
            assert probe.running
            assert len(traces(model, graph=loss)) >= 5  # two of modules, the mode, two on the graph
        assert not probe.running
        assert traces(model, graph=loss) == []

    @pytest.mark.parametrize("stops", [1, 3])
    def test_after_a_pass(self, stops: int) -> None:
        model = small()
        probe = ActivationProbe(model)
        probe.start()
        model(inputs()).sum().backward()
        for _ in range(stops):
            probe.stop()
        assert traces(model) == []
        assert list(probe.result()) == ["1"]

    def test_before_any_start(self) -> None:
        probe = ActivationProbe(small())
        probe.stop()
        assert traces() == []

    def test_a_second_start_begins_anew(self) -> None:
        model = small()
        probe = ActivationProbe(model)
        probe.start()
        model(inputs())
        probe.start()
        model(inputs())
        probe.stop()
        assert list(probe.result()) == ["1"]
        assert traces(model) == []

    def test_after_an_exception_inside_a_module(self) -> None:
        class Broken(nn.Module):
            def forward(self, z: Tensor) -> Tensor:
                torch.tanh(z)
                raise ZeroDivisionError

        model = nn.Sequential(nn.Linear(4, 3), nn.Sequential(Broken()))
        probe = ActivationProbe(model)
        with pytest.raises(ZeroDivisionError), probe:
            model(inputs())
        assert traces(model) == []
        assert list(probe.result()) == ["1.0.tanh"]

    def test_an_exception_that_the_model_survives_leaves_names_right(self) -> None:
        class Careful(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.risky = nn.Sequential(nn.Linear(5, 5))

            def forward(self, z: Tensor) -> Tensor:
                try:
                    self.risky(z)
                except RuntimeError:
                    z = torch.tanh(z)
                return z

        with ActivationProbe(nn.Sequential(Careful(), nn.ReLU())) as probe:
            probe._model(inputs())
        assert list(probe.result()) == ["0.tanh", "1"]

    def test_tensors_are_not_kept(self) -> None:
        model = small()
        with ActivationProbe(model) as probe:
            model(inputs(4000, 4)).sum().backward()
            kept = [value for call in probe._log._calls for value in vars(call.sums).values()]
            sizes = [value.numel() for value in kept if isinstance(value, Tensor)]
        assert max(sizes) <= 1024
        assert len(sizes) == 7

    def test_other_modes_stay_in_their_order(self) -> None:
        class Other(TorchFunctionMode):
            def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                return func(*args, **(kwargs or {}))

        below, above, highest = Other(), Other(), Other()
        model = nn.Sequential(small(), fused())
        probe = ActivationProbe(model)
        with below:
            probe.start()
            with above, highest:
                model[1](inputs(2, 5, 8))  # takes the probe's mode off, and puts it back
                between = stacked()
                model[0](inputs())
                probe.stop()
                left = stacked()
        assert [between[place] for place in (0, 2, 3)] == left == [below, above, highest]
        assert traces() == []
        assert list(probe.result()) == ["0.1"]


def stacked() -> list[Any]:
    """Modes, the lowest first."""
    return [torch._C._get_function_stack_at(place) for place in range(torch._C._len_torch_function_stack())]


def fused() -> nn.TransformerEncoderLayer:
    """Runs as one operation."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")
    return layer.eval().requires_grad_(False)


class TestFusedModules:
    """In evaluation mode a TransformerEncoder runs fused, unless it sees hooks or modes."""

    @pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
    @pytest.mark.parametrize("parts", [0, 2])
    def test_run_as_they_would(self, parts: int) -> None:
        frozen = nn.TransformerEncoder(fused(), parts).eval() if parts else fused()
        head = nn.Sequential(nn.Linear(8, 3), nn.Tanh())
        model = nn.Sequential(frozen, head)
        expected = model(inputs(2, 5, 8))
        with ActivationProbe(model) as probe:
            watched = model(inputs(2, 5, 8))
        assert torch.equal(watched, expected)
        assert list(probe.result()) == ["1.1"]
        with Onlooker() as seen:  # the comparison above can fail: under a mode the result is another
            unfused = model(inputs(2, 5, 8))
        assert seen.calls
        assert not torch.equal(unfused, expected)

    def test_are_seen_where_they_learn(self) -> None:
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu").eval()
        expected = layer(inputs(2, 5, 8))
        with ActivationProbe(layer) as probe:
            watched = layer(inputs(2, 5, 8))
        assert torch.equal(watched, expected)
        assert list(probe.result()) == ["root.gelu"]

    def test_put_the_mode_back_where_it_was(self) -> None:
        with ActivationProbe(nn.Sequential(fused(), nn.Tanh())) as probe:
            with torch.device("cpu"):  # a mode of torch's
                probe._model(inputs(2, 5, 8))
                assert torch._C._len_torch_function_stack() == 2
            torch.tanh(inputs())
        assert list(probe.result()) == ["1", "root.tanh"]


class Onlooker(TorchFunctionMode):
    """Does nothing but be there."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        return func(*args, **(kwargs or {}))


def test_other_modes_see_the_models_operations_alone() -> None:
    class Recorder(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[str] = []

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.seen.append(str(func))
            return func(*args, **(kwargs or {}))

    def operations() -> list[str]:
        with Recorder() as recorder:
            small()(inputs()).square().sum().backward()
        return recorder.seen

    expected = operations()
    with ActivationProbe(small()):
        assert operations() == expected


def test_selective_checkpoints_do_not_see_the_measurement() -> None:
    def policy(*_: Any, **__: Any) -> CheckpointPolicy:
        return CheckpointPolicy.MUST_SAVE  # every operation that is seen is replayed in its order

    def contexts() -> Any:
        return create_selective_checkpoint_contexts(policy)

    model = small()

    def gradient(probe: ActivationProbe | None) -> Tensor:
        model.zero_grad()
        x = inputs()
        if probe:
            probe.start()
        # sums of squares, as the measurement makes them
        power = checkpoint(lambda x: model(x).square().sum(1), x, use_reentrant=False, context_fn=contexts)
        power.square().sum().backward()
        if probe:
            probe.stop()
        assert model[0].weight.grad is not None
        return model[0].weight.grad.clone()

    expected = gradient(None)
    probe = ActivationProbe(model)
    assert torch.equal(gradient(probe), expected)
    assert probe.result()["1"].learning_efficiency > 0.0


def run(thread: threading.Thread) -> None:
    thread.start()
    thread.join()


def test_calls_of_other_threads_are_their_own() -> None:
    model, other = small(), small()
    with ActivationProbe(model) as probe:
        thread = threading.Thread(target=lambda: other(inputs()))
        hook = model[0].register_forward_hook(lambda *_: run(thread))
        model(inputs())
        hook.remove()
    assert list(probe.result()) == ["1"]


class TestFaults:
    @pytest.mark.parametrize("where", ["of_input", "add_output", "add_gradients"])
    def test_a_fault_of_the_measurement_is_not_the_models(self, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
        model = small()
        model(inputs()).sum().backward()
        expected = model[0].weight.grad
        model.zero_grad()

        def fail(*_: Any, **__: Any) -> Any:
            raise RuntimeError("no memory left")

        monkeypatch.setattr(CallSums, where, fail)
        probe = ActivationProbe(model)
        with probe:
            model(inputs()).sum().backward()
        assert torch.equal(model[0].weight.grad, expected)  # type: ignore[arg-type]
        assert traces(model) == []
        with pytest.raises(RuntimeError, match=r"^measuring activations failed: no memory left$"):
            probe.result()
        monkeypatch.undo()
        with probe:
            model(inputs())
        assert list(probe.result()) == ["1"]

    def test_no_result_while_running(self) -> None:
        with (
            ActivationProbe(small()) as probe,
            pytest.raises(RuntimeError, match=r"needs a finished pass, got a running probe: call stop\(\) first$"),
        ):
            probe.result()
