"""The probe of the bulk: what it finds in a model, what it measures there, and that it leaves nothing behind."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable
from contextlib import nullcontext as done
from typing import Any

import pytest
import torch
from bulk_oracles import ConvNet, batch, built
from torch import Tensor, nn
from torch.testing import assert_close

from thermo_callbacks.functional import (
    bulk_complexity,
    bulk_entropy,
    bulk_free_energy,
    bulk_log_partition,
    mean_bulk_loss,
)
from thermo_callbacks.functional.bulk.complexity import chain_complexity
from thermo_callbacks.probes.bulk import BulkProbe, BulkReading
from thermo_callbacks.probes.replay import Replay

TARGETS = torch.tensor([0, 1, 2, 0, 1, 2])


def perceptron(activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(12, 8), activation(), nn.Dropout(0.5),
        nn.Sequential(nn.Linear(8, 6), nn.Identity(), activation()), nn.Linear(6, 3),
    ).double()  # fmt: skip


class Model(nn.Module):
    """What Lightning calls: a network, and a step that is not ``forward``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.loss = network, nn.CrossEntropyLoss()

    def step(self, inputs: Tensor) -> Tensor:
        return self.loss(self.network(inputs), TARGETS[: len(inputs)])


DATA = batch((3, 4), 6)


def measure(network: nn.Module, data: Tensor = DATA, *, seed: int = 0, **settings: Any) -> BulkReading:
    step = {key: settings.pop(key) for key in ("before", "after") if key in settings}
    model = Model(network)
    return BulkProbe(**settings).measure(
        model, lambda: model.step(data), generator=torch.Generator().manual_seed(seed), **step
    )


def linears(network: nn.Module) -> list[nn.Linear]:
    return [module for module in network.modules() if isinstance(module, nn.Linear)]


