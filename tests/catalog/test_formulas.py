"""The formulas that people are shown are those that are computed: their text is evaluated on random numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
from catalog.formulas import CONSTANTS, FUNCTIONS, OPERATORS, evaluate, parts_of, tokens_of
from scipy.stats import t as student_t
from torch import Tensor

from thermo_callbacks import functional as F
from thermo_callbacks.callbacks.derived import total_laplacian_record
from thermo_callbacks.catalog import NEURON_SYMBOLS, QUANTITIES, SYMBOLS, quantity_of
from thermo_callbacks.functional.gradient_noise import successive_share
from thermo_callbacks.functional.topology import analyse
from thermo_callbacks.functional.window import SUMS
from thermo_callbacks.functional.window.arrays import ArrayWindow

WINDOW, WATCHED, ALL = 12, 5, 20
MOMENTUM, RATE, BATCH = 0.9, 0.05, 32


class Case(NamedTuple):
    """Values of the symbols, and what the function makes of them."""

    values: dict[str, Any]
    expected: Any


def rand(*shape: int, positive: bool = False) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape) + 100 * positive)
    numbers = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return numbers.abs() + 0.1 if positive else numbers


q, g, D = rand(3, WINDOW, WATCHED)
g = g + 1.0  # a slope that stands out of its noise
m = rand(WATCHED, positive=True)
z, a = rand(40), rand(41)[:40] / 2.0
dz, da = rand(42)[:40], rand(43)[:40]
U0, U, T, S, Q, s0, s, C = rand(8, positive=True)
Tx, Sx, Cx = rand(3, 2, positive=True)
NEURONS = 7


def motion(momentum: float) -> dict[str, Any]:
    """Symbols of a window's steps; with momentum its ends are left out, which have no step before or after."""
    known = {"μ": momentum, "φ": F.momentum_response(momentum).factor, "m": m, "n": WATCHED}
    if not momentum:
        return {**known, "D": D, "D₋": D, "g": g, "g₊": g}
    return {**known, "D": D[1:-1], "D₋": D[:-2], "g": g[1:-1], "g₊": g[2:]}


def kinetic(momentum: float) -> Case:
    # neighbours share gradients, which the function makes up for: see shared_noise
    known = {**motion(momentum), "Cov": lambda one, other: step_to_step(one, other) / (1.0 + momentum / 2.0)}
    return Case(known, F.kinetic_temperature(D, g, momentum))


def einstein(momentum: float) -> Case:
    known = {**motion(momentum), "Var": lambda values: step_to_step(values, values)}
    return Case(known, F.einstein_temperature(D, m, momentum))


def step_to_step(one: Tensor, other: Tensor) -> Tensor:
    return (one.diff(dim=0) * other.diff(dim=0)).mean(0) / 2.0


def windowed(name: str) -> Case:
    """A quantity of a window without momentum, by the estimate that the monitors log."""
    window = ArrayWindow(
        4, parameters=[q], displacements=[D], gradients=[g], mobility=[m], sizes=[ALL], batch_size=BATCH
    )
    known = {**motion(0.0), "q": q, "N": ALL, "B": BATCH, "steps": WINDOW}
    return Case(known, SUMS[name](window).estimate().whole.value)


def noise_scale() -> Case:
    share = F.Estimate(*(torch.tensor(x, dtype=torch.float64) for x in (0.3, 0.01, math.inf)))
    return Case({"B": BATCH, "share": share.value}, F.noise_scale_interval(share, BATCH).value)


def signal_share() -> Case:
    shift = F.Estimate(*(torch.tensor([x], dtype=torch.float64) for x in (-0.1, 0.0, math.inf)))
    products = (g[:-1] * g[1:]).sum(1, keepdim=True)
    powers = g.square().sum(1, keepdim=True).unfold(0, 2, 1).mean(-1)
    share = successive_share(products, powers, shift)
    return Case({"g": g[:-1], "g₊": g[1:], "κ": -0.1}, share.value.squeeze())


def decay() -> Case:
    kappa = rand(WATCHED, positive=True) / 10.0
    return Case({"q": q, "D": D, "κ": kappa}, F.decay_share(q, D, kappa))


def drift() -> Case:
    change = 2.0 * (q * D).sum(1) + D.square().sum(1)
    means = change.view(6, 2).mean(1)  # 12 steps make 6 batches
    t = means.mean() / (means.std() / math.sqrt(6.0))
    return Case({"t": t, "K": 6}, F.drift_share(q, D))


