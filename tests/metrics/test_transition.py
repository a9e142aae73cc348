"""Transition temperature as a metric: closed forms, reasons for what is missing, conventions, refusals."""

from __future__ import annotations

import copy
import math
import pickle
import re
from typing import Any

import pytest
import torch
from oracles import normal
from torch.testing import assert_close
from transition_states import PAIRS, STATES, classifier, fed, regression

from thermo_callbacks.functional import linear, predictive_entropy, transition_temperature, vasicek_entropy
from thermo_callbacks.metrics import TransitionTemperature


class TestValues:
    def test_calibrated_classifier_is_at_one(self) -> None:
        estimate = fed(classifier()).estimate()
        assert estimate.value.item() == pytest.approx(1.0, rel=0.02)
        assert abs(estimate.value.item() - 1.0) < 4.0 * estimate.stderr.item()

    def test_functional_twin_of_predictions(self) -> None:
        states = classifier(500)
        energies = [losses.mean() for losses, _ in states]
        entropies = [predictive_entropy(logits) for _, logits in states]
        assert_close(
            fed(states, batches=7).compute(), transition_temperature(*energies, *entropies), rtol=1e-12, atol=0
        )

    def test_functional_twin_of_residuals(self) -> None:
        states = regression(501)
        energies = [losses.mean() for losses, _ in states]
        entropies = [vasicek_entropy(residuals) for _, residuals in states]
        assert_close(
            fed(states, batches=3).compute(), transition_temperature(*energies, *entropies), rtol=1e-12, atol=0
        )

    def test_functional_twin_of_weights(self) -> None:
        weights = [[scale * normal(20, 30, seed=1), normal(50, seed=2)] for scale in (2.0, 1.0)]
        metric = TransitionTemperature("weights")
        for state, layers, energies in zip(STATES, weights, ((3.0, 5.0), (1.0, 2.0)), strict=True):
            for energy, count in zip(energies, (10, 30), strict=True):
                metric.update(state, torch.tensor(energy), layers, count=count)
        # 600 h(2q) - 600 h(q) = 600 ln 2, and the biases stay
        assert metric.compute().item() == pytest.approx((4.5 - 1.75) / (600.0 * math.log(2.0)), rel=1e-9)
        assert metric.residuals.shape == (2, 4, 0)

    def test_weights_may_come_with_the_loss_of_each_sample(self) -> None:
        metric = TransitionTemperature("weights")
        for state, scale in zip(STATES, (2.0, 1.0), strict=True):
            metric.update(state, scale * torch.tensor([1.0, 3.0]), scale * normal(100, seed=1))
        assert metric.compute().item() == pytest.approx(2.0 / (100.0 * math.log(2.0)), rel=1e-9)
        # the weights' entropy is exact: the error is that of the losses, 1 and 2 over sqrt(2) samples' scatter
        expected = math.sqrt(1.0 + 4.0) / (100.0 * math.log(2.0))
        assert metric.estimate().stderr.item() == pytest.approx(expected, rel=1e-9)

    def test_numbers_name_the_states_too(self) -> None:
        metric = TransitionTemperature()
        for index, state in enumerate(regression(100)):
            metric.update(index, *state)
        assert metric.compute() == fed(regression(100)).compute()

    @pytest.mark.parametrize(("loss", "dim", "expected", "matches"), [
        ("mse", 32, 1.2718, True), ("mae", 32, 0.5813, True), ("mse", 1, 1.2718, False), ("mae", 1, 0.5813, False),
    ])  # fmt: skip
    def test_linear_model_table(self, loss: Any, dim: int, expected: float, matches: bool) -> None:
        """By closed form and by simulation; one input is off the asymptotic form, and on the exact one."""
        setting = {"dim": dim, "init_variance": 1.0 / dim, "noise_variance": 0.09}
        assert linear.transition_temperature(loss, **setting) == pytest.approx(expected, abs=5e-5)
        exact = linear.transition_temperature(loss, **setting, exact=True)
        assert (exact == pytest.approx(expected, rel=0.01)) is matches
        samples = 100_000
        weights, inputs = (normal(samples, dim, seed=seed) for seed in (3, 4))
        errors = (inputs * (dim**-0.5 - dim**-0.5 * weights)).sum(1)
        noise = [0.3 * normal(samples, seed=seed) for seed in (5, 6)]
        residuals = (errors + noise[0], noise[1])
        states = [(r.square() if loss == "mse" else r.abs(), r) for r in residuals]
        simulated = fed(states, max_residuals=samples).compute().item()
        assert simulated == pytest.approx(exact, rel=0.01)
        assert (simulated == pytest.approx(expected, rel=0.02)) is matches


