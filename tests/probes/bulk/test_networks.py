"""The map from states to states of any network: against maps written out by hand, and its determinant."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
from bulk_oracles import NETWORKS, ConvNet, batch, built, dense_map_matrix, half_log_determinant, states_of
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from thermo_callbacks.functional import bulk_complexity
from thermo_callbacks.functional.bulk.lanczos import LanczosSums
from thermo_callbacks.probes.bulk.capture import NetworkCall
from thermo_callbacks.probes.bulk.eval_mode import call_network, evaluation
from thermo_callbacks.probes.bulk.general import NetworkBulk
from thermo_callbacks.probes.bulk.neurons import NeuronMap
from thermo_callbacks.probes.bulk.operator import BulkOperator, Layout, sample_layout

CPU = torch.device("cpu")


def recorded(*args: Any, samples: int = 3, **kwargs: Any) -> NetworkCall:
    call = NetworkCall.record(args, kwargs, samples)
    assert call is not None
    return call


def measured(network: nn.Module, call: NetworkCall, *, probes: int = 4, seed: int = 0) -> Any:
    with evaluation(network, CPU):
        bulk = NetworkBulk(network, call, regulator=0.1, steps=60, reason="by choice")
        return bulk, bulk.complexity(probes, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", NETWORKS)
def test_states_and_operator_are_those_of_the_map_by_hand(kind: type) -> None:
    network, inputs = built(kind), batch(kind.inputs, 3)
    call = recorded(inputs)
    with evaluation(network, CPU):
        neurons = NeuronMap(network, call.rows(torch.tensor([0])))
        states = neurons.states(call, {})
        layout = sample_layout(neurons.states(call.rows(torch.tensor([0])), {}), states)
        assert layout is not None
        operator = BulkOperator(neurons, call, states, layout=layout, regulator=0.1)
        size = layout.rows(states).shape[1]
        rows = torch.randn(3, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        products = operator(rows)
        expected = [states_of(network, x.unsqueeze(0)) for x in inputs]
        for sample, own in enumerate(expected):
            assert_close(layout.rows(states)[sample], torch.cat([x.flatten() for x in own]))
            matrix = dense_map_matrix(network.state_map, own, 0.1)
            assert_close(products[sample], matrix @ rows[sample], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", NETWORKS)
def test_complexity_is_the_dense_one_within_its_error(kind: type) -> None:
    network, inputs = built(kind), batch(kind.inputs, 3)
    bulk, found = measured(network, recorded(inputs), probes=64)
    with evaluation(network, CPU):
        matrices = [dense_map_matrix(network.state_map, states_of(network, x.unsqueeze(0)), 0.1) for x in inputs]
    expected = torch.stack([half_log_determinant(matrix) for matrix in matrices])
    assert bulk.neurons == len(matrices[0])
    assert bulk.mapped == bulk.neurons - inputs[0].numel()
    assert abs(found.of_samples.mean() - expected.mean()) < 3 * found.probe_stderr + found.truncation
    assert found.truncation < found.probe_stderr
    assert found.probe_stderr < 0.1 * expected.mean()
    trace = torch.stack([matrix.trace() for matrix in matrices]).mean()
    assert_close((found.spectrum.values * found.spectrum.counts).sum(), trace, rtol=0.05, atol=0.0)
    assert_close(found.spectrum.counts.sum().item(), float(bulk.neurons))


@pytest.mark.parametrize("kind", NETWORKS)
def test_without_a_regulator_the_determinant_is_one(kind: type) -> None:
    network = built(kind)
    with evaluation(network, CPU):
        states = states_of(network, batch(kind.inputs, 1))
        assert abs(half_log_determinant(dense_map_matrix(network.state_map, states, 0.0))) < 1e-8


@pytest.mark.parametrize("kind", NETWORKS)
def test_samples_one_by_one_and_together_are_the_same(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    network, call = built(kind), recorded(batch(kind.inputs, 3))
    together, first = measured(network, call)
    monkeypatch.setattr("thermo_callbacks.probes.bulk.general.LARGEST_BASIS", 1)
    alone, second = measured(network, call)
    assert (together.together > 1, alone.together) == (True, 1)
    assert_close(first.of_samples, second.of_samples, rtol=1e-3, atol=1e-2)
    moved = {parameter: 1.1 * parameter for parameter in network.parameters()}
    with evaluation(network, CPU):
        assert_close(together.losses({}, moved), alone.losses({}, moved))


@pytest.mark.parametrize("kind", NETWORKS)
def test_agitation_is_of_second_order_in_the_step(kind: type) -> None:
    network, call = built(kind), recorded(batch(kind.inputs, 3))
    with evaluation(network, CPU):
        bulk = NetworkBulk(network, call, regulator=0.1, steps=10, reason="by choice")
        found = [
            bulk.losses({}, {parameter: (1 + step) * parameter for parameter in network.parameters()})
            for step in (0.0, 1e-6, 1e-5)
        ]
    assert found[0].shape == (3, len(kind.shapes))
    assert (found[0] == 0.0).all()
    assert_close(found[2] / found[1], torch.full_like(found[1], 100.0), rtol=1e-2, atol=0.0)
    assert (found[1] > 0).all()


class Tied(nn.Module):
    """An embedding that is the head too, a parameter of the whole, and attention that sees no later position."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.position = nn.Parameter(torch.ones(5, 4))
        self.block = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.5, batch_first=True, norm_first=True)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.head(self.block(self.embedding(tokens) + self.position, src_mask=mask))