def drift_by_chance() -> Case:
    size = drift().values["t"].abs()
    return Case({"P": lambda t: torch.tensor(student_t.sf(t.item(), 5)), "t": size}, F.drift_p_value(q, D))


def away() -> Case:
    weights, moves = rand(2, 24, WATCHED)  # with this momentum they make 8 batches of one length
    products = ((weights - weights[0]) * moves).sum(1)
    found = F.stationarity_test(products, moves.square().sum(1), rand(24), momentum=0.2)
    return Case({"q": weights, "q₀": weights[0], "D": moves, "μ": 0.2}, found.drift)


def destruction() -> Case:
    hessian, preconditioner = rand(WATCHED, WATCHED), m
    trace = (preconditioner.diag() @ hessian).trace()
    mobility = RATE / (1.0 - MOMENTUM) * preconditioner
    values = {"m": mobility, "H": hessian, "weight decay": 0.0}
    return Case(values, F.entropy_destruction(trace, RATE, MOMENTUM))


def law() -> F.SecondLaw:
    return F.second_law(U0, U, production_stderr=T, destruction_stderr=S)


def laplacian() -> Case:
    weights, curvatures = rand(4).requires_grad_(), rand(4, positive=True)
    # signs leave the trace of a diagonal matrix exact
    estimate = F.hessian_trace((curvatures * weights.square()).sum() / 2.0, [weights])
    return Case({"H": curvatures.diag()}, estimate.estimate)


def rugh() -> Case:
    gradients, hessians = rand(6, WATCHED), rand(6, WATCHED, WATCHED)
    traces = torch.stack([hessian.trace() for hessian in hessians])
    expected = F.rugh_temperature(gradients.square().sum(1).mean(), traces.mean().abs())
    return Case({"∇U": gradients, "H": hessians * traces.mean().sign()}, expected)


def dead() -> Case:
    inputs = rand(6, 10, positive=True)
    inputs[:, 3:7] -= 20.0
    return Case({"dead units": 4, "all units": 10}, F.dead_unit_fraction(inputs, torch.relu))


def learning_signal() -> Case:
    gradients, last = rand(6, 4, 3), rand(6, 2)
    values = {"∂L/∂a": gradients.flatten(), "units": 4, "the same at the last activation": last.square().sum() / 2}
    return Case(values, F.learning_signal(gradients, last))


def saturated() -> Case:
    slopes = dz / da
    slopes[::3] = 0.001
    sent = torch.where(torch.arange(40) < 30, da, 0.0)
    flat = int((slopes[:30].abs() < 0.01).sum())
    values = {"values with ‖∂a/∂z‖ < 0.01": flat, "values that a gradient reaches": 30}
    return Case(values, F.saturated_fraction(slopes * sent, sent))


def complexity() -> Case:
    weights, slopes = [rand(3, 4), rand(2, 3)], [rand(3), rand(2)]
    jacobian = torch.zeros(9, 9, dtype=torch.float64)  # 4 inputs, 3 and 2 neurons
    jacobian[4:7, :4], jacobian[7:, 4:7] = slopes[0][:, None] * weights[0], slopes[1][:, None] * weights[1]
    one = torch.eye(9, dtype=torch.float64)
    stiffness = (one - jacobian).T @ (one - jacobian) + 0.1 * one  # as the symbols define it
    return Case({"G": stiffness}, F.bulk_complexity(weights, slopes, 0.1))


class Weights:
    """A matrix whose product with states is the layer's, not the one element by element."""

    def __init__(self, matrix: Tensor) -> None:
        self._matrix = matrix

    def __mul__(self, states: Tensor) -> Tensor:
        return self._matrix @ states


def bulk_loss() -> Case:
    x, weights, bias = rand(4), rand(4, 4), rand(5)[:4]
    images = torch.tanh(weights @ x + bias)
    return Case({"x": x, "w": Weights(weights), "b": bias, "f": torch.tanh}, F.bulk_loss([x], [images]))


