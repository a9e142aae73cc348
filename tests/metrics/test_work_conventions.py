"""What torchmetrics and its users count on, of the metrics of efficiency."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from efficiency_cases import EITHER, FIRST, METRICS, SECOND, assert_same, everything, fed, feed
from torch.testing import assert_close
from torchmetrics import MetricCollection

from thermo_callbacks.metrics import LearningEfficiency, WorkEfficiency


@EITHER
class TestConventions:
    """What torchmetrics and its users count on."""

    def test_class_attributes(self, name: str) -> None:
        assert METRICS[name].is_differentiable is False
        assert METRICS[name].higher_is_better is None
        assert METRICS[name].full_state_update is False
        assert METRICS[name]().compute_with_cache is False  # or ranks with and without news would wait for each other

    def test_forward_gives_the_batch_and_adds_it(self, name: str) -> None:
        metric = METRICS[name](3)
        for batch in (FIRST, SECOND):
            value = metric(**feed(name, *zip(*batch, strict=True)))
            assert_close(value, fed(name, batch).compute(), rtol=1e-12, atol=0.0)
        assert_same(metric, fed(name, FIRST, SECOND))

    def test_a_batch_outdates_the_value(self, name: str) -> None:
        metric = fed(name, FIRST, metric=METRICS[name](3, compute_with_cache=True))
        metric.compute()
        fed(name, SECOND, metric=metric)
        assert_close(metric.compute(), fed(name, FIRST, SECOND).compute(), rtol=1e-12, atol=0.0)

    @pytest.mark.parametrize(
        "duplicate",
        [copy.deepcopy, lambda metric: metric.clone(), lambda metric: pickle.loads(pickle.dumps(metric))],
        ids=["deepcopy", "clone", "pickle"],
    )
    def test_copies_are_independent(self, name: str, duplicate: Any) -> None:
        metric = fed(name, FIRST)
        other = fed(name, SECOND, metric=duplicate(metric))
        assert_same(metric, fed(name, FIRST))
        assert_same(other, fed(name, FIRST, SECOND))

    def test_reset(self, name: str) -> None:
        metric = fed(name, FIRST)
        metric.reset()
        assert metric.update_count == 0
        assert_same(fed(name, SECOND, metric=metric), fed(name, SECOND))

    def test_state_dict_is_empty_unless_persistent(self, name: str) -> None:
        metric = fed(name, FIRST)
        assert metric.state_dict() == {}
        metric.persistent(True)
        resumed = METRICS[name](3)
        resumed.persistent(True)
        resumed.load_state_dict(metric.state_dict())
        assert torch.equal(resumed.compute_layers(), metric.compute_layers())
        assert_same(fed(name, SECOND, metric=resumed), fed(name, FIRST, SECOND))

    def test_states_stay_in_double_precision(self, name: str) -> None:
        metric = fed(name, FIRST)
        for cast in ("half", "float", "double"):
            metric = getattr(metric, cast)()
            assert {state.dtype for state in metric.metric_state.values()} == {torch.float64, torch.int64}
        assert_same(fed(name, SECOND, metric=metric), fed(name, FIRST, SECOND))

    def test_follows_its_tensors_to_their_device(self, name: str) -> None:
        # "meta" has shapes and devices but no numbers: a tensor left behind on the CPU shows, on any machine
        away = [tuple(tensor.to("meta") for tensor in sides) for sides in FIRST]
        metric = fed(name, away, metric=METRICS[name](3).to("meta"))
        assert {state.device.type for state in metric.metric_state.values()} == {"meta"}
        assert all(value.device.type == "meta" for value in everything(metric))

    def test_a_collection(self, name: str) -> None:
        collection = MetricCollection(
            {"work": WorkEfficiency(3), "learning": LearningEfficiency(3)}, compute_groups=False
        )
        arguments = feed("work", *zip(*FIRST, strict=True)) | feed("learning", *zip(*SECOND, strict=True))
        collection.update(**arguments)
        batch = FIRST if name == "work" else SECOND
        assert_close(collection.compute()[name], fed(name, batch).compute(), rtol=1e-12, atol=0.0)

    def test_a_synchronisation_by_hand_stays_its_users(self, name: str) -> None:
        metric = METRICS[name](
            3, dist_sync_fn=lambda state, group: [state, state], distributed_available_fn=lambda: True
        )
        fed(name, FIRST, metric=metric)
        twice = fed(name, FIRST, FIRST)
        assert_same(metric, twice)
        assert torch.equal(metric.totals, fed(name, FIRST).totals)
        metric.sync(dist_sync_fn=metric.dist_sync_fn)
        assert_close(metric.compute_layers(), twice.compute_layers(), rtol=1e-12, atol=0.0)
        assert_close(metric.estimate().stderr, twice.estimate().stderr, rtol=1e-12, atol=0.0)
        assert metric._is_synced
        metric.unsync()
        assert torch.equal(metric.totals, fed(name, FIRST).totals)

    def test_unknown_options_are_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="Unexpected keyword arguments: `lr`"):
            METRICS[name](3, lr=0.1)


@EITHER
class TestRefusals:
    @pytest.mark.parametrize("modules", [0, -2])
    def test_no_module(self, name: str, modules: int) -> None:
        with pytest.raises(
            ValueError, match=rf"^num_modules must be at least 1 and a whole number below 2\*\*31, got {modules}$"
        ):
            METRICS[name](modules)

    def test_another_number_of_modules(self, name: str) -> None:
        numerators, denominators = zip(*FIRST[:2], strict=True)
        argument = {"work": "output", "learning": "grad_input"}[name]
        pattern = rf"^{argument} must hold one tensor for each module \(3\), got 2: say num_modules=\.\.\.$"
        with pytest.raises(ValueError, match=pattern):
            METRICS[name](3).update(**feed(name, numerators, denominators))
        with pytest.raises(ValueError, match=r"must hold one tensor for each module \(1\), got 2"):
            METRICS[name]().update(**feed(name, numerators, denominators))

    def test_another_shape(self, name: str) -> None:
        first, second = {"work": ("output", "input"), "learning": ("grad_input", "grad_output")}[name]
        pattern = rf"^{second} must have the shape of {first}, \(30, 4\), got \(20, 4\): an activation works element by"
        with pytest.raises(ValueError, match=pattern):
            METRICS[name]().update(**feed(name, FIRST[0][0], SECOND[0][1]))

    def test_another_number_of_types(self, name: str) -> None:
        with pytest.raises(ValueError, match=r"^types must hold one name for each of the 3 modules, got 2$"):
            fed(name, FIRST).estimate_types(["ReLU", "Tanh"])
