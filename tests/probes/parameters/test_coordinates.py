"""The sample of coordinates: which ones, and that every form of parameter and gradient is read right."""

from __future__ import annotations

import inspect
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import normal
from scipy.stats import chi2
from torch import Tensor, nn

from thermo_callbacks.probes.parameters.coordinates import CoordinateProbe, choose_coordinates


def chosen(total: int, sample: int, *, seed: int = 0, layer: str = "net") -> np.ndarray:
    choice = choose_coordinates(total, sample, seed=seed, layer=layer)
    assert choice is not None
    return choice


@given(total=st.integers(2, 10**6), sample=st.integers(1, 300), seed=st.integers(0, 2**32))
def test_a_sample_is_sorted_without_repeats_and_in_range(total: int, sample: int, seed: int) -> None:
    choice = choose_coordinates(total, sample, seed=seed, layer="net")
    if total <= sample:
        assert choice is None
        return
    assert choice is not None
    assert choice.dtype == np.int64
    assert len(choice) == sample
    assert (np.diff(choice) > 0).all()
    assert choice[0] >= 0
    assert choice[-1] < total


def test_seed_and_layer_choose_the_sample() -> None:
    first = chosen(1000, 20)
    assert np.array_equal(first, chosen(1000, 20))
    assert not np.array_equal(first, chosen(1000, 20, seed=1))
    assert not np.array_equal(first, chosen(1000, 20, layer="other"))
    assert choose_coordinates(1000, None, seed=0, layer="net") is None