def total_laplacian() -> Case:
    record = {"thermo/complexity_laplacian": 3.0, "thermo/complexity_laplacian_stderr": 0.0}
    latest = {"thermo/laplacian": 5.0, "thermo/laplacian_stderr": 0.0}
    total = total_laplacian_record({**record, "thermo/equipartition_temperature": 0.25}, latest)
    hessian = torch.tensor([[2.0, 9.0], [9.0, 3.0]], dtype=torch.float64)
    return Case({"H": hessian, "Tₓ": 0.25, "∇²C": 3.0}, total["thermo/total_laplacian"])


def topology() -> Iterator[Case]:
    widths = (5, 4, 7, 2, 3)
    shape = analyse(widths)
    numbers = torch.tensor(widths, dtype=torch.float64)
    yield Case({"n(l-1)": numbers[:-1], "n(l)": numbers[1:]}, shape.connections)

    def log_multiplicity(hidden: tuple[int, ...]) -> float:
        return math.log(math.factorial(sum(hidden)) / math.prod(map(math.factorial, hidden)))

    yield Case({"ln W": log_multiplicity((4, 7, 2)), "max ln W": log_multiplicity((5, 4, 4))}, shape.disorder)
    prices = [(5 + 7) / math.log(14 / 5), (4 + 2) / math.log(14 / 8), (7 + 3) / math.log(14 / 3)]
    yield Case({"T(cold)": min(prices), "T(hot)": max(prices)}, shape.efficiency)


PAIR = {"production": U0, "destruction": U}
SHIFT = {"U₀": U0, "U": U, "s₀": s0, "s": s, "Q": Q}
POWERS = {"z": z, "a": a}
CASES: dict[tuple[str, int], Callable[[], Case]] = {
    ("Temperature T", 0): lambda: kinetic(MOMENTUM),
    ("Einstein temperature", 0): lambda: einstein(MOMENTUM),
    ("Drift share", 0): drift,
    ("p-value of the drift", 0): drift_by_chance,
    ("Drift of the equilibrium test", 0): away,
    ("Heat Q", 0): lambda: Case({"g": g, "D": D, "N": ALL, "n": WATCHED}, F.heat(D, g) * ALL / WATCHED),
    ("First-law residual", 0): lambda: Case({"U": U, "U₀": U0, "Q": Q}, F.first_law_residual(U0, U, Q)),
    ("Noise scale", 0): noise_scale,
    ("Signal share", 0): signal_share,
    ("Step efficiency", 0): lambda: Case(
        {"W": -m, "Q": -2.0 * m.square()}, F.step_efficiency(-m, -2.0 * m.square()).value
    ),
    ("Entropy S", 0): lambda: Case({"N": ALL, "n": WATCHED, "q": q}, F.parameter_entropy(q.var(0), ALL)),
    ("Entropy destruction", 0): destruction,
    ("Entropy rate", 0): lambda: Case(PAIR, law().rate),
    ("Second law", 1): lambda: Case({"rate": U0 - U, "its standard error": torch.hypot(T, S)}, law().z),
    ("Free energy F", 0): lambda: Case({"U": U, "T": T, "S": S}, F.free_energy(U, T, S)),
    ("Bound energy TS", 0): lambda: Case({"T": T, "S": S}, U - F.free_energy(U, T, S)),
    ("Transition temperature", 0): lambda: Case(SHIFT, F.transition_temperature(U0, U, s0, s)),
    # the heat is the change of the loss: what the layer has given up is -Q
    ("Transition temperature", 1): lambda: Case(SHIFT, F.transition_temperature(-Q, torch.zeros_like(Q), s0, s)),
    ("Decay share", 0): decay,
    ("Decay share by layer", 0): decay,
    ("Weight norm by layer", 0): lambda: windowed("weight_norm"),
    ("Weight growth by layer", 0): lambda: windowed("weight_growth"),
    ("Transition temperature of the outputs", 0): lambda: Case(SHIFT, F.transition_temperature(U0, U, s0, s)),
    ("Trace of the Hessian (Laplacian)", 0): laplacian,
    ("Rugh temperature", 0): rugh,
    ("Power ratio (work efficiency)", 0): lambda: Case(POWERS, F.work_efficiency(z, a)),
    ("Learning efficiency", 0): lambda: Case({"∂L/∂z": dz, "∂L/∂a": da}, F.learning_efficiency(dz, da)),
    ("Learning signal", 0): learning_signal,
    ("Temperature drop", 0): lambda: Case(POWERS, F.temperature_drop(z, a)),
    ("Implied gain", 0): lambda: Case(POWERS, F.implied_init_gain(F.work_efficiency(z, a))),
    ("Engine", 0): lambda: Case(POWERS, F.work_efficiency(z, a)),
    ("Dead fraction", 0): dead,
    ("Saturated fraction", 0): saturated,
    ("Complexity C", 0): complexity,
    ("Bulk and boundary loss", 0): bulk_loss,
    ("Equipartition temperature", 0): lambda: Case(
        {"bulk loss": rand(9, positive=True), "neurons": NEURONS},
        F.equipartition_temperature(rand(9, positive=True).mean(), NEURONS),
    ),
    ("Thermodynamics of the bulk", 0): lambda: Case(
        {"neurons": NEURONS, "Tₓ": T, "C": C}, F.bulk_log_partition(C, T, NEURONS)
    ),
    ("Thermodynamics of the bulk", 1): lambda: Case(
        {"neurons": NEURONS, "Tₓ": T, "C": C}, F.bulk_entropy(C, T, NEURONS)
    ),
    ("Thermodynamics of the bulk", 2): lambda: Case(
        {"Tₓ": T, "ln Z": F.bulk_log_partition(C, T, NEURONS)}, F.bulk_free_energy(C, T, NEURONS)
    ),
    ("First-law residual of the bulk", 0): lambda: Case(
        {"neurons": NEURONS, "Tₓ": Tx, "Sₓ": F.bulk_entropy(Cx, Tx, NEURONS), "C": Cx},
        F.bulk_first_law_residual(F.mean_bulk_loss(Tx, NEURONS), Tx, Cx, NEURONS).sum(),
    ),
    ("Trace of the Hessian of the total free energy", 0): total_laplacian,
    **{("Topology", part): lambda part=part: list(topology())[part] for part in range(3)},
}
# a new quantity of a window is held against its own estimate without a case of its own
for _name in SUMS:
    _row = quantity_of(f"thermo/{_name}")
    if _row.tag == f"thermo/{_name}":
        CASES.setdefault((_row.name, 0), lambda name=_name: windowed(name))