class TestMissing:
    """NaN with a reason."""

    def test_a_value_has_no_reason(self) -> None:
        assert fed(regression(200)).reason() is None

    def test_no_samples(self) -> None:
        metric = TransitionTemperature()
        metric.update("initial", *regression(100)[0])
        assert metric.compute().isnan()
        assert metric.reason() == "the final state has no samples"
        metric.reset()
        metric.update("final", *classifier(100)[0])
        assert metric.reason() == "the initial state has no samples"

    @pytest.mark.parametrize("make", [classifier, regression])
    def test_entropies_that_are_equal_within_their_errors(self, make: Any) -> None:
        state = make(500)[0]
        other = (make(500, seed=50) if make is regression else classifier(500, seed=50))[0]
        metric = fed([(state[0] + 1.0, state[1]), other])
        assert metric.compute().isnan()
        pattern = r"the states' entropies, [\d.]+ and [\d.]+ nats, are equal within 2 standard errors"
        assert re.fullmatch(pattern, str(metric.reason()))

    def test_losses_that_are_not_finite(self) -> None:
        states = regression(100)
        states[1][0][3] = math.nan
        metric = fed(states)
        assert metric.compute().isnan()
        assert metric.reason() == "the mean loss of the final state is nan"

    @pytest.mark.parametrize("broken", ["ties", "nan", "few"])
    def test_residuals_without_a_density(self, broken: str) -> None:
        states = regression(100)
        if broken == "few":
            states[0] = (states[0][0][:4], states[0][1][:4])
        else:
            states[0][1][:80] = 0.0 if broken == "ties" else math.nan
        metric = fed(states)
        assert metric.compute().isnan()
        value = "-inf" if broken == "ties" else "nan"
        assert metric.reason() == (
            f"the entropy of the initial state is {value}: outputs that are not finite, residuals or weights with a "
            "point mass, or fewer than 5 of them"
        )

    def test_a_class_that_is_ruled_out_adds_nothing(self) -> None:
        states = classifier(100)
        padded = [
            (losses, torch.cat([logits, torch.full((100, 1), -math.inf, dtype=torch.float64)], 1))
            for losses, logits in states
        ]
        assert_close(fed(padded).compute(), fed(states).compute())

    def test_before_the_first_batch(self) -> None:
        with pytest.warns(UserWarning, match="was called before the ``update`` method"):
            assert TransitionTemperature().compute().isnan()


class TestConventions:
    """What torchmetrics and its users count on."""

    def test_class_attributes(self) -> None:
        kinds = (TransitionTemperature.is_differentiable, TransitionTemperature.higher_is_better)
        assert kinds == (False, None)
        assert TransitionTemperature.full_state_update is False

    @pytest.mark.parametrize("name", PAIRS)
    def test_order_of_batches_is_of_no_matter(self, name: str) -> None:
        states = PAIRS[name](0)
        backwards = [(losses.flip(0), outputs.flip(0)) for losses, outputs in states]
        assert_close(fed(states, batches=5).compute(), fed(backwards, batches=3).compute(), rtol=1e-12, atol=0.0)

    @pytest.mark.parametrize("name", PAIRS)
    def test_forward_adds_a_batch(self, name: str) -> None:
        metric, expected = TransitionTemperature(), fed(PAIRS[name](0), batches=4)
        for state, (losses, outputs) in zip(STATES, PAIRS[name](0), strict=True):
            for loss, output in zip(losses.tensor_split(4), outputs.tensor_split(4), strict=True):
                assert metric(state, loss, output).isnan()  # of the batch alone, which shows one state
        assert_close(metric.compute(), expected.compute(), rtol=1e-12, atol=0.0)
        assert_close(metric.estimate().stderr, expected.estimate().stderr, rtol=1e-9, atol=0.0)

    @pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: m.clone(), lambda m: pickle.loads(pickle.dumps(m))])
    def test_copies_are_independent(self, duplicate: Any) -> None:
        metric = fed(regression(200))
        before = metric.compute()
        other = fed(regression(200, seed=9), metric=duplicate(metric))
        assert metric.compute() == before
        assert other.compute() == fed(regression(200, seed=9), metric=fed(regression(200))).compute()

    def test_reset(self) -> None:
        metric = fed(regression(200))
        metric.reset()
        assert metric.update_count == 0
        assert metric.residuals[:, 0].isinf().all()
        assert fed(classifier(200), metric=metric).compute() == fed(classifier(200)).compute()

    def test_state_dict_round_trip(self) -> None:
        metric = fed(regression(200))
        assert metric.state_dict() == {}
        metric.persistent(True)
        resumed = TransitionTemperature()
        resumed.persistent(True)
        resumed.load_state_dict(metric.state_dict())
        assert torch.equal(resumed.estimate().value, metric.compute())

    def test_single_precision_adds_up_in_double(self) -> None:
        single = [(losses.float(), logits.bfloat16()) for losses, logits in classifier(300)]
        double = [(losses.double(), logits.double()) for losses, logits in single]
        assert fed(single).compute() == fed(double).compute()
        assert fed(single).half().totals.dtype == torch.float64

    def test_records_outlive_a_reset(self) -> None:
        metric = fed(regression(300))
        records = [metric.record(state) for state in STATES]
        before = metric.compute()
        assert records[0].residuals.shape == (4, 300)
        metric.reset()
        assert records[0].totals[2] == 300.0
        resumed = fed(regression(300))
        assert resumed.compute() == before

    def test_gradients_do_not_flow(self) -> None:
        states = [(losses.requires_grad_(), logits.requires_grad_()) for losses, logits in classifier(50)]
        assert not fed(states).compute().requires_grad


