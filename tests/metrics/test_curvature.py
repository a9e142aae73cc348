"""Averages of traces: formulas written out, sums that add over updates and ranks, and weights that forget."""

from __future__ import annotations

import copy
import math
import multiprocessing
import pickle
import traceback
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from curvature_oracles import digits_net, exact_hessian
from hypothesis import given
from hypothesis import strategies as st
from oracles import normal
from torch import Tensor, distributed
from torch.testing import assert_close

from thermo_callbacks.functional.curvature import hessian_trace, rademacher
from thermo_callbacks.metrics import FreeEnergyLaplacian, LayerHeat
from thermo_callbacks.metrics.curvature import TraceMetric

SIZES = (5, 7, 9)
DEADLINE = 60.0  # seconds; takes one or two


class Look(NamedTuple):
    """Arguments of an update."""

    traces: Tensor
    variances: Tensor
    weight: float = 1.0


def look(seed: int, weight: float = 1.0, *, layers: int = len(SIZES), variance: float = 0.1) -> Look:
    noise = normal(2, layers, seed=seed)
    return Look(torch.arange(1.0, layers + 1).double() + noise[0], variance * noise[1].square(), weight)


LOOKS = [look(seed, weight) for seed, weight in enumerate((1.0, 8.0, 0.5, 27.0, 2.0))]


def fed(*looks: Look, metric: Any = None) -> Any:
    """A metric, by default a fresh one, after some updates."""
    metric = FreeEnergyLaplacian(SIZES) if metric is None else metric
    for arguments in looks:
        metric.update(*arguments)
    return metric


def readings(metric: Any) -> Tensor:
    """All that a metric says, [3, L + 1]."""
    layers, whole = metric.estimate_layers(), metric.estimate()
    return torch.stack([torch.cat([a, b.view(1)]) for a, b in zip(layers, whole, strict=True)])


def states(metric: Any) -> dict[str, Tensor]:
    return {name: state.clone() for name, state in metric.metric_state.items()}


def weighted(values: Sequence[float], variances: Sequence[float], weights: Sequence[float]) -> tuple[float, ...]:
    """Mean, standard error and degrees of freedom, from the formulas of the docstring, number by number."""
    shares = [weight / math.fsum(weights) for weight in weights]
    mean = math.fsum(w * x for w, x in zip(shares, values, strict=True))
    second, third = (math.fsum(w**power for w in shares) for power in (2, 3))
    scatter = math.fsum(w * (x - mean) ** 2 for w, x in zip(shares, values, strict=True)) / (1.0 - second) * second
    implied = math.fsum(w**2 * v for w, v in zip(shares, variances, strict=True))
    return mean, math.sqrt(max(scatter, implied)), (1.0 - second) ** 2 / (second - 2.0 * third + second**2)