NOT_EVALUATED = {
    ("Change of the loss in the equilibrium test", 0): "words: the slope is that of batch means",
    ("Verdict of the equilibrium test", 0): "the values of a flag",
    ("Verdict of the equilibrium test", 1): "words",
    ("Error of T", 0): "an error has an estimator of its own, told in words",
    ("Error of T", 1): "as above",
    ("Mean loss (internal energy U)", 0): "the mean of what the training step returns: there is no function",
    ("Lower bound of the noise scale", 0): "end of an interval, told in words",
    ("Upper bound of the noise scale", 0): "end of an interval, told in words",
    (
        "Temperature of the gradient noise",
        0,
    ): "put together from the window's: see tests/integration/test_gradient_noise",
    ("Heat share", 0): "a quotient of heats",
    ("Skipped steps", 0): "a count",
    ("Clipping", 0): "words: the gradient is read twice",
    ("Clipping", 1): "a count",
    ("Untrained weights", 0): "a count",
    ("Learning rate", 0): "words",
    ("Epsilon share", 0): "read off an optimizer's state: tests/probes/inspection/test_optimizers.py",
    ("Kept gradient", 0): "words: tests/probes/inspection/test_kept_gradients.py",
    ("Batch likeness", 0): "words: tests/functional/test_batches.py",
    ("Broken batches", 0): "a count",
    ("Input size", 0): "the inspection puts it together: tests/callbacks/inspection/test_inspection.py",
    ("Input shift", 0): "words: tests/functional/test_batches.py",
    ("Critical findings", 0): "a count",
    ("Second law", 0): "the values of a flag",
    ("Sharpness", 0): "the probe puts it together: tests/probes/curvature/test_eigenvectors.py",
    ("Stability margin", 0): "words",
    ("Resolved share", 0): "words",
    ("Entropy production", 0): "of directions in place of weights: tests/functional/window/test_resolved.py",
    ("Error of the trace of the Hessian", 0): "an error has an estimator of its own, told in words",
    ("Error of the trace of the Hessian", 1): "as above",
    ("Bulk and boundary loss", 1): "the probe puts it together: there is no function",
    ("Bulk and boundary loss", 2): "the loss of the training step: there is no function",
    ("Trace of the Hessian of the total free energy", 1): "a symbol alone",
    ("Spectrum of G", 0): "words",
    ("Topology", 3): "words: the least of differences over all moves of a neuron",
}
TEXTS = {(row.name, number): text for row in QUANTITIES for number, text in enumerate(parts_of(row.formula))}


