"""What a comparison is said to show."""

from __future__ import annotations

import re

import pytest
from comparison_runs import DIVERGED, FAILED, run, runs
from scipy import stats

from thermo_callbacks.comparison.interpretation import read_comparison
from thermo_callbacks.comparison.records import estimate


def text_of(records):
    return " ".join(read_comparison(records))


def made(losses, efficiencies=None):
    """One activation a row of losses, one run a loss."""
    efficiencies = efficiencies or [0.5] * len(losses)
    return [
        run("ReLU", seed, activation=f"a{place}", values={"val_loss_best": loss, "work_efficiency": efficiency})
        for place, (row, efficiency) in enumerate(zip(losses, efficiencies, strict=True))
        for seed, loss in enumerate(row)
    ]


def test_best_is_named_with_its_interval():
    first = read_comparison(runs())[0]
    best = estimate([0.29, 0.304, 0.326])
    assert first == (
        f"Lowest validation loss: GELU, {best.mean:.4f} on average over 3 seeds "
        f"(95 % from {best.lower:.4f} to {best.upper:.4f})."
    )


def test_others_are_told_apart_by_paired_differences_together_at_95_percent():
    sentences = read_comparison(runs())
    behind = next(sentence for sentence in sentences if sentence.startswith("Behind GELU"))
    level = next(sentence for sentence in sentences if sentence.startswith("Not told from GELU"))
    difference = estimate([0.5 - 0.29, 0.51 - 0.304, 0.52 - 0.326], comparisons=3)
    assert f"Tanh (by {difference.mean:.4f} ± {difference.half_width:.4f})" in behind
    assert "SELU (by" in behind
    assert re.findall(r"(\w+) \(", level) == ["ReLU"]


def test_common_scatter_of_the_seeds_hides_no_difference():
    scatter = [0.0, 0.5, 1.0]
    text = text_of(made([scatter, [0.11 + scatter[0], 0.1 + scatter[1], 0.1 + scatter[2]]]))
    assert "Behind a0 by more than the interval of the difference: a1" in text
    assert "Not told" not in text


def test_more_activations_take_wider_intervals():
    losses = [[0.0, 0.0, 0.0], [0.10, 0.13, 0.16]]
    assert "Behind a0" in text_of(made(losses))
    many = made([*losses, *[[0.5, 0.7, 0.6]] * 8])
    assert "a1 (0.1300" in next(each for each in read_comparison(many) if each.startswith("Not told"))


def test_one_run_shows_no_scatter():
    text = text_of(runs(["ReLU", "Tanh"], seeds=1))
    assert "Lowest validation loss: ReLU, 0.3000, from one run: nothing says how far it would scatter" in text
    assert "No interval, since two seeds in common take two finished runs each: Tanh." in text
    assert "Differences are between" not in text


def test_runs_that_did_not_finish_take_no_part():
    records = [*runs(["ReLU"]), run("SELU", 0), FAILED, DIVERGED]
    text = text_of(records)
    assert "Lowest validation loss: ReLU" in text
    assert "No interval, since two seeds in common take two finished runs each: SELU." in text


def test_nothing_finished():
    assert read_comparison([FAILED]) == ["No run finished with a validation loss: there is nothing to compare."]


def test_one_activation_is_compared_with_nothing():
    assert len(read_comparison(runs(["ReLU"]))) == 1


@pytest.mark.parametrize(
    ("efficiencies", "ending"),
    [
        ([0.9, 0.8, 0.7, 0.6, 0.5], "a higher efficiency goes with a lower loss; that is no cause."),
        ([0.5, 0.6, 0.7, 0.8, 0.9], "a higher efficiency goes with a higher loss; that is no cause."),
        ([0.5, 0.9, 0.7, 0.8, 0.6], "often give as much by chance: no relation is shown."),
    ],
)
def test_correlation_is_over_activations_and_says_how_many(efficiencies, ending):
    losses = [[loss, loss + 0.1] for loss in (0.1, 0.2, 0.3, 0.4, 0.5)]
    last = read_comparison(made(losses, efficiencies))[-1]
    expected = stats.kendalltau(efficiencies, [0.1, 0.2, 0.3, 0.4, 0.5])
    assert f"over the means of 5 activations: Kendall's rank correlation {expected.statistic:.2f} (n = 5" in last
    assert f"p = {expected.pvalue:.2g})" in last
    assert last.endswith(ending)


@pytest.mark.parametrize(
    ("efficiencies", "message"),
    [
        ([0.5, 0.6, 0.7], "Too few activations, 3, to say how work efficiency and loss go along: it takes 4."),
        ([0.5] * 4, "the same for all activations, so there is no correlation"),
        ([float("nan")] * 4, "efficiency was not measured, so nothing is said"),
    ],
)
def test_correlation_that_does_not_exist(efficiencies, message):
    losses = [[0.1 * place, 0.1 * place + 0.01] for place in range(len(efficiencies))]
    assert message in read_comparison(made(losses, efficiencies))[-1]
