"""What must not matter, and what must scale: units of the loss, names and signs of coordinates, precision."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from oracles import Trajectory, curvatures, normal, simulate, torch_rule
from torch import Tensor

from thermo_callbacks.functional import (
    drift_share,
    einstein_temperature,
    equilibrium_ratio,
    gradient_moments,
    gradient_noise_scale,
    heat,
    kinetic_sampling_variance,
    kinetic_temperature,
    signal_share,
    virial_temperature,
)


def energies(run: Trajectory, rate: float) -> dict[str, Tensor]:
    """Every reading in units of the loss."""
    moves, gradients = run.displacements, run.gradients
    return {
        "kinetic": kinetic_temperature(moves, gradients),
        "heavy ball": kinetic_temperature(moves, gradients, 0.9),
        "Nesterov": kinetic_temperature(moves, gradients, 0.9, nesterov=True),
        "virial": virial_temperature(run.parameters, gradients),
        "Einstein": einstein_temperature(moves, torch.tensor(rate, dtype=moves.dtype)),
        "heat": heat(moves, gradients),
        "sampling": kinetic_sampling_variance(moves, gradients, total=100).sqrt(),
    }


def ratios(run: Trajectory) -> dict[str, Tensor]:
    """Every reading without a unit, or in samples."""
    return {
        "drift": drift_share(run.parameters, run.displacements),
        "equilibrium": equilibrium_ratio(run.parameters, run.displacements),
        "noise scale": gradient_noise_scale(run.gradients, 16),
        "signal": signal_share(run.gradients),
    }


@st.composite
def windows(draw: st.DrawFn, coordinates: int | None = None) -> Trajectory:
    """Any numbers: the invariances are algebra, and hold off every path. Multiples of 1/8 keep sums exact."""
    steps = draw(st.integers(4, 8))
    coordinates = coordinates or draw(st.integers(1, 4))
    count = steps * coordinates
    numbers = st.lists(st.integers(-64, 64), min_size=count, max_size=count)
    fields = [torch.tensor(draw(numbers), dtype=torch.float64).view(steps, coordinates) / 8.0 for _ in range(3)]
    noise, signal = gradient_moments(fields[2])
    assume(abs(signal) > 1e-6 * noise)  # at exactly no signal, rounding decides between a noise scale and none
    return Trajectory(*fields)


def assert_same(actual: dict[str, Tensor], expected: dict[str, Tensor], factor: float = 1.0) -> None:
    assert actual.keys() == expected.keys()
    for name, value in actual.items():
        torch.testing.assert_close(
            value,
            expected[name] * factor,
            rtol=1e-6,
            atol=1e-9 * max(factor, 1.0),
            equal_nan=True,
            msg=lambda text, name=name: f"{name}: {text}",
        )


@given(windows(), st.floats(1e-3, 1e3))
def test_unit_of_the_loss(run: Trajectory, factor: float) -> None:
    """Loss times c and learning rate over c: the same path, gradients times c."""
    scaled = run._replace(gradients=factor * run.gradients)
    assert_same(energies(scaled, rate=0.1 / factor), energies(run, rate=0.1), factor)
    assert_same(ratios(scaled), ratios(run))


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize(
    ("optimizer", "options", "momentum"),
    [(torch.optim.SGD, {}, 0.0), (torch.optim.SGD, {"momentum": 0.9}, 0.9), (torch.optim.Adam, {"eps": 1e-30}, 0.9)],
)
def test_unit_of_the_loss_in_training(
    optimizer: type[torch.optim.Optimizer], options: dict[str, float], momentum: float, factor: float
) -> None:
    def train(unit: float) -> Trajectory:
        rate = 0.01 if optimizer is torch.optim.Adam else 0.01 / unit  # Adam takes the unit out by itself
        rule = torch_rule(optimizer, (20,), lr=rate, **options)
        return simulate(unit * curvatures(20), normal(20, seed=0), unit * normal(60, 20, seed=1), rule)

    one, other = train(1.0), train(factor)
    torch.testing.assert_close(one.parameters, other.parameters, rtol=1e-9, atol=1e-12)
    temperatures = [kinetic_temperature(run.displacements, run.gradients, momentum).item() for run in (one, other)]
    assert temperatures[1] == pytest.approx(factor * temperatures[0], rel=1e-9)
    assert_same(ratios(other), ratios(one))


@given(windows(), st.randoms(use_true_random=False))
def test_order_of_the_coordinates(run: Trajectory, random: object) -> None:
    order = list(range(run.gradients.shape[1]))
    random.shuffle(order)
    shuffled = Trajectory(*(field[:, order] for field in run))
    assert_same(energies(shuffled, rate=0.1), energies(run, rate=0.1))
    assert_same(ratios(shuffled), ratios(run))


@given(windows(coordinates=3), st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
def test_sign_of_the_coordinates(run: Trajectory, signs: tuple[float, ...]) -> None:
    """A coordinate read backwards turns its parameter, its displacement and its gradient alike."""
    turned = Trajectory(*(field * torch.tensor(signs, dtype=torch.float64) for field in run))
    assert energies(turned, rate=0.1) == energies(run, rate=0.1)
    assert_same(ratios(turned), ratios(run))


@given(windows(coordinates=5), st.integers(1, 4))
def test_temperature_of_the_whole_is_the_coordinates_weighted_mean(run: Trajectory, cut: int) -> None:
    parts = [Trajectory(*(field[:, part] for field in run)) for part in (slice(None, cut), slice(cut, None))]
    first, second = (energies(part, rate=0.1) for part in parts)
    whole = energies(run, rate=0.1)
    for name in ("kinetic", "heavy ball", "Nesterov", "virial", "Einstein"):
        mean = (cut * first[name] + (5 - cut) * second[name]) / 5
        torch.testing.assert_close(whole[name], mean, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(whole["heat"], first["heat"] + second["heat"])


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=4), st.integers(4, 9))
def test_constant_gradient_is_all_signal(row: list[float], steps: int) -> None:
    gradients = torch.tensor([row] * steps, dtype=torch.float64)
    assume(gradients.square().sum() > 1e-9)
    moves = -0.1 * gradients
    assert kinetic_temperature(moves, gradients).item() == 0.0
    assert kinetic_temperature(moves, gradients, 0.9).item() == 0.0
    assert einstein_temperature(moves, torch.tensor(0.1)).item() == 0.0
    assert gradient_noise_scale(gradients, 8).item() == 0.0
    assert signal_share(gradients).item() == 1.0


@given(windows(), st.floats(-1e3, 1e3))
def test_origin_of_the_parameters_does_not_matter_to_the_virial(run: Trajectory, origin: float) -> None:
    moved = virial_temperature(run.parameters + origin, run.gradients)
    torch.testing.assert_close(moved, virial_temperature(run.parameters, run.gradients), rtol=1e-9, atol=1e-9)


def offset_run(coordinates: int, dtype: torch.dtype) -> Trajectory:
    """SGD whose parameters sit at 1,000 and move by 0.01 a step: in single precision they move in units of 0.00006."""
    minimum, curvature = torch.tensor(1000.0, dtype=dtype), curvatures(coordinates).to(dtype)
    run = Trajectory(*(torch.empty(50, coordinates, dtype=dtype) for _ in Trajectory._fields))
    parameters = minimum + 0.1 * normal(coordinates, seed=2).to(dtype)
    for step, kick in enumerate(normal(50, coordinates, seed=3).to(dtype)):
        run.parameters[step] = parameters
        run.gradients[step] = curvature * (parameters - minimum) + kick
        parameters = parameters - 0.01 * run.gradients[step]
        run.displacements[step] = parameters - run.parameters[step]
    return run


@pytest.mark.parametrize("coordinates", [1, 400])
def test_single_precision_loses_nothing_to_large_offsets(coordinates: int) -> None:
    run = offset_run(coordinates, torch.float32)
    exact = Trajectory(*(field.double() for field in run))
    for single, double in ((energies(run, 0.01), energies(exact, 0.01)), (ratios(run), ratios(exact))):
        for name, value in single.items():
            assert value.dtype == torch.float32, name
            assert value.item() == pytest.approx(double[name].item(), rel=1e-5, nan_ok=True), name


def test_single_precision_training_with_large_offsets_reads_the_same_temperatures() -> None:
    single, double = (energies(offset_run(400, dtype), 0.01) for dtype in (torch.float32, torch.float64))
    for name in single.keys() - {"sampling"}:  # a difference of nearly equal numbers
        assert single[name].item() == pytest.approx(double[name].item(), rel=1e-3), name


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_einstein_equals_kinetic_for_any_preconditioner(momentum: float) -> None:
    """Without noise of the optimizer's own, however unlike the mobilities: Adam's range over decades."""
    gradients = normal(200, 6, seed=91)
    mobility = torch.logspace(-6.0, 2.0, 6, dtype=torch.float64)
    moves = -(1.0 - momentum) * mobility * gradients
    for step in range(1, len(moves)):
        moves[step] += momentum * moves[step - 1]
    kinetic = kinetic_temperature(moves, gradients, momentum)
    einstein = einstein_temperature(moves, mobility, momentum)
    # with momentum, the kinetic reading pairs each gradient with the next: equal in expectation, not in every bit
    assert einstein.item() == pytest.approx(kinetic.item(), rel=1e-9 if momentum == 0.0 else 0.25)