class TestValues:
    @pytest.mark.parametrize("variance", [0.0, 0.1, 50.0], ids=["scatter", "mixed", "probes"])
    def test_layers_and_whole_are_the_formulas(self, variance: float) -> None:
        looks = [look(seed, weight, variance=variance) for seed, weight in enumerate((1.0, 8.0, 0.5, 27.0, 2.0))]
        found = readings(fed(*looks))
        weights = [x.weight for x in looks]
        for layer in range(len(SIZES)):
            columns = [[x.traces[layer].item() for x in looks], [x.variances[layer].item() for x in looks]]
            assert found[:, layer].tolist() == pytest.approx(weighted(*columns, weights), rel=1e-9)
        columns = [[x.traces.sum().item() for x in looks], [x.variances.sum().item() for x in looks]]
        assert found[:, -1].tolist() == pytest.approx(weighted(*columns, weights), rel=1e-9)

    def test_one_look_has_the_error_of_its_probes(self) -> None:
        metric = fed(LOOKS[3])
        assert_close(metric.estimate_layers().value, LOOKS[3].traces)
        assert_close(metric.estimate_layers().stderr, LOOKS[3].variances.sqrt())
        assert_close(metric.estimate().value, LOOKS[3].traces.sum())
        assert_close(metric.estimate().stderr, LOOKS[3].variances.sum().sqrt())
        assert metric.estimate().degrees_of_freedom == 1.0

    def test_compute_is_the_value_of_the_estimate(self) -> None:
        metric = fed(*LOOKS)
        assert torch.equal(metric.compute(), metric.estimate().value)
        assert metric.compute().shape == ()
        assert torch.equal(metric.compute_layers(), metric.estimate_layers().value)

    def test_layers_sum_to_the_whole(self) -> None:
        metric = fed(*LOOKS)
        assert_close(metric.compute_layers().sum(), metric.compute(), rtol=1e-14, atol=0.0)

    @pytest.mark.parametrize("count", [2, 5, 40])
    def test_equal_weights_are_an_ordinary_mean(self, count: int) -> None:
        rows = torch.stack([look(seed).traces.sum() for seed in range(count)])
        estimate = fed(*(look(seed, variance=0.0) for seed in range(count))).estimate()
        assert_close(estimate.value, rows.mean())
        assert_close(estimate.stderr, rows.std() / count**0.5)
        assert_close(estimate.degrees_of_freedom.item(), count - 1.0)

    def test_two_looks_have_one_degree_of_freedom_whatever_their_weights(self) -> None:
        for weight in (1.0, 8.0, 1e6):
            assert_close(fed(LOOKS[0], look(9, weight)).estimate().degrees_of_freedom.item(), 1.0, rtol=1e-6, atol=0.0)

    def test_takes_a_trace_estimate(self) -> None:
        q, p = (torch.tensor(x, requires_grad=True) for x in ([1.0, 2.0], [3.0]))
        trace = hessian_trace((q**3).sum() + (p**2).sum(), [q, p], 2)
        metric = FreeEnergyLaplacian([2, 1])
        metric.update(trace.per_parameter, trace.per_parameter_stderr.square())
        assert metric.compute_layers().tolist() == [18.0, 2.0]

    def test_before_the_first_look(self) -> None:
        metric = FreeEnergyLaplacian(SIZES)
        with pytest.warns(UserWarning, match="was called before the ``update`` method"):
            assert metric.compute().isnan()
        assert metric.compute_layers().isnan().all()
        assert metric.estimate().stderr.isnan()

    def test_one_layer_by_default(self) -> None:
        metric = FreeEnergyLaplacian()
        metric.update(torch.tensor(2.0), torch.tensor(0.25))
        assert (metric.compute().item(), metric.estimate().stderr.item()) == (2.0, 0.5)
        assert metric.compute_layers().tolist() == [2.0]

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("field", ["traces", "variances"])
    def test_a_layer_without_a_value_is_left_out_and_so_is_the_whole(self, bad: float, field: str) -> None:
        broken = look(7, 3.0)
        getattr(broken, field)[1] = bad
        found = readings(fed(LOOKS[0], broken, LOOKS[1]))
        complete, without = readings(fed(LOOKS[0], look(7, 3.0), LOOKS[1])), readings(fed(LOOKS[0], LOOKS[1]))
        assert_close(found[:, [0, 2]], complete[:, [0, 2]], rtol=1e-14, atol=0.0)
        assert_close(found[:, [1, 3]], without[:, [1, 3]], rtol=1e-14, atol=0.0)

    def test_a_layer_that_never_has_a_value_is_nan(self) -> None:
        metric = fed(*(Look(torch.tensor([1.0, math.nan, 2.0]), torch.ones(3)) for _ in range(3)))
        assert metric.compute_layers().isnan().tolist() == [False, True, False]
        assert metric.compute().isnan()
        assert metric.estimate().stderr.isnan()

    @given(st.floats(1e-3, 1e3), st.floats(-1e3, 1e3).filter(lambda factor: abs(factor) > 1e-3))
    def test_units_of_weights_and_of_the_loss(self, unit: float, factor: float) -> None:
        changed = readings(fed(*(Look(factor * x.traces, factor**2 * x.variances, unit * x.weight) for x in LOOKS)))
        plain = readings(fed(*LOOKS))
        assert_close(changed[0], factor * plain[0])
        assert_close(changed[1], abs(factor) * plain[1], rtol=1e-6, atol=0.0)
        assert_close(changed[2], plain[2])