def states_and_slopes(network: nn.Module, inputs: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """A tanh perceptron by hand."""
    states, slopes = [inputs.flatten(1)], []
    layers = linears(network)
    for layer in layers:
        z = states[-1] @ layer.weight.T + layer.bias
        last = layer is layers[-1]
        states.append((z if last else z.tanh()).detach())
        slopes.append((torch.ones_like(z) if last else 1 - z.tanh() ** 2).detach())
    return states, slopes


class TestChain:
    def test_everything_is_that_of_the_chain_by_hand(self) -> None:
        network = perceptron()
        found = measure(network, samples=5, regulator=0.3)
        _, slopes = states_and_slopes(network, DATA[:5])
        expected = bulk_complexity([layer.weight.detach() for layer in linears(network)], slopes, 0.3)
        assert (found.network, found.method, found.reason) == ("network", "exact", "")
        assert (found.neurons, found.mapped) == (12 + 8 + 6 + 3, 8 + 6 + 3)
        assert_close(found.sampled.of_samples, expected)
        assert_close(found.complexity.value, expected.mean())
        assert_close(found.complexity.stderr, expected.std() / math.sqrt(5))
        assert found.sampled.probe_stderr == found.sampled.truncation == 0.0
        assert_close(found.spectrum.counts.sum().item(), 29.0)
        assert_close((found.spectrum.values.log() * found.spectrum.counts).sum() / 2, expected.mean())

    def test_state_functions(self) -> None:
        found = measure(perceptron())
        value, n = found.complexity.value, found.neurons
        log_partition, entropy, free_energy, mean_loss = found.thermodynamics(0.02)
        assert_close(log_partition, bulk_log_partition(value, 0.02, n))
        assert_close(entropy, bulk_entropy(value, 0.02, n))
        assert_close(free_energy, bulk_free_energy(value, 0.02, n))
        assert_close(mean_loss, mean_bulk_loss(torch.tensor(0.02).double(), n))
        assert_close(free_energy, mean_loss - 0.02 * entropy)
        assert found.thermodynamics(torch.tensor(math.nan)).entropy.isnan()

    def test_measured_loss_of_a_step(self) -> None:
        network = perceptron()
        before = {p: 0.9 * p.detach() for p in network.parameters()}
        found = measure(network, samples=4, before=before)
        old = copy.deepcopy(network)
        with torch.no_grad():
            for parameter in old.parameters():
                parameter.mul_(0.9)
        states, _ = states_and_slopes(old, DATA[:4])
        images = [states_and_slopes(network[i:], x)[0][1] for i, x in ((1, states[0]), (4, states[1]), (5, states[2]))]
        losses = torch.stack([0.5 * (x - y).square().sum(1) for x, y in zip(states[1:], images, strict=True)])
        assert_close(found.bulk_loss.value, losses.sum(0).mean())
        assert_close(found.bulk_loss.stderr, losses.sum(0).std() / 2)
        assert_close(found.pinned_bulk_loss, losses[:-1].sum(0).mean() + found.boundary_loss)
        assert_close(found.equipartition_temperature, 2 * losses.sum(0).mean() / 17)

    def test_measured_loss_is_zero_without_a_step_and_of_second_order(self) -> None:
        network = perceptron()
        still, small, large = (
            measure(network, after={p: (1 + step) * p.detach() for p in network.parameters()}).bulk_loss.value
            for step in (0.0, 1e-6, 1e-5)
        )
        assert still == 0.0
        assert_close((large / small).item(), 100.0, rtol=1e-3, atol=0.0)
        reading = measure(network)
        assert reading.bulk_loss.value.isnan()
        assert reading.pinned_bulk_loss.isnan()
        assert reading.equipartition_temperature.isnan()

    def test_boundary_loss_is_that_of_the_step(self) -> None:
        network = perceptron()
        network[3].p = 0.0
        assert_close(measure(network).boundary_loss, nn.functional.cross_entropy(network(DATA), TARGETS).detach())

    def test_laplacian_of_complexity(self) -> None:
        """Against the full Hessian of the mean over the batch, by weights of the probes' own samples."""
        network = perceptron()
        layers = linears(network)
        parameters = [p for layer in layers for p in layer.parameters()]
        vector = torch.cat([p.detach().flatten() for p in parameters])

        def complexity(q: Tensor) -> Tensor:
            parts = [x.view(p.shape) for x, p in zip(q.split([p.numel() for p in parameters]), parameters, strict=True)]
            return chain_complexity(
                DATA.flatten(1), parts[::2], biases=parts[1::2], activations=[torch.tanh, torch.tanh, lambda z: z]
            ).mean()

        exact = torch.autograd.functional.hessian(complexity, vector).trace()
        found = measure(network, samples=6, laplacian_probes=120)
        assert found.laplacian_reason == ""
        assert abs(found.laplacian.value - exact) < 3 * found.laplacian.stderr
        assert found.laplacian.stderr < 0.2 * abs(exact)
        assert found.laplacian.degrees_of_freedom == 119

    def test_frozen_parameters_are_not_in_the_laplacian(self) -> None:
        network = perceptron()
        for layer in linears(network)[:-1]:
            layer.requires_grad_(False)
        weight = linears(network)[-1].weight
        _, slopes = states_and_slopes(network, DATA)
        rest = [layer.weight.detach() for layer in linears(network)[:-1]]
        exact = torch.autograd.functional.hessian(
            lambda w: bulk_complexity([*rest, w], slopes).mean(), weight.detach()
        ).reshape(18, 18).trace()  # fmt: skip
        found = measure(network, samples=6, laplacian_probes=60).laplacian
        assert abs(found.value - exact) < 3 * found.stderr

    @pytest.mark.parametrize(
        ("change", "settings", "reason"),
        [
            (lambda network: network, {"laplacian_probes": 0}, "No probe was asked for."),
            (lambda network: network.requires_grad_(False), {}, "No parameter is trainable."),
            (lambda _: perceptron(nn.Hardsigmoid), {}, "An activation has no third derivative: .*hardsigmoid_backward"),
        ],
    )
    def test_no_laplacian_and_why(
        self, change: Callable[[nn.Module], nn.Module], settings: dict[str, int], reason: str
    ) -> None:
        found = measure(change(perceptron()), **settings)
        assert found.laplacian.value.isnan()
        assert found.laplacian.stderr.isnan()
        assert found.method == "exact"
        assert re.match(reason, found.laplacian_reason)

    def test_the_same_network_by_the_stochastic_path(self, monkeypatch: pytest.MonkeyPatch) -> None:
        network = nn.Sequential(*list(perceptron())[:3], nn.Linear(8, 3).double())
        moved = {p: 1.2 * p.detach() for p in network.parameters()}
        exact = measure(network, after=moved)
        monkeypatch.setattr("thermo_callbacks.probes.bulk.probe.read_chain", lambda *_: "it was told so")
        found = measure(network, after=moved, probes=100)
        assert (found.neurons, found.mapped) == (exact.neurons, exact.mapped)
        error = found.complexity.value - exact.complexity.value
        assert abs(error) < 3 * found.sampled.probe_stderr + found.sampled.truncation
        assert_close(found.bulk_loss, exact.bulk_loss)
        assert_close(found.pinned_bulk_loss, exact.pinned_bulk_loss)
        assert found.laplacian.value.isnan()
        assert found.laplacian_reason == "The network is no chain of layers: it was told so."


class Reversed(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return -super().forward(x)


@pytest.mark.parametrize(
    ("network", "data", "reason"),
    [
        (built(ConvNet), batch((1, 8, 8), 6), "it holds a ConvNet, where a chain has linear layers and elementwise"),
        (nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)).double(), batch((4,), 6), "it holds a Softmax"),
        (nn.Sequential(nn.Tanh(), nn.Linear(4, 3)).double(), batch((4,), 6), "it holds a Tanh"),
        (Reversed(nn.Linear(4, 3)).double(), batch((4,), 6), "it computes something else than its modules"),
        (nn.Sequential(nn.Linear(4, 2), nn.Flatten(), nn.Linear(6, 3)).double(), DATA, "more than one vector of a"),
    ],
)  # fmt: skip
def test_what_is_no_chain(network: nn.Module, data: Tensor, reason: str) -> None:
    found = measure(network, data)
    assert found.method == "stochastic"
    assert reason in found.reason
    assert found.complexity.value.isfinite()
    assert found.complexity.stderr > 0
    assert found.laplacian_reason.startswith("The network is no chain of layers: it")