class TestRefusals:
    """Errors name the argument and what it got, and leave the sums alone."""

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"entropy": "output"}, "entropy must be one of outputs, weights, got 'output'"),
            (
                {"max_residuals": 99},
                "max_residuals must be a whole number of at least 100 to show a density, and at most 100,000,000, "
                "got 99",
            ),
        ],
    )
    def test_options(self, options: Any, text: str) -> None:
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            TransitionTemperature(**options)

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ((2, torch.ones(3), torch.ones(3)), "state must be 0 or 'initial', 1 or 'final', got 2"),
            (
                (0, torch.ones(3, 2), torch.ones(3, 2)),
                "losses must hold one number a sample, [B], or their mean, a scalar, got shape (3, 2): flatten them",
            ),
            (
                (0, torch.ones(3), torch.ones(3, 2, 2)),
                "outputs must be a floating-point tensor, logits [B, C] or residuals [B], got shape (3, 2, 2) and "
                "torch.float32: flatten positions into samples, or say entropy='weights'",
            ),
            (
                (0, torch.ones(3), torch.ones(3).long()),
                "outputs must be a floating-point tensor, logits [B, C] or residuals [B], got shape (3,) and "
                "torch.int64: flatten positions into samples, or say entropy='weights'",
            ),
            (
                (0, torch.ones(3), [torch.ones(3)]),
                "outputs must be a floating-point tensor, logits [B, C] or residuals [B], got list: flatten positions "
                "into samples, or say entropy='weights'",
            ),
            (
                (0, torch.ones(3), torch.ones(3, 1)),
                "outputs must hold logits of at least 2 classes, got shape (3, 1): give a single logit z as two "
                "columns [0, z], residuals as [B]",
            ),
            ((0, torch.ones(3), torch.ones(4)), "outputs must hold the samples of the losses, 3, got 4"),
            ((0, torch.tensor(1.0), torch.ones(0)), "outputs must hold the samples of the losses, at least 1, got 0"),
        ],
    )
    def test_update(self, arguments: Any, text: str) -> None:
        metric = fed(regression(100))
        before = metric.compute()
        with pytest.raises(ValueError) as error:  # noqa: PT011 the whole text is compared
            metric.update(*arguments)
        assert str(error.value) == text
        assert metric.compute() == before

    def test_two_kinds_of_outputs(self) -> None:
        metric = fed(regression(100))
        text = r"^outputs must be of one kind, .* got shape \(100, 5\) after the other kind: reset first$"
        with pytest.raises(ValueError, match=text):
            metric.update("final", *classifier(100)[0])

    def test_count_beside_outputs(self) -> None:
        text = "^count is for a mean loss beside weights, got 7 beside outputs that tell it: leave it out$"
        with pytest.raises(ValueError, match=text):
            TransitionTemperature().update(0, torch.tensor(1.0), torch.ones(7), count=7)

    def test_no_weights(self) -> None:
        with pytest.raises(ValueError, match=r"^outputs must hold the weights of at least one layer, got none$"):
            TransitionTemperature("weights").update(0, torch.tensor(1.0), [])
