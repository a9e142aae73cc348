"""Directions of each sample's own on live networks: against whole Hessians, and where they must not be used."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import pytest
import torch
from curvature_networks import energy, inputs, network, probe_of, same
from integration.curvature_models import Once, Twice
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, layer_norm, scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from thermo_callbacks.probes.curvature import CurvatureProbe, CurvatureSample, SampleCurvatureProbe
from thermo_callbacks.probes.curvature.sample_calls import CallRecorder
from thermo_callbacks.probes.curvature.sample_products import SampleProducts
from thermo_callbacks.probes.layers import layer_parameters
from thermo_callbacks.probes.replay import Replay
from thermo_callbacks.probes.replay.autograd_graph import read_graph

SYMBOLS, LENGTH, WIDTH, SAMPLES = 6, 4, 3, 8


class Decoder(nn.Module):
    """Attention between norms over tokens, with positions that all samples share, and maybe one table at both ends."""

    def __init__(self, *, tied: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS, WIDTH)
        self.position = nn.Embedding(LENGTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.mix = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.RMSNorm(WIDTH)
        self.head = nn.Linear(WIDTH, SYMBOLS, bias=not tied)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.embedding(tokens) + self.position(torch.arange(LENGTH))
        query, key, value = self.mix(self.norm(hidden)).chunk(3, -1)
        hidden = hidden + torch.softmax(query @ key.transpose(1, 2), -1) @ value
        return self.head(self.out(hidden))


class Recurrent(nn.Module):
    """One layer, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.Linear(WIDTH, WIDTH)

    def forward(self, values: Tensor) -> Tensor:
        return self.cell(torch.tanh(self.cell(values)))