@pytest.mark.parametrize("place", CASES, ids=lambda place: f"{place[0]}-{place[1]}")
def test_shown_formula_is_what_the_function_computes(place: tuple[str, int]) -> None:
    values, expected = CASES[place]()
    expected = torch.as_tensor(expected, dtype=torch.float64)
    assert torch.isfinite(expected)
    assert expected != 0.0
    torch.testing.assert_close(evaluate(TEXTS[place], values), expected, rtol=1e-10, atol=1e-12)


def test_formulas_that_are_not_evaluated_are_few_and_known() -> None:
    assert CASES.keys().isdisjoint(NOT_EVALUATED)
    assert CASES.keys() | NOT_EVALUATED.keys() == TEXTS.keys()


@pytest.mark.parametrize("place", [("Temperature T", 0), ("Einstein temperature", 0)], ids=lambda place: place[0])
def test_formulas_with_momentum_hold_without_it(place: tuple[str, int]) -> None:
    expected = {"Temperature T": F.kinetic_temperature(D, g), "Einstein temperature": F.einstein_temperature(D, m)}
    torch.testing.assert_close(evaluate(TEXTS[place], motion(0.0)), expected[place[0]], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        # those that were shown up to version 2
        (("Einstein temperature", 0), "Σ Var(D) / (2 Σ m)"),
        (("Entropy destruction", 0), "tr(m H) / (1 - μ)"),
        (("Temperature T", 0), "-Σ Cov(D, g) / (2 n (1 - μ))"),
        (("Noise scale", 0), "B (1 - share)"),
        (("Signal share", 0), "⟨g·g₊⟩ / ⟨g·g⟩"),
        *((place, f"2 ({text})") for place, text in TEXTS.items() if place in CASES),
    ],
)
def test_a_wrong_formula_is_noticed(place: tuple[str, int], wrong: str) -> None:
    values, expected = CASES[place]()
    more = {"μ": MOMENTUM, "T": T} | values
    assert not torch.isclose(evaluate(wrong, more), torch.as_tensor(expected, dtype=torch.float64), rtol=1e-6)


def test_evaluator_reads_as_people_do() -> None:
    x, y = rand(3, 4), rand(4)
    values = {"x": x, "y": y, "n": 2.0}
    for text, expected in {
        "-2 n + 6 / n n": -4.0 + 6.0,
        "½ (n + 1)²": 4.5,
        "1 / √(4 n n)": 0.25,
        "n Σ y / n": y.sum(),
        "Σ y - n": y.sum() - 2.0,
        "⟨x·y⟩": (x @ y).mean(),
        "‖⟨x⟩‖²": x.mean(0).square().sum(),
        "⟨‖x‖²⟩": x.square().sum(1).mean(),
        "ln √(y·y) + Σ Var(x) / n": torch.linalg.vector_norm(y).log() + x.var(0).sum() / 2.0,
        "Σ Cov(x, n x)": 2.0 * x.var(0).sum(),
    }.items():
        torch.testing.assert_close(evaluate(text, values), torch.as_tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("text", ["x + k", "(x", "x )", "x + "])
def test_evaluator_refuses_what_it_cannot_read(text: str) -> None:
    with pytest.raises((ValueError, AssertionError)):
        evaluate(text, {"x": 1.0})


@pytest.mark.parametrize("place", CASES, ids=lambda place: f"{place[0]}-{place[1]}")
def test_each_symbol_is_explained(place: tuple[str, int]) -> None:
    row = next(row for row in QUANTITIES if row.name == place[0])
    listed = {name for symbols in (SYMBOLS, NEURON_SYMBOLS) for key in symbols for name in re.split(r"[, ]+", key)}
    own = row.formula.partition(", where ")[2] + row.meaning + " ".join(re.findall(r"([^;=]+) = ", row.formula))
    for symbol in tokens_of(TEXTS[place], CASES[place]().values):
        if symbol in (*OPERATORS, *CONSTANTS, *FUNCTIONS) or re.match(r"\d|[a-z]{3,}", symbol):
            continue  # words explain themselves
        letters = re.findall(r"∂(\w)", symbol) or [symbol.replace("(l-1)", "(l)")]
        assert all(letter in listed or letter in own for letter in letters), symbol
