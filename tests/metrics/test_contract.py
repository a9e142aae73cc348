"""What every metric keeps to: its functional twin, sums that add up, and the conventions of torchmetrics."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from metric_cases import CASES, SIZES, WATCHED, MetricCase, WindowSteps, added, window_steps
from torch import Tensor
from torch.testing import assert_close
from torchmetrics import MetricCollection

from thermo_callbacks import metrics

pytestmark = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
LAYERS = range(len(WATCHED))
FIRST, SECOND = window_steps(1), window_steps(2)
BEFORE_UPDATE = "was called before the ``update`` method"
WHEN_EMPTY: dict[type, float] = {
    metrics.LayerHeat: 0.0
}  # an empty sum; all others are means and ratios, which have no value


def fed(case: MetricCase, *bursts: Any, metric: Any = None) -> Any:
    """A metric, by default a fresh one, after some bursts."""
    metric = case.build() if metric is None else metric
    for steps in bursts:
        metric.update(**case.feed(steps))
    return metric


def values(metric: Any) -> Tensor:
    """Global value and values of the layers."""
    return torch.cat([metric.compute().view(1), metric.compute_layers()])


def read(case: MetricCase, *windows: Any) -> Tensor:
    """The same values, of windows that were watched step by step."""
    estimates = case.estimates(*windows)
    return torch.cat([estimates.whole.value.view(1), estimates.layers.value])


def states(metric: Any) -> dict[str, Tensor]:
    return {name: state.clone() for name, state in metric.metric_state.items()}


class TestValues:
    """Values of windows, layers and sums of both."""

    def test_one_layer_is_the_functional_twin(self, case: MetricCase) -> None:
        for layer in LAYERS:
            metric = case.build(None)
            metric.update(**case.feed_layer(FIRST, layer))
            expected = case.value(FIRST, layer)
            assert_close(metric.compute(), expected, rtol=1e-12, atol=0.0)
            assert_close(metric.compute_layers(), expected.view(1), rtol=1e-12, atol=0.0)
            assert metric.compute().shape == ()

    def test_layers_are_metrics_of_one_layer(self, case: MetricCase) -> None:
        layers = fed(case, FIRST, SECOND).compute_layers()
        assert layers.shape == (len(WATCHED),)
        for layer in LAYERS:
            metric = case.build([SIZES[layer]])
            for steps in (FIRST, SECOND):
                metric.update(**case.feed_layer(steps, layer))
            assert_close(layers[layer], metric.compute(), rtol=1e-12, atol=0.0)

    def test_watching_step_by_step_is_the_same(self, case: MetricCase) -> None:
        windows = [case.watch(steps) for steps in (FIRST, SECOND)]
        expected = fed(case, FIRST, SECOND)
        assert_close(read(case, *windows), values(expected), rtol=1e-10, atol=0.0)
        assert expected.update_count == 2
        for name, total in added(case.sums(window) for window in windows)._asdict().items():
            assert_close(total, states(expected)[name], rtol=1e-10, atol=1e-12)

    def test_single_precision_windows_add_up_in_double(self, case: MetricCase) -> None:
        single = FIRST._replace(**{name: [x.float() for x in field] for name, field in FIRST._asdict().items()})
        double = single._replace(**{name: [x.double() for x in field] for name, field in single._asdict().items()})
        assert_close(values(fed(case, single)), values(fed(case, double)), rtol=0.0, atol=0.0)

    def test_windows_add(self, case: MetricCase) -> None:
        first, second = states(fed(case, FIRST)), states(fed(case, SECOND))
        forward, backward = fed(case, FIRST, SECOND), fed(case, SECOND, FIRST)
        for name, state in states(forward).items():
            assert_close(state, first[name] + second[name], rtol=1e-14, atol=0.0)
        assert_close(values(forward), values(backward), rtol=1e-14, atol=0.0)

    def test_a_layer_without_gradient_leaves_the_others_unharmed(self, case: MetricCase) -> None:
        missing, others = 3, [layer for layer in LAYERS if layer != 3]
        absent, present = case.watch(FIRST, missing=[missing]), case.watch(SECOND)
        rest = WindowSteps(*([field[layer] for layer in others] for field in FIRST))
        expected = case.build([SIZES[layer] for layer in others])
        expected.update(**case.feed(rest))
        whole, *layers = read(case, absent)
        assert_close(whole, expected.compute(), rtol=1e-10, atol=0.0)
        assert_close(torch.stack(layers)[others], expected.compute_layers(), rtol=1e-10, atol=0.0)
        assert_close(layers[missing].item(), WHEN_EMPTY.get(case.metric, math.nan), equal_nan=True)
        whole, *layers = read(case, absent, present)  # from here on it has one
        assert_close(layers[missing], fed(case, SECOND).compute_layers()[missing], rtol=1e-10, atol=0.0)
        assert whole.isfinite()

    def test_no_layer_has_a_gradient(self, case: MetricCase) -> None:
        window = case.watch(FIRST, missing=LAYERS)
        absent = torch.full((1 + len(WATCHED),), WHEN_EMPTY.get(case.metric, math.nan)).double()
        assert_close(read(case, window), absent, equal_nan=True)
        assert_close(read(case, window, case.watch(SECOND)), values(fed(case, SECOND)), rtol=1e-10, atol=0.0)

    @pytest.mark.parametrize("valid", [0, 1], ids=["no step", "one step"])
    def test_a_window_that_lost_its_steps_is_forgotten(self, case: MetricCase, valid: int) -> None:
        lost = FIRST._replace(gradients=[x.clone() for x in FIRST.gradients])
        lost.gradients[0][valid:] = math.nan
        window = case.watch(lost)
        both = read(case, window, case.watch(SECOND))
        assert both.isfinite().all()
        if case.function.__name__ not in {"heat", "equilibrium_ratio"}:  # one step has heat, and a direction
            assert read(case, window).isnan().all()
            assert_close(both, values(fed(case, SECOND)), rtol=1e-10, atol=0.0)

    def test_before_the_first_window(self, case: MetricCase) -> None:
        metric = case.build()
        empty = WHEN_EMPTY.get(case.metric, math.nan)
        with pytest.warns(UserWarning, match=BEFORE_UPDATE):
            assert_close(metric.compute().item(), empty, equal_nan=True)
        assert_close(metric.compute_layers().tolist(), [empty] * len(WATCHED), equal_nan=True)


class TestConventions:
    """What torchmetrics and its users count on."""

    def test_class_attributes(self, case: MetricCase) -> None:
        assert case.metric.is_differentiable is False
        assert case.metric.higher_is_better is None
        assert case.metric.full_state_update is False

    def test_forward_gives_the_window_and_adds_it(self, case: MetricCase) -> None:
        metric = case.build()
        for steps in (FIRST, SECOND):
            assert_close(metric(**case.feed(steps)), fed(case, steps).compute(), rtol=1e-14, atol=0.0)
        assert_close(values(metric), values(fed(case, FIRST, SECOND)), rtol=1e-14, atol=0.0)

    def test_a_window_outdates_the_value(self, case: MetricCase) -> None:
        metric = fed(case, FIRST, metric=case.metric(SIZES, compute_with_cache=True, **case.options))
        metric.compute()
        metric.update(**case.feed(SECOND))
        assert_close(metric.compute(), fed(case, FIRST, SECOND).compute(), rtol=1e-10, atol=0.0)

    def test_pickle(self, case: MetricCase) -> None:
        metric = pickle.loads(pickle.dumps(fed(case, FIRST)))
        assert torch.equal(values(metric), values(fed(case, FIRST)))
        assert torch.equal(values(fed(case, SECOND, metric=metric)), values(fed(case, FIRST, SECOND)))

    @pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda metric: metric.clone()], ids=["deepcopy", "clone"])
    def test_copies_are_independent(self, case: MetricCase, duplicate: Any) -> None:
        metric = fed(case, FIRST)
        other = fed(case, SECOND, metric=duplicate(metric))
        assert torch.equal(values(metric), values(fed(case, FIRST)))
        assert torch.equal(values(other), values(fed(case, FIRST, SECOND)))

    def test_reset(self, case: MetricCase) -> None:
        metric = fed(case, FIRST)
        metric.reset()
        assert metric.update_count == 0
        assert not any(state.any() for state in states(metric).values())
        assert torch.equal(values(fed(case, SECOND, metric=metric)), values(fed(case, SECOND)))

    def test_state_dict_is_empty_unless_persistent(self, case: MetricCase) -> None:
        metric = fed(case, FIRST)
        assert metric.state_dict() == {}
        metric.persistent(True)
        resumed = case.build()
        resumed.persistent(True)
        resumed.load_state_dict(metric.state_dict())
        assert torch.equal(resumed.compute_layers(), metric.compute_layers())
        with pytest.warns(UserWarning, match=BEFORE_UPDATE):  # torchmetrics does not store the number of updates
            assert torch.equal(resumed.compute(), metric.compute())
        assert torch.equal(values(fed(case, SECOND, metric=resumed)), values(fed(case, FIRST, SECOND)))

    def test_states_stay_in_double_precision(self, case: MetricCase) -> None:
        kept = {torch.float64, torch.int64}  # sums and counts
        metric = fed(case, FIRST)
        for cast in ("half", "float", "double"):
            metric = getattr(metric, cast)()
            assert {state.dtype for state in states(metric).values()} <= kept
        assert torch.equal(values(fed(case, SECOND, metric=metric)), values(fed(case, FIRST, SECOND)))
        metric(**case.feed(SECOND))
        assert {state.dtype for state in states(metric).values()} <= kept

    def test_follows_its_windows_to_their_device(self, case: MetricCase) -> None:
        # "meta" has shapes and devices but no numbers: a tensor left behind on the CPU shows, on any machine
        away = WindowSteps(*([x.to("meta") for x in field] for field in FIRST))
        feed = {
            name: [x.to("meta") for x in given] if isinstance(given, list) else given
            for name, given in case.feed(away).items()
        }
        metric = case.build().to("meta")
        metric.update(**feed)
        metric.update(**case.feed(FIRST))  # also to where it was put
        assert {state.device.type for state in states(metric).values()} == {"meta"}
        assert values(metric).shape == (1 + len(WATCHED),)

    def test_a_collection_gives_each_what_it_asks_for(self, case: MetricCase) -> None:
        names = {"first": case.build(), "second": case.build(), "other": metrics.LayerHeat(SIZES)}
        collection = MetricCollection(names, compute_groups=False)
        everything = {**FIRST._asdict(), **case.feed(FIRST)}
        collection.update(**everything)
        expected = fed(case, FIRST).compute()
        computed = collection.compute()
        assert torch.equal(computed["first"], expected)
        assert torch.equal(computed["second"], expected)
        assert computed["other"] == fed(CASES[-1], FIRST).compute()

    def test_unknown_options_are_refused(self, case: MetricCase) -> None:
        with pytest.raises(ValueError, match="Unexpected keyword arguments: `lr`"):
            case.metric(SIZES, **case.options, lr=0.1)


class TestErrors:
    """Errors name the argument and what it got, and leave the states alone."""

    def test_wrong_number_of_layers(self, case: MetricCase) -> None:
        metric = fed(case, FIRST)
        before = states(metric)
        few = WindowSteps(*(field[:5] for field in FIRST))
        pattern = (
            rf"^{case.arguments[0]} must hold one tensor for each layer \(6\), got 5: say sizes=\[\.\.\.\] with the"
        )
        with pytest.raises(ValueError, match=pattern):
            metric.update(**case.feed(few))
        assert all(torch.equal(state, before[name]) for name, state in states(metric).items())

    def test_a_metric_of_one_layer_takes_one(self, case: MetricCase) -> None:
        with pytest.raises(
            ValueError, match=r"must hold one tensor for each layer \(1\), got 6: say sizes=\[\.\.\.\] with"
        ):
            case.build(None).update(**case.feed(FIRST))

    def test_a_window_larger_than_its_layer(self, case: MetricCase) -> None:
        pattern = r"^sizes says that a layer has 299 coordinates, got a window that shows 300$"
        with pytest.raises(ValueError, match=pattern):
            case.build([*SIZES[:-1], 299]).update(**case.feed(FIRST))

    @pytest.mark.parametrize("sizes", [[], [3, 0], (-1,)], ids=str)
    def test_bad_sizes(self, case: MetricCase, sizes: Any) -> None:
        with pytest.raises(ValueError) as error:  # noqa: PT011 the whole text is compared
            case.build(sizes)
        expected = f"sizes must hold the number of coordinates of each layer, all at least 1, got {list(sizes)}"
        assert str(error.value) == expected

    def test_too_short_a_window(self, case: MetricCase) -> None:
        name = case.function.__name__
        with_momentum = 3 if name == "drift_share" else 4
        fewest = with_momentum if "momentum" in case.options else 1 if name in {"heat", "equilibrium_ratio"} else 2
        metric = case.build()
        metric.update(**case.feed(FIRST.at(torch.arange(fewest))))
        short = FIRST.at(torch.arange(fewest - 1))
        with pytest.raises(ValueError, match=rf"must hold at least {fewest} steps, got {fewest - 1}: measure longer$"):
            metric.update(**case.feed(short))
