"""Standard errors of transition temperatures, and the sample of residuals that they and the entropy rest on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from oracles import normal
from torch.testing import assert_close
from transition_states import GAUSSIAN, PAIRS, STATES, classifier, fed, regression

from thermo_callbacks.functional.transition import state_moments
from thermo_callbacks.functional.transition_state import priorities
from thermo_callbacks.metrics import TransitionTemperature

REPETITIONS = 160


class TestErrors:
    """Standard errors against the scatter of repetitions."""

    @pytest.mark.parametrize(
        ("name", "options", "expected"),
        [
            ("classifier", {}, 1.0),
            ("classifier", {"mean": True, "batches": 25}, 1.0),
            ("regression", {}, GAUSSIAN),
            ("regression", {"mean": True, "batches": 10, "max_residuals": 1000}, GAUSSIAN),
            ("regression", {"batches": 3, "max_residuals": 400}, GAUSSIAN),
        ],
        ids=["classifier", "classifier in batches", "regression", "regression in batches", "some residuals"],
    )
    def test_coverage(self, name: str, options: dict[str, Any], expected: float) -> None:
        """Of 95 % intervals; the binomial scatter over the repetitions is 1.7 %."""
        estimates = [fed(PAIRS[name](100 * seed), **options).estimate() for seed in range(REPETITIONS)]
        values, errors = (torch.stack([getattr(e, field) for e in estimates]) for field in ("value", "stderr"))
        covered = sum(bool(low < expected < high) for low, high in (e.interval(0.95) for e in estimates)) / REPETITIONS
        assert 0.90 < covered < 0.99
        assert errors.mean().item() == pytest.approx(values.std().item(), rel=0.15)
        assert abs(values.mean().item() - expected) < 4.0 * values.std().item() / REPETITIONS**0.5 + 0.005 * expected

    def test_pairing_matters(self) -> None:
        """Squared residuals and surprisals vary together: without it the error would be far larger."""
        metric = fed(regression())
        moments = [metric._moments()[index] for index in (0, 1)]
        alone = sum((m.covariance[0, 0] + GAUSSIAN**2 * m.covariance[1, 1] for m in moments), torch.tensor(0.0))
        change = (moments[0].mean - moments[1].mean)[1]
        assert metric.estimate().stderr < 0.75 * alone.sqrt() / change

    def test_batches_of_different_sizes_weigh_by_their_samples(self) -> None:
        states = classifier(1000)
        whole = fed(states).compute()
        metric = TransitionTemperature()
        for state, (losses, logits) in zip(STATES, states, strict=True):
            for part in (slice(0, 900), slice(900, 1000)):
                metric.update(state, losses[part].mean(), logits[part])
        assert_close(metric.compute(), whole, rtol=1e-12, atol=0.0)
        assert metric.estimate().degrees_of_freedom.item() == 1.0

    def test_covariance_from_mean_losses_of_batches_of_different_sizes(self) -> None:
        """Cov(r^2, r^2 / (2 v)) / n = v / n, with a scatter that is not that of the batches' sizes."""
        found = []
        for seed in range(100):
            metric = TransitionTemperature()
            _, residuals = regression(1000, seed=10 * seed)[0]
            for part in residuals.split([5, 35] * 25):
                metric.update("initial", part.square().mean(), part)
            found.append(1000.0 * state_moments(metric.record("initial")).covariance[0, 1])
        assert torch.stack(found).mean().item() == pytest.approx(1.5**2, abs=0.3)
        assert torch.stack(found).std().item() < 0.68

    def test_variance_of_the_energy_from_batches_of_different_sizes(self) -> None:
        """Unbiased: a mean of 1000 losses of variance 1 has variance 1/1000, also from batches of 100 and 900."""
        found = []
        for losses in normal(300, 1000, seed=1):
            metric = TransitionTemperature()
            for part in losses.split([100, 900]):
                metric.update("initial", part.mean(), torch.zeros(len(part), 2))
            found.append(1000.0 * state_moments(metric.record("initial")).covariance[0, 0])
        # a single degree of freedom each: the scatter of the mean over 300 is sqrt(2 / 300)
        assert torch.stack(found).mean().item() == pytest.approx(1.0, abs=4.0 * (2 / 300) ** 0.5)

    def test_one_mean_shows_no_scatter(self) -> None:
        estimate = fed(classifier(100), mean=True).estimate()
        assert estimate.value.isfinite()
        assert estimate.stderr.isnan()

    def test_unit_of_the_loss(self) -> None:
        states = [(3.0 * losses, residuals) for losses, residuals in regression()]
        first, second = fed(regression()).estimate(), fed(states).estimate()
        assert_close(3.0 * first.value, second.value)
        assert_close(3.0 * first.stderr, second.stderr)


class TestResiduals:
    """The sample of residuals that is kept."""

    def test_bounded_and_a_fair_sample(self) -> None:
        metric = fed(regression(20_000), batches=10, max_residuals=500)
        assert metric.residuals.shape == (2, 4, 500)
        residuals = regression(20_000)[0][1]
        kept = metric.residuals[0, 1]
        places = (residuals[:, None] == kept).nonzero()[:, 0]
        assert len(places) == 500  # each is one of them, and none is there twice
        assert abs(places.double().mean() / 20_000 - 0.5) < 4.0 * (1 / 12 / 500) ** 0.5
        assert abs(kept.mean()) < 4.0 * 1.5 / 500**0.5
        assert kept.std().item() == pytest.approx(1.5, rel=4.0 / (2 * 500) ** 0.5)
        assert_close(metric.residuals[0, 2], kept.square())  # with their own losses

    def test_priorities_are_uniform_whatever_the_values(self) -> None:
        for values in (normal(50_000, seed=1), torch.zeros(50_000, dtype=torch.float64)):
            drawn = priorities(values, torch.tensor(17))
            edges = torch.linspace(0, 1, 51, dtype=torch.float64)
            counts = torch.histogram(drawn, edges).hist
            assert counts.sum() == 50_000
            chi_square = ((counts - 1000.0).square() / 1000.0).sum()
            assert abs(chi_square - 49.0) < 4.0 * (2 * 49) ** 0.5
            pairs = torch.corrcoef(torch.stack([drawn[1:], drawn[:-1]]))[0, 1]
            assert abs(pairs) < 4.0 / 50_000**0.5

    def test_equal_residuals_are_chosen_by_their_place(self) -> None:
        first = priorities(torch.zeros(100, dtype=torch.float64), torch.tensor(0))
        later = priorities(torch.zeros(100, dtype=torch.float64), torch.tensor(50))
        assert torch.equal(first[50:], later[:50])
        assert len(first.unique()) == 100

    def test_energy_is_that_of_all_samples(self) -> None:
        states = regression(5000)
        metric = fed(states, max_residuals=100)
        assert_close(metric._moments()[0].mean[0], states[0][0].mean())

    def test_mean_losses_stand_for_their_whole_batch(self) -> None:
        metric = fed(regression(1000), mean=True, batches=4, max_residuals=1000)
        assert (metric.residuals[:, 3] == 250.0).all()
        assert_close(metric.compute(), fed(regression(1000)).compute(), rtol=1e-12, atol=0.0)