class Recurrent(nn.Module):
    """Sequence first inside, and a tuple for output."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(3, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(x.transpose(0, 1))[0][-1])


def test_forms_and_bounds_of_a_logarithm_are_twice_those_of_the_complexity(monkeypatch: pytest.MonkeyPatch) -> None:
    def forms(_: Any, start: Tensor, **__: Any) -> LanczosSums:
        values = 2.0 * torch.arange(1.0, len(start) + 1)
        return LanczosSums(values, torch.full_like(values, 6.0), values[:, None], torch.ones(len(start), 1))

    monkeypatch.setattr("thermo_callbacks.probes.bulk.general.lanczos_log_sums", forms)
    _, found = measured(built(ConvNet), recorded(batch((1, 8, 8), 2)), probes=2)
    assert found.of_samples.tolist() == [1.5, 3.5]
    assert found.truncation == 3.0
    assert_close(found.probe_stderr.item(), 0.5 / 2**0.5)  # variances 1/2 and 1/2 of two probes each, of two samples
    assert_close(found.spectrum.counts, torch.full((4,), 275 / 4))


def test_a_single_probe_has_no_error() -> None:
    _, found = measured(built(ConvNet), recorded(batch((1, 8, 8), 2)), probes=1)
    assert found.probe_stderr.isnan()


class InPlace(nn.Module):
    """Writes to its input and to a layer's output."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x.mul_(2.0)).sigmoid_())


def test_networks_may_write_to_what_they_are_given() -> None:
    network, data = built(InPlace), batch((3,), 3)
    bulk, found = measured(network, recorded(data), probes=500)
    first = network.first(2.0 * data).detach()
    slope = first.sigmoid() * (1.0 - first.sigmoid())
    expected = []
    for sample in slope:  # states before the sigmoid: its slope belongs to the layer above
        weights = [2.0 * network.first.weight.detach(), network.second.weight.detach() * sample]
        expected.append(bulk_complexity(weights, [torch.ones(4).double(), torch.ones(2).double()]))
    error = found.of_samples.mean() - torch.stack(expected).mean()
    assert abs(error) < 3 * found.probe_stderr + found.truncation
    assert found.probe_stderr < 0.05
    with evaluation(network, CPU):
        assert (bulk.losses({}, {}) == 0.0).all()


def test_tokens_have_no_input_neurons_and_masks_are_not_cut() -> None:
    network = built(Tied)
    tokens = torch.arange(20).view(4, 5) % 7
    mask = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    bulk, found = measured(network, recorded(tokens, mask=mask))
    # embedding, two norms, attention, two linear layers and the head
    assert (bulk.neurons, bulk.mapped) == (5 * (4 + 4 + 4 + 4 + 6 + 4 + 7), bulk.neurons)
    assert found.of_samples.isfinite().all()