@pytest.mark.parametrize(
    "activation",
    [nn.ReLU(inplace=True), nn.GELU(), nn.ELU(inplace=True), nn.Hardswish()],
    ids=lambda f: type(f).__name__,
)
def test_activations_of_a_chain(activation: nn.Module) -> None:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(4, 5), activation, nn.Linear(5, 3)).double()
    data = batch((4,), 6)
    found = measure(network, data, samples=6)
    z = (data @ network[0].weight.T + network[0].bias).detach().requires_grad_()
    (slope,) = torch.autograd.grad(activation(z.clone()).sum(), z)
    weights = [network[0].weight.detach(), network[2].weight.detach()]
    assert found.method == "exact"
    assert_close(found.sampled.of_samples, bulk_complexity(weights, [slope, torch.ones(6, 3).double()]))


class TestFindingTheNetwork:
    def read(self, model: nn.Module, step: Callable[[], Tensor], **settings: Any) -> BulkReading:
        return BulkProbe(**settings).measure(model, step, generator=torch.Generator())

    def test_the_innermost_module_with_all_parameters(self) -> None:
        class Wrapper(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.body = nn.Sequential(nn.Linear(12, 3)).double()

            def forward(self, images: Tensor) -> Tensor:
                return self.body(images.flatten(1)).log_softmax(1)

        found = measure(Wrapper())
        assert (found.network, found.method, found.neurons) == ("network.body", "exact", 15)

    def test_the_model_itself_where_the_step_calls_it(self) -> None:
        class Whole(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first, self.second = nn.Linear(4, 3), nn.Linear(3, 2)

            def forward(self, x: Tensor) -> Tensor:
                return self.second(self.first(x).relu())

        model = Whole()
        found = self.read(model, lambda: model(torch.ones(5, 4)).sum())
        assert (found.network, found.neurons) == ("root", 9)

    def test_the_largest_child_that_is_called(self) -> None:
        model = nn.ModuleDict({"small": nn.Linear(4, 2), "large": nn.Linear(4, 8), "unused": nn.Linear(4, 99)})
        data = torch.ones(5, 4)
        step = lambda: model["small"](data).sum() + model["large"](data).sum()  # noqa: E731
        assert self.read(model, step).network == "large"
        assert self.read(model, step, network="small").neurons == 6

    def test_names_do_not_hold_wrappers(self) -> None:
        compiled = torch.compile(nn.Sequential(nn.Linear(4, 2), nn.Tanh()), backend="eager")
        model = nn.ModuleDict({"net": compiled})
        found = self.read(model, lambda: model["net"](torch.ones(5, 4)).sum())
        assert (found.network, found.method) == ("net", "exact")
        assert self.read(model, lambda: model["net"](torch.ones(5, 4)).sum(), network="net").neurons == 6

    def test_the_first_call_counts_and_small_batches_do(self) -> None:
        model = nn.ModuleDict({"net": nn.Linear(4, 2)})
        step = lambda: model["net"](torch.ones(2, 4)).sum() + model["net"](torch.zeros(9, 4)).sum()  # noqa: E731
        assert len(self.read(model, step, samples=4).sampled.of_samples) == 2

    def test_errors(self) -> None:
        model = nn.ModuleDict({"net": nn.Linear(4, 2), "other": nn.Linear(4, 2)})
        with pytest.raises(ValueError, match=r"network='nets' is no module of the model: choose among \['root', 'net'"):
            self.read(model, lambda: model["net"](torch.ones(5, 4)).sum(), network="nets")
        with pytest.raises(
            ValueError, match=r"a module that the training step calls, and of \['other'\] it calls none"
        ):
            self.read(model, lambda: model["net"](torch.ones(5, 4)).sum(), network="other")
        with pytest.raises(ValueError, match=r"of \['root', 'net', 'other'\] it calls none: name one as network="):
            self.read(model, lambda: torch.zeros(()))

        class Constant(nn.Linear):
            def forward(self, _: int) -> Tensor:
                return self.weight.sum()

        model = nn.ModuleDict({"net": Constant(4, 2)})
        with pytest.raises(
            ValueError, match="network 'net' must be called with a tensor whose first dimension is the b"
        ):
            self.read(model, lambda: model["net"](3))
        assert not model["net"]._forward_pre_hooks

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"samples": 0}, "samples must be a whole number of at least 1 and below 2\\*\\*63, got 0"),
            ({"probes": 0}, "probes must be a whole number of at least 1 and below 2\\*\\*63, got 0"),
            ({"steps": -1}, "steps must be a whole number of at least 1 and below 2\\*\\*63, got -1"),
            ({"laplacian_probes": -1}, "laplacian_probes must be a whole number of at least 0 and below .*, got -1"),
            ({"regulator": 0.0}, r"regulator must be positive and finite \(m\^2, for example 0.1\), got 0.0"),
            ({"regulator": math.inf}, "regulator must be positive and finite"),
        ],
    )
    def test_settings(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            BulkProbe(**settings)


class Everything(nn.Module):
    """Batch normalisation, dropout in training mode, attention, and a frozen part."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(3), nn.ReLU(inplace=True), nn.Dropout(0.5))
        self.block = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.3, batch_first=True)
        self.head = nn.Linear(12, 3)
        self.body[0].requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(self.body(x)).flatten(1))


def left_behind(model: nn.Module, act: Callable[[], Any]) -> list[Any]:
    """All that a run could notice of an action, from the same beginning."""
    torch.manual_seed(3)
    act()
    modules, parameters = list(model.modules()), list(model.parameters())
    kept = [torch.get_rng_state(), *model.state_dict().values(), *(p.grad for p in parameters), DATA.clone()]
    hooks = sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules)
    flags = [module.training for module in modules]
    return [*kept, hooks, flags, torch.is_grad_enabled(), torch.backends.mha.get_fastpath_enabled()]


@pytest.mark.parametrize("build", [perceptron, lambda: built(Everything)], ids=["chain", "any"])
@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_left_behind(build: Callable[[], nn.Module], fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(build())
    linears(model)[-1].eval()  # a flag of its own
    model.step(DATA).backward()
    twin = copy.deepcopy(model)
    for one, other in zip(model.parameters(), twin.parameters(), strict=True):
        other.grad = None if one.grad is None else one.grad.clone()
    if fails:

        def fault(*_: Any, **__: Any) -> None:
            raise RuntimeError("no such derivative")

        monkeypatch.setattr("thermo_callbacks.probes.bulk.sequential.bulk_complexity", fault)
        monkeypatch.setattr("thermo_callbacks.probes.bulk.general.lanczos_log_sums", fault)

    def measurement() -> None:
        before = {p: 0.9 * p.detach() for p in model.parameters()}
        with (
            pytest.raises(ValueError, match=r"'network' must be .* twice, got RuntimeError: no such")
            if fails
            else done()
        ):
            BulkProbe().measure(model, lambda: model.step(DATA), generator=torch.Generator(), before=before)

    found, expected = left_behind(model, measurement), left_behind(twin, lambda: twin.step(DATA))
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other) if isinstance(one, Tensor) else one == other


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("build", [perceptron, lambda: built(Everything)], ids=["chain", "any"])
def test_modes_around_the_measurement_do_not_matter(build: Callable[[], nn.Module], mode: type) -> None:
    network = build()
    expected = measure(copy.deepcopy(network))
    with mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=False):
        found = measure(network)
    assert_close(found.complexity, expected.complexity)
    assert_close(found.laplacian, expected.laplacian, equal_nan=True)


@pytest.mark.parametrize("build", [perceptron, lambda: built(Everything)], ids=["chain", "any"])
def test_half_precision_is_lifted(build: Callable[[], nn.Module]) -> None:
    network = build().bfloat16()
    lifted = measure(copy.deepcopy(network).float().eval(), DATA.bfloat16().float())
    found = measure(network.eval(), DATA.bfloat16())
    assert_close(found.complexity, lifted.complexity)
    assert_close(found.laplacian, lifted.laplacian, equal_nan=True)


def test_seeds_fix_the_random_vectors() -> None:
    network = built(Everything)
    first, again, other = (measure(copy.deepcopy(network), seed=seed).complexity.value for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_step_may_be_a_replayed_one() -> None:
    """Inside a replay the module has copies of its parameters; the measurement is of the parameters themselves."""
    network = perceptron()
    network[3].p = 0.0
    model = Model(network)
    model.training_step = lambda batch, batch_idx: model.step(batch)
    replay = Replay(model)

    def step() -> Tensor:
        with replay.loss({}, DATA) as loss:
            return loss.value

    before = {p: 0.9 * p.detach() for p in network.parameters()}
    found = BulkProbe().measure(model, step, generator=torch.Generator().manual_seed(0), before=before)
    expected = measure(network, before=before)
    assert (found.network, found.method) == (expected.network, expected.method)
    for name in ("complexity", "bulk_loss", "pinned_bulk_loss", "boundary_loss", "laplacian"):
        assert_close(getattr(found, name), getattr(expected, name))
    assert not network._forward_pre_hooks