class Rows(nn.Module):
    """Tokens as rows of a matrix, each sample's one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(WIDTH, 4), nn.Linear(4, SYMBOLS)

    def forward(self, values: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(values.flatten(0, 1))).view(SAMPLES, LENGTH, 4)
        return self.head(layer_norm(hidden.cumsum(1), (4,)).flatten(0, 1)).view(SAMPLES, LENGTH, SYMBOLS)


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2), nn.GroupNorm(2, 4), nn.Tanh(), nn.Conv2d(4, 3, 3),
        nn.Tanh(), nn.Flatten(), nn.Linear(12, SYMBOLS),
    )  # fmt: skip


def loss_of(net: Any, batch: Any) -> Tensor:
    return cross_entropy(net(batch[0]).flatten(0, -2), batch[1].flatten())


def case(name: str) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    """A network and a batch."""
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(SYMBOLS, (2, SAMPLES, LENGTH), generator=generator)

    def values(*shape: int) -> Tensor:
        return torch.randn(SAMPLES, *shape, generator=generator, dtype=torch.float64)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made: dict[str, tuple[nn.Module, tuple[Tensor, Tensor]]] = {
            "tokens": (Decoder(), (tokens[0], tokens[1])),
            "tied": (Decoder(tied=True), (tokens[0], tokens[1])),
            "recurrent": (Recurrent(), (values(WIDTH), tokens[0, :, 0] % WIDTH)),
            "rows": (Rows(), (values(LENGTH, WIDTH), tokens[0])),
            "convolutions": (convolutions(), (values(2, 7, 7), tokens[0, :, 0])),
            "vectors": (nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)), (values(4), tokens[0, :, 0] % 2)),
        }
    net, batch = made[name]
    return net.double(), batch


@pytest.mark.parametrize("name", ["tokens", "tied", "recurrent", "rows", "convolutions", "vectors"])
def test_a_sample_contributes_its_own_direction_and_hessian(name: str) -> None:
    """With the graphs of all inputs, whose part would be zero on average where each leaf has one call."""
    net, batch = case(name)
    leaves = [leaf for key, leaf in net.named_parameters() if not key.startswith("position")]
    mobilities = {id(leaf): torch.rand_like(leaf) for leaf in leaves}
    layers = {id(leaf): 0 for leaf in leaves}
    recorder = CallRecorder(
        layers,
        SAMPLES,
        torch.Generator().manual_seed(3),
        mobility=lambda leaf: mobilities[id(leaf)],
        repeated=frozenset(layers),
    )
    with recorder:
        loss = loss_of(net, batch)
    assert {end: read_graph(loss).uses[end] for end in layers} == recorder.uses
    slopes = torch.autograd.grad(loss, zeros_of(recorder), create_graph=True)
    products = SampleProducts(recorder.calls, slopes[: len(recorder.calls)], 1)
    shifts = products.shifts()
    found = products.products(shifts, None, keep=False)
    plain, moving = products.contributions(shifts, found, lambda leaf: mobilities[id(leaf)])
    for i in range(SAMPLES):
        own = cross_entropy(net(batch[0])[i], batch[1][i]) / SAMPLES
        hessian = hessian_of(own, leaves)
        v = torch.cat([recorder.signs(leaf).each(1.0)[i].flatten() for leaf in leaves])
        m = torch.cat([mobilities[id(leaf)].flatten() for leaf in leaves])
        torch.testing.assert_close(plain[i, 0], v @ hessian @ v)
        torch.testing.assert_close(moving[i, 0], (m * v) @ hessian @ v)


def zeros_of(recorder: CallRecorder) -> list[Tensor]:
    """What derivatives are taken by."""
    return [call.offset for call in recorder.calls]


def hessian_of(loss: Tensor, leaves: list[Tensor]) -> Tensor:
    """The whole Hessian, also by leaves that a sample does not use."""
    options: dict[str, Any] = {"create_graph": True, "allow_unused": True, "materialize_grads": True}
    entries = torch.cat([gradient.flatten() for gradient in torch.autograd.grad(loss, leaves, **options)])
    rows = [
        torch.autograd.grad(entry, leaves, retain_graph=True, allow_unused=True, materialize_grads=True)
        for entry in entries
    ]
    return torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])


def measured(
    net: nn.Module, batch: Any, count: int, loss_fn: Any = loss_of, **options: Any
) -> tuple[SampleCurvatureProbe, list[CurvatureSample]]:
    probe = SampleCurvatureProbe(Replay(net, loss_fn), layer_parameters(net), seed=5, probes=2)
    return probe, [probe.measure({}, batch, step=step, **options) for step in range(count)]


@pytest.mark.parametrize("name", ["tokens", "tied", "recurrent", "rows", "convolutions", "vectors"])
def test_the_mean_is_the_trace_of_the_whole_hessian(name: str) -> None:
    net, batch = case(name)
    layers = layer_parameters(net)
    leaves = [leaf for owned in layers.values() for leaf in owned]
    mobilities = {
        leaf: torch.rand(leaf.shape, generator=torch.Generator().manual_seed(leaf.numel()), dtype=leaf.dtype)
        for leaf in leaves
    }
    count = 100
    probe, samples = measured(net, batch, count, mobilities=mobilities)
    diagonal = hessian_of(loss_of(net, batch), leaves).diagonal()
    factors = torch.cat([mobilities[leaf].flatten() for leaf in leaves])
    sizes = [sum(leaf.numel() for leaf in owned) for owned in layers.values()]
    for field, exact in (("traces", diagonal), ("mobility_traces", factors * diagonal)):
        values = torch.stack([getattr(sample, field) for sample in samples])
        truth = torch.stack([part.sum() for part in exact.split(sizes)])
        score = (values.mean(0) - truth) / (values.std(0) / count**0.5)
        assert (score.abs() < 3.5).all(), (field, score)
    common = {list(layers)[number] for number, owned in enumerate(layers.values()) if number in owners_of(probe)}
    assert common == ({"position"} if "position" in layers else set())
    # the batch's own samples scatter too, which is in the error and not in these measurements
    errors = torch.stack([sample.whole[1] for sample in samples]).mean().sqrt()
    assert 0.9 < errors / torch.stack([sample.whole[0] for sample in samples]).std() < 2.5


def owners_of(probe: SampleCurvatureProbe) -> set[int]:
    """Layers with vectors that all samples share."""
    return {probe._order.owners[index] for index in probe._common}


def test_signs_of_the_outputs_give_the_exact_expectation(monkeypatch: pytest.MonkeyPatch) -> None:
    """All signs of both layers of a small network: their mean is the trace to rounding."""
    net = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 2)).double()
    batch = (inputs(8)[:, :3], torch.tensor([0, 1, 1, 0, 1, 0, 0, 1]))
    mobilities = {leaf: torch.rand_like(leaf) for leaf in net.parameters()}
    traces, moving = [], []
    for signs in itertools.product([-1.0, 1.0], repeat=4):
        drawn = iter(torch.tensor(signs, dtype=torch.float64).view(2, 1, 2))
        monkeypatch.setattr(
            "thermo_callbacks.probes.curvature.sample_layers.rademacher",
            lambda like, generator, drawn=drawn: [next(drawn).expand_as(like[0])],
        )
        _, (sample,) = measured(net, batch, 1, mobilities=mobilities)
        traces.append(sample.traces)
        moving.append(sample.mobility_traces)
    diagonal = hessian_of(loss_of(net, batch), list(net.parameters())).diagonal()
    factors = torch.cat([mobility.flatten() for mobility in mobilities.values()])
    for found, exact in ((traces, diagonal), (moving, factors * diagonal)):
        torch.testing.assert_close(
            torch.stack(found).mean(0), torch.stack([part.sum() for part in exact.split([8, 6])])
        )


def same_as_common_vectors(net: nn.Module, batch: Any, loss_fn: Any) -> bool:
    _, (sample,) = measured(net, batch, 1, loss_fn)
    plain = CurvatureProbe(Replay(net, loss_fn), layer_parameters(net), seed=5, probes=2)
    return same(sample, plain.measure({}, batch, step=0)) and sample.degrees_of_freedom == float("inf")


def contrast(net: Any, batch: Any) -> Tensor:
    """Each sample against all others."""
    found = net(batch)
    return cross_entropy(found @ found.T, torch.arange(len(found)))


def in_pairs(net: Any, batch: Any) -> Tensor:
    """Each sample with its neighbour."""
    return (net(batch)[0::2] - net(batch)[1::2]).square().mean()


def test_samples_that_depend_on_each_other_share_their_vectors() -> None:
    assert same_as_common_vectors(network(), inputs(), contrast)
    assert same_as_common_vectors(network(), inputs(), in_pairs)
    normalised = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1)).double()
    assert same_as_common_vectors(normalised, inputs(), energy)
    assert not same_as_common_vectors(normalised.eval(), inputs(), energy)
    assert not same_as_common_vectors(network(), inputs(), energy)


def test_what_else_takes_common_vectors() -> None:
    assert same_as_common_vectors(network(), inputs(7), energy)  # too few samples for an error
    assert same_as_common_vectors(network(Twice.apply), inputs(), energy)  # operations of their own
    assert same_as_common_vectors(network(), None, lambda net, batch: energy(net, inputs()))  # no batch to be seen


def test_activation_checkpoints_change_nothing() -> None:
    net, batch = case("tokens")
    again = partial(checkpoint, net, use_reentrant=False)
    _, (kept,) = measured(net, batch, 1)
    _, (checkpointed,) = measured(net, batch, 1, lambda _, batch: loss_of(again, batch))
    torch.testing.assert_close(checkpointed.traces, kept.traces)
    assert checkpointed.degrees_of_freedom == kept.degrees_of_freedom
    # the calls of a weight that has several are other operations when they are run again
    tied, batch = case("tied")
    again = partial(checkpoint, tied, use_reentrant=False)
    assert same_as_common_vectors(tied, batch, lambda _, batch: loss_of(again, batch))


@pytest.mark.filterwarnings("ignore:.*finite differences")
def test_differences_are_taken_where_there_is_no_second_derivative() -> None:
    probe, samples = measured(network(Once.apply), inputs(), 2, energy)
    assert probe.method == "finite_difference"
    assert all(sample.traces.isfinite().all() for sample in samples)
    assert samples[1].gradients == {}


def test_a_weight_that_is_used_otherwise_shares_its_vectors() -> None:
    module = network()

    def decayed(net: Any, batch: Any) -> Tensor:
        return energy(net, batch) + 0.1 * net.first.weight.square().sum()

    probe, samples = measured(module, inputs(), 100, decayed)
    assert [list(layer_parameters(module))[number] for number in owners_of(probe)] == ["first"]
    traces = torch.stack([sample.traces for sample in samples])
    diagonal = hessian_of(decayed(module, inputs()), list(module.parameters())).diagonal()
    size = sum(parameter.numel() for parameter in module.first.parameters())
    exact = torch.stack([part.sum() for part in diagonal.split([size, len(diagonal) - size])])
    assert ((traces.mean(0) - exact).abs() < 3.5 * traces.std(0) / 10.0).all()


def test_a_loss_that_couples_samples_later_is_noticed() -> None:
    module, coupled = network(), [False]

    def loss_fn(net: Any, batch: Any) -> Tensor:
        return contrast(net, batch) if coupled[0] else energy(net, batch)

    probe, (first,) = measured(module, inputs(), 1, loss_fn)
    assert first.degrees_of_freedom == len(inputs()) - 1
    coupled[0] = True
    later = probe.measure({}, inputs(), step=1)
    plain = CurvatureProbe(Replay(module, loss_fn), layer_parameters(module), seed=5, probes=2)
    assert same(later, plain.measure({}, inputs(), step=1))


def test_rows_that_are_not_a_samples_are_told_apart() -> None:
    """Time before samples: rows that follow each other belong to different samples."""
    net, (values, target) = case("rows")

    def by_time(module: Any, batch: Any) -> Tensor:
        hidden = torch.tanh(module.first(batch[0].transpose(0, 1).flatten(0, 1))).view(LENGTH, SAMPLES, 4)
        return cross_entropy(module.head(hidden.cumsum(0).mean(0)), batch[1][:, 0])

    probe, samples = measured(net, (values, target), 1, by_time)
    assert [list(layer_parameters(net))[number] for number in owners_of(probe)] == ["first"]
    assert samples[0].degrees_of_freedom >= SAMPLES - 1


def test_nothing_is_left_of_a_measurement_in_the_random_numbers() -> None:
    module = network()
    before = torch.get_rng_state()
    probe, _ = measured(module, inputs(), 1, energy)
    assert torch.equal(before, torch.get_rng_state())
    again, others = (probe.measure({}, inputs(), step=step) for step in (0, 1))
    fresh = measured(module, inputs(), 1, energy)[1][0]
    torch.testing.assert_close(again.traces, fresh.traces)
    assert not torch.equal(others.traces, fresh.traces)


def test_loss_and_gradients_of_the_batch_are_handed_out() -> None:
    module = network()
    expected = torch.autograd.grad(energy(module, inputs()), list(module.parameters()))
    for found in (measured(module, inputs(), 1, energy)[1][0], probe_of(module).measure({}, inputs(), step=0)):
        assert found.loss == pytest.approx(energy(module, inputs()).item())
        assert list(found.gradients) == list(module.parameters())
        for gradient, other in zip(found.gradients.values(), expected, strict=True):
            torch.testing.assert_close(gradient, other)
            assert not gradient.requires_grad


def test_operations_that_are_others_in_training_are_known() -> None:
    assert measured(network(), inputs(), 1, energy)[1][0].as_trained
    assert not measured(network(), inputs(), 1, attended)[1][0].as_trained
    assert not measured(network(), inputs(), 1, contrast)[1][0].as_trained  # not looked at


def attended(net: Any, batch: Any) -> Tensor:
    hidden = net.first(batch).unsqueeze(-1)
    return energy(net, batch) + scaled_dot_product_attention(hidden, hidden, hidden).square().mean()


@pytest.mark.parametrize("name", ["vectors", "tokens", "tied"])
def test_one_unknown_mobility_leaves_one_layer_without_a_value(name: str) -> None:
    net, batch = case(name)
    layers = layer_parameters(net)
    unknown = next(iter(layers))
    mobilities = {leaf: torch.rand_like(leaf) for owned in layers.values() for leaf in owned}
    for broken in (torch.nan, "tensor"):
        for leaf in layers[unknown]:
            mobilities[leaf] = torch.full_like(leaf, torch.inf) * 0.0 if broken == "tensor" else broken
        _, (sample,) = measured(net, batch, 1, mobilities=mobilities)
        assert sample.mobility_traces.isnan().tolist() == [layer == unknown for layer in layers]
        assert sample.traces.isfinite().all()


def test_within_layers_no_layer_shakes_another() -> None:
    net, batch = network(), (inputs(),)
    spread = []
    for within in (False, True):
        probe = SampleCurvatureProbe(Replay(net, energy_of_first), layer_parameters(net), seed=0, within_layers=within)
        spread.append(torch.stack([probe.measure({}, batch, step=step).traces for step in range(100)]).std(0))
    # one output: its layer's signs are all that shakes it, and they square to one
    assert spread[1][1] < 1e-9 < spread[0][1]


def energy_of_first(net: Any, batch: Any) -> Tensor:
    return energy(net, batch[0])