class TestWeights:
    """Weights that grow like the third power of the number of the look."""

    @staticmethod
    def errors(count: int, power: int, runs: int = 400) -> tuple[Tensor, Tensor]:
        """Real errors of the mean of ``count`` looks of noise 1, of many runs at once, and stated ones."""
        metric = FreeEnergyLaplacian([1] * runs)
        noise = normal(count, runs, seed=count)
        for number, row in enumerate(noise, start=1):
            metric.update(5.0 + row, torch.zeros(runs), float(number**power))
        estimate = metric.estimate_layers()
        return estimate.value - 5.0, estimate.stderr

    def test_the_error_falls_like_one_over_the_root_of_the_looks(self) -> None:
        counts = torch.tensor([25.0, 100.0, 400.0], dtype=torch.float64)
        found = [self.errors(int(count), 3) for count in counts.tolist()]
        real = torch.stack([error.square().mean().sqrt() for error, _ in found])
        stated = torch.stack([stderr.square().mean().sqrt() for _, stderr in found])
        limit = 4.0 / (7.0 * counts).sqrt()  # (p + 1) / sqrt((2 p + 1) k)
        assert_close(real, limit, rtol=0.15, atol=0.0)  # 400 runs show a standard deviation to 3.5 %
        assert_close(stated, limit, rtol=0.1, atol=0.0)
        slope = (real[-1] / real[0]).log() / (counts[-1] / counts[0]).log()
        assert slope.item() == pytest.approx(-0.5, abs=0.05)

    def test_the_past_is_forgotten(self) -> None:
        metric = FreeEnergyLaplacian()
        for number in range(1, 1001):  # a trace that jumps from 0 to 1 at nine tenths of the run
            metric.update(torch.tensor(float(number > 900)), torch.tensor(0.0), float(number**3))
        assert metric.compute().item() == pytest.approx(1.0 - 0.9**4, abs=0.01)

    @pytest.mark.parametrize("count", [3, 10, 40])
    def test_intervals_cover_the_truth(self, count: int) -> None:
        metric = FreeEnergyLaplacian([1] * 2000)
        for number, row in enumerate(normal(count, 2000, seed=count), start=1):
            metric.update(row, torch.zeros(2000), float(number**3))
        low, high = metric.estimate_layers().interval(0.95)
        # cautious at few looks: the heaviest of them pulls the mean to itself, and so the scatter down
        assert 0.93 <= ((low <= 0.0) & (high >= 0.0)).double().mean().item() <= 0.99

    def test_single_probes_of_a_network_over_time(self) -> None:
        """Looks of a single probe each, as a monitor takes them, of many runs side by side."""
        hessian, runs = exact_hessian(digits_net), 500
        metric = FreeEnergyLaplacian([1] * runs)
        generator = torch.Generator().manual_seed(3)
        like = torch.empty(runs, len(hessian), dtype=torch.float64)
        for number in range(1, 41):
            signs = rademacher([like], generator)[0]
            products = signs @ hessian
            metric.update((signs * products).sum(1), 2.0 * products.square().sum(1), float(number**3))
        estimate = metric.estimate_layers()
        low, high = estimate.interval(0.95)
        truth = hessian.trace()
        assert 0.93 <= ((low <= truth) & (truth <= high)).double().mean().item() <= 0.99
        real = (estimate.value - truth).square().mean().sqrt()
        assert 1.0 < (estimate.stderr.square().mean().sqrt() / real).item() < 1.3  # the larger of two estimates