def test_another_process_chooses_the_same() -> None:
    """Strings hash differently in every process, and all ranks must watch the same coordinates."""
    code = (
        "from __future__ import annotations\nimport zlib\nimport numpy as np\n"
        f"{inspect.getsource(choose_coordinates)}\n"
        "print(choose_coordinates(10**6, 5, seed=3, layer='encoder.0').tolist())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == str(chosen(10**6, 5, seed=3, layer="encoder.0").tolist())


@pytest.mark.parametrize(("total", "sample"), [(40, 8), (20_000, 200)], ids=["few", "many"])
def test_every_coordinate_is_equally_likely(total: int, sample: int) -> None:
    """Chi-square over 20 cells of coordinates; draws without replacement scatter a little less than it allows for."""
    draws, cells = 2000, 20
    counts = np.zeros(cells)
    for seed in range(draws):
        counts += np.bincount(chosen(total, sample, seed=seed) * cells // total, minlength=cells)
    expected = draws * sample / cells
    share = (total - sample) / (total - 1)  # of the variance with replacement
    statistic = ((counts - expected) ** 2 / expected).sum() / share
    low, high = chi2.ppf([1e-4, 1 - 1e-4], cells - 1)
    assert low < statistic < high


def parameter(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Parameter:
    return nn.Parameter(normal(*shape, seed=seed).to(dtype))


@torch.no_grad()
def step(probe: CoordinateProbe, scale: Any = 1.0, *, lr: float = 0.1) -> bool:
    """One step of gradient descent by hand."""
    any_gradient = probe.before_step(scale)
    for segment in probe._segments:
        if segment.parameter.grad is not None:
            segment.parameter.add_(segment.parameter.grad, alpha=-lr)
    probe.after_step()
    return any_gradient


def expected_row(values: list[list[Tensor]], choices: list[Any], chunk: int) -> Tensor:
    """Layers one after the other, each padded to whole chunks."""
    row = []
    for tensors, choice in zip(values, choices, strict=True):
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        row.append(flat if choice is None else flat[choice])
        row.append(flat.new_zeros(-len(row[-1]) % chunk))
    return torch.cat(row)


@pytest.mark.parametrize("sample", [None, 9, 5, 2])
def test_rows_hold_parameters_gradients_and_displacements(sample: int | None) -> None:
    layers = {"first": [parameter(3, 4), parameter(3, seed=1)], "second": [parameter(2, seed=2)]}
    probe = CoordinateProbe(layers, sample=sample, seed=7, chunk=8)
    for owned in layers.values():
        for index, one in enumerate(owned):
            one.grad = normal(*one.shape, seed=10 + index)
    before = [[one.clone() for one in owned] for owned in layers.values()]
    gradients: Any = [[one.grad for one in owned] for owned in layers.values()]
    assert step(probe)
    choices = [
        choose_coordinates(sum(one.numel() for one in owned), sample, seed=7, layer=name)
        for name, owned in layers.items()
    ]
    position, gradient, displacement = probe.rows
    assert torch.equal(position, expected_row(before, choices, 8))
    assert torch.equal(gradient, expected_row(gradients, choices, 8))
    torch.testing.assert_close(displacement, -0.1 * gradient, rtol=1e-12, atol=1e-15)
    assert probe.sampled == (sample is not None)
    watched, sizes = probe.coordinates(steps=1)
    assert watched.tolist() == [15 if sample is None else sample, 2]
    assert sizes[1] == 2
    assert probe.chunk_layers.tolist() == [0] * (2 if sample in {None, 9} else 1) + [1]


def test_reading_changes_nothing_and_records_no_graph() -> None:
    one = parameter(4, 3)
    one.grad = normal(4, 3, seed=1)
    copies = one.clone(), one.grad.clone()
    probe = CoordinateProbe({"net": [one]}, sample=5, seed=0, chunk=8)
    with torch.no_grad():
        probe.before_step(2.0)
        probe.after_step()
    assert torch.equal(one, copies[0])
    assert torch.equal(one.grad, copies[1])
    assert one.grad_fn is None
    assert not probe.rows.requires_grad


@pytest.mark.parametrize("scale", [0.5, torch.tensor(0.5)], ids=["number", "tensor"])
def test_scale_multiplies_gradients_alone(scale: Any) -> None:
    one = parameter(6)
    one.grad = normal(6, seed=1)
    probe = CoordinateProbe({"net": [one]}, sample=None, seed=0, chunk=8)
    step(probe, scale, lr=1.0)
    torch.testing.assert_close(probe.rows[1, :6], 0.5 * one.grad)
    torch.testing.assert_close(probe.rows[2, :6], -one.grad)


FORMS = {
    "contiguous": lambda tensor: tensor,
    "channels-last": lambda tensor: tensor.contiguous(memory_format=torch.channels_last),
    "transposed": lambda tensor: tensor.transpose(0, 3).contiguous().transpose(0, 3),
}


@pytest.mark.parametrize("sample", [None, 17])
@pytest.mark.parametrize("of_gradient", FORMS)
@pytest.mark.parametrize("of_parameter", FORMS)
def test_strides_make_no_difference(of_parameter: str, of_gradient: str, sample: int | None) -> None:
    values, slopes = normal(4, 3, 2, 2, seed=0), normal(4, 3, 2, 2, seed=1)
    one = nn.Parameter(FORMS[of_parameter](values.clone()))
    one.grad = FORMS[of_gradient](slopes)
    probe = CoordinateProbe({"net": [one]}, sample=sample, seed=0, chunk=8)
    choice = choose_coordinates(48, sample, seed=0, layer="net")
    step(probe)
    assert torch.equal(probe.rows[0], expected_row([[values]], [choice], 8))
    assert torch.equal(probe.rows[1], expected_row([[slopes]], [choice], 8))


def sparse_gradient(rows: list[int], width: int, total: int, *, coalesced: bool) -> Tensor:
    values = normal(len(rows), width, seed=4)
    indices = torch.tensor([rows], dtype=torch.int64)
    gradient = torch.sparse_coo_tensor(indices, values, (total, width), check_invariants=True)
    return gradient.coalesce() if coalesced else gradient


@pytest.mark.parametrize("sample", [None, 20])
@pytest.mark.parametrize("rows", [[3, 1, 3, 9, 1], [9], [0, 9], []], ids=str)
@pytest.mark.parametrize("coalesced", [False, True])
def test_sparse_gradients_read_as_dense_ones(rows: list[int], coalesced: bool, sample: int | None) -> None:
    one = parameter(10, 4)
    one.grad = sparse_gradient(rows, 4, 10, coalesced=coalesced)
    was_coalesced = one.grad.is_coalesced()
    probe = CoordinateProbe({"net": [one]}, sample=sample, seed=0, chunk=8)
    with torch.no_grad():
        probe.before_step()
    choice = choose_coordinates(40, sample, seed=0, layer="net")
    torch.testing.assert_close(probe.rows[1], expected_row([[one.grad.to_dense()]], [choice], 8))
    assert one.grad.is_coalesced() == was_coalesced


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        ([torch.float32], torch.float32),
        ([torch.bfloat16], torch.float32),
        ([torch.float16], torch.float32),
        ([torch.float32, torch.float64], torch.float64),
    ],
    ids=str,
)
@pytest.mark.parametrize("sample", [None, 5])
def test_rows_are_precise_enough_to_be_squared(dtypes: list[Any], expected: torch.dtype, sample: int | None) -> None:
    owned = [parameter(6, dtype=dtype) for dtype in dtypes]
    for one in owned:
        one.grad = torch.full_like(one, 300.0)
    probe = CoordinateProbe({"net": owned}, sample=sample, seed=0, chunk=8)
    assert step(probe)
    assert probe.rows.dtype == expected
    assert probe.rows[1].square().max().item() == 90000.0  # beyond what float16 can hold


def test_parameters_without_gradient_count_as_missing_in_steps_that_happen() -> None:
    used, unused = parameter(3), parameter(2)
    used.grad = normal(3, seed=1)
    probe = CoordinateProbe({"net": [used, unused], "idle": [parameter(4)]}, sample=None, seed=0, chunk=8)
    for _ in range(3):
        assert step(probe)
    with torch.no_grad():
        probe.before_step()  # and is then skipped: no step, and nothing missing in it
    assert probe.missing_counts() == [0, 3, 3]
    assert [part.tolist() for part in probe.coordinates(steps=3)] == [[3.0, 0.0], [3.0, 0.0]]
    assert [part.tolist() for part in probe.coordinates(steps=4)] == [[5.0, 4.0], [5.0, 4.0]]
    probe.rows[1].fill_(1.0)
    assert step(probe)
    assert probe.rows[1].tolist() == [*used.grad.tolist(), 0.0, 0.0, *[1.0] * 3, 0.0, 0.0, 0.0, 0.0, *[1.0] * 4]
    state = probe.missing_counts()
    probe.forget_missing()
    assert probe.missing_counts() == [0, 0, 0]
    probe.restore_missing(state)
    assert probe.missing_counts() == [0, 4, 4]
    used.grad = None
    assert not step(probe)


def test_numbers_of_parameters_become_rows_and_means() -> None:
    first, second = parameter(3), parameter(2)
    probe = CoordinateProbe({"a": [first, second], "b": [parameter(1)]}, sample=None, seed=0, chunk=8)
    row = probe.spread(lambda one, _: float(one.numel()))
    assert row.tolist() == [3.0, 3.0, 3.0, 2.0, 2.0, *[1.0] * 3, 1.0, *[1.0] * 7]
    row = probe.spread(lambda one, watch: watch(one.detach()) if one is first else 5.0)
    assert row.tolist() == pytest.approx([*first.tolist(), 5.0, 5.0, *[1.0] * 3, 5.0, *[1.0] * 7])
    assert probe.spread(lambda *_: 0.25) == 0.25
    assert probe.mean_by_layer(lambda one: float(one.numel())).tolist() == [(3 * 3 + 2 * 2) / 5, 1.0]
    assert math.isnan(probe.mean_by_layer(lambda one: math.nan if one is second else 1.0)[0])


def test_a_tiny_sample_may_leave_parameters_out() -> None:
    weight, bias = parameter(100, 100), parameter(1)
    weight.grad, bias.grad = normal(100, 100, seed=1), normal(1, seed=2)
    probe = CoordinateProbe({"net": [weight, bias]}, sample=4, seed=0, chunk=8)
    assert step(probe)
    watched, sizes = probe.coordinates(steps=1)
    assert watched.tolist() == [4.0]
    assert sizes.tolist() == [10_001.0]  # the sum over all is that over the sample, times sizes over watched


def test_sums_scaled_from_a_sample_are_unbiased_also_where_small_parameters_are_missed() -> None:
    owned = [parameter(50, 20), parameter(30), parameter(3)]
    for index, one in enumerate(owned):
        one.grad = torch.full_like(one, float(10**index))
    truth = float(sum(one.grad.sum() for one in owned))
    found = []
    for seed in range(400):
        probe = CoordinateProbe({"net": owned}, sample=40, seed=seed, chunk=8)
        step(probe)
        watched, sizes = probe.coordinates(steps=1)
        found.append(float(probe.rows[1].sum() * sizes / watched))
    values = torch.tensor(found, dtype=torch.float64)
    assert abs(float(values.mean()) - truth) < 4.0 * float(values.std()) / len(found) ** 0.5
    assert float(values.std()) > 0.0


def test_a_sample_may_depend_on_the_name() -> None:
    layers = {"group": [parameter(100), parameter(50)], "layer": [parameter(100)], "small": [parameter(5)]}
    probe = CoordinateProbe(layers, sample={"group": 30, "layer": 10, "small": 10}.get, seed=0, chunk=8)
    for owned in layers.values():
        for one in owned:
            one.grad = torch.ones_like(one)
    assert step(probe)
    assert [part.tolist() for part in probe.coordinates(steps=1)] == [[30.0, 10.0, 5.0], [150.0, 100.0, 5.0]]


def test_positions_can_be_read_without_gradients() -> None:
    """The displacement is the same, and the row of gradients keeps what it held."""
    layer = nn.Linear(3, 2)
    probe = CoordinateProbe({"layer": list(layer.parameters())}, sample=None, seed=0, chunk=1)
    layer(torch.ones(3)).sum().backward()
    with torch.no_grad():
        probe.before_step()
        expected = probe.rows[:2].clone()
        for parameter in layer.parameters():
            parameter.grad = None
            parameter.add_(0.5)
        probe.before_move()
        assert torch.equal(probe.rows[0], expected[0] + 0.5)
        assert torch.equal(probe.rows[1], expected[1])
        for parameter in layer.parameters():
            parameter.sub_(1.5)
        probe.after_step()
        torch.testing.assert_close(probe.rows[2], torch.full((8,), -1.5))
