"""Transition temperature from the initial state to now: closed forms, its error, what has none, and resuming."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from oracles import normal
from torch import Tensor, nn

from thermo_callbacks.probes.layers import layer_parameters
from thermo_callbacks.probes.parameters.transition import TypeOneTransition

GLOBAL, STDERR, FAMILY = (
    "thermo/transition_temperature",
    "thermo/transition_temperature_stderr",
    "thermo_transition_temperature",
)
LOSSES = torch.tensor([5.0, 4.0, 3.0, 2.0], dtype=torch.float64)  # a steady fall has no scatter


def fail(topic: str, message: str) -> None:
    raise AssertionError(f"{topic}: {message}")


def network(seed: int = 0) -> nn.Sequential:
    """Layers "0" (30 x 20 weights, 30 biases), "1" (normalisation), "2" (10 x 30, no bias)."""
    net = nn.Sequential(nn.Linear(20, 30), nn.LayerNorm(30), nn.Linear(30, 10, bias=False)).double()
    with torch.no_grad():
        for index, parameter in enumerate([*net[0].parameters(), *net[2].parameters()]):
            parameter.copy_(normal(*parameter.shape, seed=seed + index))
    return net


def scale(net: nn.Sequential, factor: float) -> None:
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(factor)


def close(transition: TypeOneTransition, net: nn.Module, losses: Tensor | None = LOSSES, **options: Any) -> Any:
    options = {"heat": {"0": -3.0, "1": -0.5, "2": -1.0}, "warn_once": fail, **options}
    return transition.close_window(layer_parameters(net), losses=losses, **options)


def started(net: nn.Module, **options: Any) -> TypeOneTransition:
    transition = TypeOneTransition(**options)
    transition.start(layer_parameters(net))
    return transition


@pytest.mark.parametrize("sample", [None, 100])
def test_weights_that_shrink_by_half(sample: int | None) -> None:
    """Each weight gives up ln 2; the loss falls from the first step's 5 to the window's mean of 3.5."""
    net = network()
    transition = started(net, sample=sample)
    scale(net, 0.5)
    record = close(transition, net)
    assert record.keys() == {GLOBAL, STDERR, f"{FAMILY}/0", f"{FAMILY}/2"}
    assert record[GLOBAL] == pytest.approx(1.5 / (930 * math.log(2.0)), rel=1e-9)
    assert record[STDERR] == pytest.approx(0.0, abs=1e-9)
    assert record[f"{FAMILY}/0"] == pytest.approx(3.0 / (630 * math.log(2.0)), rel=1e-9)
    assert record[f"{FAMILY}/2"] == pytest.approx(1.0 / (300 * math.log(2.0)), rel=1e-9)


def test_weights_that_grow_give_a_negative_temperature() -> None:
    net = network()
    transition = started(net)
    scale(net, 2.0)
    assert close(transition, net)[GLOBAL] == pytest.approx(-1.5 / (930 * math.log(2.0)), rel=1e-9)


def test_the_initial_energy_is_that_of_the_first_step_known() -> None:
    net = network()
    transition = started(net)
    scale(net, 0.5)
    unit = 930 * math.log(2.0)
    assert close(transition, net, torch.tensor([math.nan, 6.0, 4.0]))[GLOBAL] == pytest.approx(1.0 / unit, rel=1e-6)
    assert close(transition, net, torch.tensor([2.0, 4.0]))[GLOBAL] == pytest.approx(3.0 / unit, rel=1e-6)


def test_error_of_the_energies() -> None:
    """Against the scatter over 400 runs whose losses fall along a line with noise of 0.3."""
    net = network()
    start = layer_parameters(net)
    readings = []
    fresh = {"energy": None, **{key: value for key, value in started(net).state_dict().items() if key != "energy"}}
    scale(net, 0.5)
    noise = 0.3 * normal(400, 50, seed=1)
    for row in noise:
        transition = TypeOneTransition()
        assert transition.load_state_dict(fresh)
        losses = torch.linspace(5.0, 4.0, 50, dtype=torch.float64) + row
        record = transition.close_window(start, losses=losses, heat={"0": -1.0, "1": -1.0, "2": -1.0}, warn_once=fail)
        readings.append([record[GLOBAL], record[STDERR]])
    values, errors = torch.tensor(readings).T
    assert errors.square().mean().sqrt().item() == pytest.approx(values.std().item(), rel=0.12)
    # the first loss stands also in the mean of its own window, which the error leaves aside
    assert values.std().item() == pytest.approx(0.3 * math.sqrt(1 - 1 / 50) / (930 * math.log(2)), rel=0.1)


def test_error_of_the_sampled_entropies_counts() -> None:
    net = nn.Sequential(nn.Linear(100, 100, bias=False)).double()
    with torch.no_grad():
        net[0].weight.copy_(normal(100, 100, seed=2))
    readings: list[Sequence[float]] = []
    before = net[0].weight.detach().clone()
    for seed in range(60):
        with torch.no_grad():
            net[0].weight.copy_(before)
        transition = started(net, sample=500, seed=seed)
        with torch.no_grad():
            net[0].weight.mul_(0.5).add_(0.1 * normal(100, 100, seed=3))
        record = close(transition, net, heat={"0": -1.0})
        readings.append([record[GLOBAL], record[STDERR]])
    values, errors = torch.tensor(readings).T
    assert 0.75 < (errors.mean() / values.std()).item() < 1.35


def test_a_layer_that_never_had_an_entropy_has_no_tag() -> None:
    net = network()
    transition = started(net)
    scale(net, 0.5)
    record = close(transition, net)
    assert f"{FAMILY}/1" not in record


def test_weights_that_become_equal_drop_out() -> None:
    net = network()
    transition = started(net)
    scale(net, 0.5)
    with torch.no_grad():
        net[2].weight.zero_()
    said: dict[str, str] = {}
    record = close(transition, net, warn_once=said.__setitem__)
    assert math.isnan(record[f"{FAMILY}/2"])
    assert record[GLOBAL] == pytest.approx(1.5 / (630 * math.log(2.0)), rel=1e-9)
    assert said == {
        "transition_temperature of layers": "no transition temperature (NaN) for 2: the entropy of the weights has not "
        "changed beyond its error, has become infinite (equal weights), or the heat is not known."
    }


@pytest.mark.parametrize(
    ("moved", "losses"),
    [(False, LOSSES), (True, torch.full((4,), math.nan)), (None, LOSSES)],
    ids=["nothing moved", "no loss is known", "change within its error"],
)
def test_no_global_value(moved: bool | None, losses: Tensor) -> None:
    net = network()
    transition = started(net, sample=50 if moved is None else None)
    if moved:
        scale(net, 0.5)
    elif moved is None:  # other weights of the same density
        net = network(seed=20)
    said: dict[str, str] = {}
    record = close(transition, net, losses, warn_once=said.__setitem__)
    assert math.isnan(record[GLOBAL])
    assert math.isnan(record[STDERR])
    assert said["transition_temperature"] == (
        "no transition temperature (NaN) in a window: no loss is known, no layer's weights have an entropy, or their "
        "entropy has not changed beyond its error."
    )


def test_no_one_loss_to_speak_of() -> None:
    net = network()
    transition = started(net)
    scale(net, 0.5)
    assert close(transition, net, None).keys() == {f"{FAMILY}/0", f"{FAMILY}/2"}


def test_a_layer_that_appears_later_starts_there() -> None:
    net = network()
    late = {name: owned for name, owned in layer_parameters(net).items() if name != "2"}
    transition = TypeOneTransition()
    transition.start(late)
    said: dict[str, str] = {}
    assert math.isnan(close(transition, net, warn_once=said.__setitem__)[f"{FAMILY}/2"])
    scale(net, 0.5)
    record = close(transition, net, heat={"0": -3.0, "1": 0.0, "2": -1.75})
    assert record[f"{FAMILY}/2"] == pytest.approx(0.75 / (300 * math.log(2.0)), rel=1e-9)
    assert record[f"{FAMILY}/0"] == pytest.approx(3.0 / (630 * math.log(2.0)), rel=1e-9)


def test_heat_that_is_not_known() -> None:
    net = network()
    transition = started(net)
    scale(net, 0.5)
    said: dict[str, str] = {}
    record = close(transition, net, heat={"0": -3.0}, warn_once=said.__setitem__)
    assert math.isnan(record[f"{FAMILY}/2"])
    assert "no transition temperature (NaN) for 2:" in said["transition_temperature of layers"]


@pytest.mark.parametrize("sample", [None, 100])
def test_resumed_from_a_checkpoint(sample: int | None) -> None:
    net = network()
    transition = started(net, sample=sample)
    scale(net, 0.9)
    close(transition, net)
    buffer = io.BytesIO()
    torch.save(transition.state_dict(), buffer)
    buffer.seek(0)
    resumed = TypeOneTransition(sample=sample)
    resumed.start(layer_parameters(net))  # the state that training goes on from is not the initial one
    assert resumed.load_state_dict(torch.load(buffer, weights_only=True))
    resumed.start(layer_parameters(net))
    scale(net, 0.9)
    later = torch.tensor([2.0, 1.9, 2.1])
    assert close(resumed, net, later) == close(transition, net, later)


def test_a_checkpoint_of_another_sample_is_left_alone() -> None:
    net = network()
    state = started(net, sample=100).state_dict()
    for other in (TypeOneTransition(sample=99), TypeOneTransition(sample=100, seed=1)):
        other.start(layer_parameters(net))
        before = other.state_dict()
        assert not other.load_state_dict(state)
        assert repr(other.state_dict()) == repr(before)


def test_a_layer_of_another_shape_starts_afresh() -> None:
    transition = started(nn.Sequential(nn.Linear(5, 5)))
    net = nn.Sequential(nn.Linear(5, 6))
    transition.start(layer_parameters(net))
    scale(net, 0.5)
    record = close(transition, net, heat={"0": -1.0})
    assert record[f"{FAMILY}/0"] == pytest.approx(1.0 / (36 * math.log(2.0)), rel=1e-4)


def test_state_is_a_copy() -> None:
    net = network()
    transition = started(net, sample=100)
    state = transition.state_dict()
    for layer in state["layers"].values():
        for part in layer["surprisals"]:
            if part is not None:
                part.zero_()
    fresh = transition.state_dict()["layers"]["0"]["surprisals"][0]
    assert fresh.abs().sum() > 0