class TestConventions:
    def test_class_attributes(self) -> None:
        assert FreeEnergyLaplacian.is_differentiable is False
        assert FreeEnergyLaplacian.higher_is_better is None
        assert FreeEnergyLaplacian.full_state_update is False
        assert issubclass(FreeEnergyLaplacian, TraceMetric)

    def test_looks_add_in_any_order(self) -> None:
        forward, backward = fed(*LOOKS), fed(*LOOKS[::-1])
        for name, state in states(forward).items():
            total = sum(states(fed(one))[name] for one in LOOKS)
            assert_close(state, total, rtol=1e-14, atol=0.0)
        assert_close(readings(forward), readings(backward), rtol=1e-10, atol=0.0)

    def test_forward_gives_the_look_and_adds_it(self) -> None:
        metric = FreeEnergyLaplacian(SIZES)
        for one in LOOKS:
            assert_close(metric(*one), one.traces.sum())
        assert_close(readings(metric), readings(fed(*LOOKS)), rtol=1e-12, atol=0.0)

    @pytest.mark.parametrize(
        "duplicate",
        [copy.deepcopy, lambda metric: metric.clone(), lambda metric: pickle.loads(pickle.dumps(metric))],
        ids=["deepcopy", "clone", "pickle"],
    )
    def test_copies_are_independent(self, duplicate: Any) -> None:
        metric = fed(LOOKS[0], LOOKS[1])
        other = fed(*LOOKS[2:], metric=duplicate(metric))
        assert torch.equal(readings(metric), readings(fed(LOOKS[0], LOOKS[1])))
        assert torch.equal(readings(other), readings(fed(*LOOKS)))

    def test_reset(self) -> None:
        metric = fed(*LOOKS)
        metric.reset()
        assert metric.update_count == 0
        assert not any(state.any() for state in states(metric).values())
        assert torch.equal(readings(fed(LOOKS[0], metric=metric)), readings(fed(LOOKS[0])))

    def test_state_dict_resumes(self) -> None:
        metric = fed(*LOOKS[:2])
        assert metric.state_dict() == {}
        metric.persistent(True)
        resumed = FreeEnergyLaplacian(SIZES)
        resumed.persistent(True)
        resumed.load_state_dict(metric.state_dict())
        assert torch.equal(readings(fed(*LOOKS[2:], metric=resumed)), readings(fed(*LOOKS)))

    def test_states_stay_in_double_precision(self) -> None:
        metric = fed(LOOKS[0]).half().float()
        fed(*LOOKS[1:], metric=metric)
        assert {state.dtype for state in states(metric).values()} == {torch.float64}
        assert torch.equal(readings(metric), readings(fed(*LOOKS)))
        single = Look(LOOKS[0].traces.float(), LOOKS[0].variances.float())
        double = Look(single.traces.double(), single.variances.double())
        assert torch.equal(readings(fed(single)), readings(fed(double)))

    def test_follows_its_states_to_their_device(self) -> None:
        # "meta" has shapes and devices but no numbers: a tensor left behind on the CPU shows, on any machine
        metric = FreeEnergyLaplacian(SIZES).to("meta")
        metric.update(*LOOKS[0])
        metric.update(LOOKS[1].traces.to("meta"), LOOKS[1].variances.to("meta"))
        assert {state.device.type for state in states(metric).values()} == {"meta"}
        assert metric.estimate_layers().stderr.shape == (len(SIZES),)

    def test_gradients_do_not_enter(self) -> None:
        metric = fed(Look(torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)))
        assert not any(state.requires_grad for state in states(metric).values())


class TestErrors:
    @pytest.mark.parametrize("name", ["traces", "variances"])
    def test_wrong_number_of_layers(self, name: str) -> None:
        metric = fed(LOOKS[0])
        before = states(metric)
        pattern = rf"^{name} must hold one value for each layer \(3\), got shape \(2,\): say sizes=\[\.\.\.\] with the"
        with pytest.raises(ValueError, match=pattern):
            metric.update(**{"traces": torch.ones(3), "variances": torch.ones(3), name: torch.ones(2)})
        assert all(torch.equal(state, before[key]) for key, state in states(metric).items())

    @pytest.mark.parametrize("weight", [0.0, -1.0, math.inf, math.nan])
    def test_bad_weights(self, weight: float) -> None:
        with pytest.raises(ValueError, match=rf"^weight must be positive and finite, got {weight}$"):
            FreeEnergyLaplacian(SIZES).update(torch.ones(3), torch.ones(3), weight)

    def test_bad_sizes(self) -> None:
        with pytest.raises(ValueError, match=r"^sizes must hold the number of coordinates of each layer, all at least"):
            FreeEnergyLaplacian([])
        with pytest.raises(ValueError, match="Unexpected keyword arguments: `lr`"):
            FreeEnergyLaplacian(SIZES, lr=0.1)


def run_rank(rank: int, folder: Path) -> None:
    """Body of a process: three looks on one rank, none and then two on the other."""
    try:
        distributed.init_process_group(
            "gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2, timeout=timedelta(seconds=20)
        )
        metric = FreeEnergyLaplacian(SIZES)
        LayerHeat()  # another metric beside it
        found = []
        for looks in ((LOOKS[:3], []), ([], LOOKS[3:])):
            fed(*looks[rank], metric=metric)
            before = states(metric)
            found.append(readings(metric))
            assert all(torch.equal(state, before[name]) for name, state in states(metric).items())
        distributed.destroy_process_group()
        torch.save(found, folder / f"{rank}.pt")
    except BaseException:
        (folder / f"{rank}.txt").write_text(traceback.format_exc())
        raise


# Python 3.12 warns of forks beside threads; the children use none of the parent's
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_ranks_read_the_looks_of_all(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")  # a fresh interpreter would spend seconds on imports
    processes = [context.Process(target=run_rank, args=(rank, tmp_path), daemon=True) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(DEADLINE)
        process.kill()
    assert not [file.read_text() for file in tmp_path.glob("*.txt")]
    for rank in (0, 1):
        first, second = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert_close(first, readings(fed(*LOOKS[:3])), rtol=1e-10, atol=0.0)
        assert_close(second, readings(fed(*LOOKS)), rtol=1e-10, atol=0.0)