def test_layout_follows_the_samples_where_they_are() -> None:
    network = built(Recurrent)
    bulk, found = measured(network, recorded(batch((6, 3), 3)))
    assert bulk.layout.dimensions == (0, 1, 0)
    assert bulk.neurons == 6 * 3 + 6 * 4 + 2
    assert found.of_samples.shape == (3,)


def test_samples_that_change_each_other_are_taken_alone() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x - x.mean(0))

    bulk, _ = measured(built(Mixed), recorded(batch((3,), 3)))
    assert bulk.together == 1
    assert bulk.layout.dimensions is None


def test_layouts() -> None:
    one, many = torch.ones(1, 2, 3), torch.ones(5, 2, 3)
    assert sample_layout([one], [many]).dimensions == (0,)
    assert sample_layout([one.movedim(0, 1)], [many.movedim(0, 1)]).dimensions == (1,)
    assert sample_layout([one], [one]) is None  # no dimension counts the samples
    assert sample_layout([torch.ones(2, 3)], [torch.ones(10, 3)]) is None  # one that counts them along with others
    assert sample_layout([one], [many.flatten(1)]) is None
    assert sample_layout([one], [2 * many]) is None
    layout = Layout((0, 1))
    states = [torch.arange(6.0).view(3, 2), torch.arange(12.0).view(2, 3, 2)]
    rows = layout.rows(states)
    assert rows[1].tolist() == [2.0, 3.0, 2.0, 3.0, 8.0, 9.0]
    assert all(torch.equal(x, y) for x, y in zip(layout.states(rows, states), states, strict=True))
    alone = Layout()
    assert alone.rows(states).shape == (1, 18)
    assert all(torch.equal(x, y) for x, y in zip(alone.states(alone.rows(states), states), states, strict=True))


def test_parametrized_layers_are_layers() -> None:
    network = nn.Sequential(weight_norm(nn.Linear(3, 4, bias=False)), nn.Tanh(), nn.Linear(4, 2)).double()
    bulk, _ = measured(network, recorded(batch((3,), 3)))
    assert bulk.neurons == 3 + 4 + 2


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # the compiler's own
def test_a_compiled_part_is_seen_through() -> None:
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    plain = nn.Sequential(nn.Linear(3, 4), inner).double()
    compiled = nn.Sequential(plain[0], torch.compile(inner, backend="eager"))
    data = batch((3,), 3)
    compiled(data)
    (one, first), (other, second) = measured(plain, recorded(data)), measured(compiled, recorded(data))
    assert one.neurons == other.neurons == 11
    assert_close(first.of_samples, second.of_samples)


class Frozen(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            hidden = self.first(x)
        return self.second(hidden)


class Checkpointed(Frozen):
    def forward(self, x: Tensor) -> Tensor:
        return self.second(checkpoint(self.first, x, use_reentrant=False))


class Noisy(Frozen):
    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x) + torch.rand_like(x[:, :1]))


class Skipping(Frozen):
    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) if torch.rand(()) > 0.5 else self.second(self.first(x))


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        (Frozen, ValueError, "must let gradients through all of its layers, but calls a Linear without: under no_grad"),
        (Checkpointed, RuntimeError, "its backward pass must not call layers again .*activation checkpointing"),
        (Noisy, ValueError, "must compute the same states each time, got others from the same data"),
        (Skipping, ValueError, "must call the same modules each time, got 1 layers instead of 2"),
        (nn.Tanh, ValueError, "must hold a module that owns parameters and gives a floating-point tensor, got Tanh"),
    ],
)
def test_networks_that_cannot_be_measured_say_why(kind: type, error: type[Exception], message: str) -> None:
    torch.manual_seed(0)
    stream = torch.get_rng_state()
    with pytest.raises(error, match=message):
        measured(built(kind), recorded(batch((3,), 3)))
    assert torch.equal(torch.get_rng_state(), stream)


class Wavering(Frozen):
    calls = 2

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.second(self.first(x) * self.calls)


class Steady(Frozen):
    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x) * 3)


def test_a_network_that_changes_at_each_call_is_measured_as_it_is_now() -> None:
    network, call = built(Wavering), recorded(batch((3,), 3))
    (bulk, found), (steady, expected) = measured(network, call), measured(built(Steady), call)
    assert torch.equal(found.of_samples, expected.of_samples)
    assert torch.equal(bulk.losses({}, {}), steady.losses({}, {}))
    assert network.calls == 2


def test_buffers_that_a_network_writes_to_are_copies() -> None:
    class Counting(nn.Linear):
        def __init__(self) -> None:
            super().__init__(3, 2)
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            self.calls.add_(1)
            return super().forward(x)

    network = built(Counting)
    measured(network, recorded(batch((3,), 3)))
    assert network.calls == 0
    assert network.calls._version == 0


class Shared(nn.Module):
    """One layer under two names, and a buffer under two; the second call may be interrupted."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(3, 3), nn.Linear(3, 2)
        self.second = self.first
        self.register_buffer("scale", torch.full((3,), 2.0))
        self.head.register_buffer("scale", self.scale)
        self.interrupted = False

    def forward(self, x: Tensor) -> Tensor:
        assert self.first.weight is self.second.weight
        assert self.scale is self.head.scale
        if self.interrupted:
            raise KeyboardInterrupt
        return self.head(self.scale * self.second(self.scale * self.first(x)))


@pytest.mark.parametrize("interrupted", [False, True])
def test_values_are_put_in_the_place_of_shared_tensors_and_taken_away_again(interrupted: bool) -> None:
    network, data = Shared(), batch((3,), 3).float()  # another dtype would untie the buffers
    tensors = [(module, name) for module in network.modules() for name in (*module._parameters, *module._buffers)]
    before = [getattr(module, name) for module, name in tensors]
    moved = {parameter: 2.0 * parameter.detach() for parameter in network.parameters()}
    network.interrupted = interrupted
    with pytest.raises(KeyboardInterrupt) if interrupted else contextlib.nullcontext():
        found = call_network(network, recorded(data), moved)
    after = [getattr(module, name) for module, name in tensors]
    assert all(one is other for one, other in zip(before, after, strict=True))
    if not interrupted:
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(2.0)
        assert torch.equal(found, network(data))


def test_a_call_is_recorded_as_it_was() -> None:
    data, mask = torch.arange(12.0).view(4, 3), torch.ones(2)
    call = recorded({"x": data, "n": torch.arange(4)}, mask, 7, samples=2, flag=True)
    data.zero_()
    args, kwargs = call.rows(torch.tensor([1, 1, 0])).arguments()
    assert args[0]["x"].tolist() == [[3.0, 4.0, 5.0], [3.0, 4.0, 5.0], [0.0, 1.0, 2.0]]
    assert args[0]["n"].tolist() == [1, 1, 0]
    assert (args[1].tolist(), args[2], kwargs) == ([1.0, 1.0], 7, {"flag": True})
    states = torch.full((2, 3), 5.0)
    args, _ = call.arguments(states)
    assert torch.equal(args[0]["x"], states)
    assert (call.samples, call.rows(torch.tensor([1, 1, 0])).samples) == (2, 3)
    for nothing in (((3,), {}), ((torch.tensor(1.0),), {}), ((torch.ones(0, 3),), {})):
        assert NetworkCall.record(*nothing, 4) is None


def test_operations_are_those_that_can_be_differentiated_twice() -> None:
    network = built(ConvNet).train()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        with evaluation(network, CPU):
            assert not torch.backends.mha.get_fastpath_enabled()
            assert not torch.backends.cuda.flash_sdp_enabled()
            assert not torch.backends.cudnn.enabled
            assert not torch.is_autocast_enabled("cpu")
            assert torch.is_grad_enabled()
            assert not torch.is_inference_mode_enabled()
            assert not network.conv1.training
        assert torch.is_autocast_enabled("cpu")
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.cudnn.enabled
    assert network.conv1.training


class BothWays(nn.Module):
    """Registers its scale as a parameter, and as a buffer too."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))
        self.register_buffer("view", self.scale)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale * self.view


def test_a_parameter_that_is_a_buffer_too_takes_the_value_given_for_it() -> None:
    network, x = BothWays(), torch.ones(3, 2)
    output = call_network(network, recorded(x), {network.scale: torch.full((2,), 3.0)})
    assert_close(output, 9 * x, rtol=0.0, atol=0.0)
    assert network.view is network.scale
